"""Which bags an epoch shows, and how much of each."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from napari_mtlpath.training.bags.bags import Bag, BagSource
from napari_mtlpath.training.bags.samplers import epoch_length, masked, rows_of_epoch
from napari_mtlpath.training.config.systems import SamplingTable


def bags_of_epoch(source: BagSource, table: SamplingTable, *, epoch: int, generator: torch.Generator) -> Iterator[Bag]:
    """Yield whole bags in the order of an epoch; in a balanced draw, labels that do not count are unknown."""
    if table.bags == "all":
        yield from source.train(epoch, generator)
        return
    for row, counts_for in rows_of_epoch(source.tasks, source.fixed_labels(), generator, balanced=True):
        bag = source.training_bag(row)
        yield replace(bag, labels=masked(bag.labels, counts_for))


def bags_per_epoch(source: BagSource, table: SamplingTable) -> int:
    """Return how many bags an epoch shows."""
    if table.bags == "all":
        return source.bags_per_epoch
    return epoch_length(source.tasks, source.fixed_labels(), balanced=True)


def thinned(bag: Bag, table: SamplingTable, generator: torch.Generator) -> Bag:
    """Return a bag with a random part of its tiles, in their order; at least one is kept.

    Examples
    --------
    >>> bag = Bag(features=torch.zeros(10, 2), labels=torch.zeros(1))
    >>> len(thinned(bag, SamplingTable(tile_share=0.5), torch.Generator().manual_seed(0)).features)
    5
    """
    count = len(bag.features)
    wanted = max(1, round(table.tile_share * count))
    if table.most_tiles:
        wanted = min(wanted, table.most_tiles)
    if wanted >= count:
        return bag
    rows = torch.randperm(count, generator=generator)[:wanted].sort().values
    return replace(
        bag,
        features=bag.features[rows],
        coordinates=None if bag.coordinates is None else bag.coordinates[rows],
        tile_labels=None if bag.tile_labels is None else bag.tile_labels[rows],
        tiles=None if bag.tiles is None else bag.tiles.only(rows),
        truth={name: mask[rows] for name, mask in bag.truth.items()},
    )
