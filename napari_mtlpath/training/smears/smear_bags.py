"""Bags of simulated smears: composed from one side's cells, labelled by slide only, the three tasks independent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.simulation.cells import CELL_UM, CellSet
from napari_mtlpath.simulation.smear import Composer, SmearSpec
from napari_mtlpath.tasks import Classification, Regression, Task
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.training.bags.bags import Answer, Bag, BagSource, CardMetrics
from napari_mtlpath.training.config.data import SmearBags
from napari_mtlpath.training.end_to_end.cell_pool import CellPool
from napari_mtlpath.training.smears.cell_features import bag_of
from napari_mtlpath.training.smears.smear_figures import smear_figures
from napari_mtlpath.units import Microns, TilePixels

SELECTION_SHARE = 0.15
"""Share of the training cells kept for choosing the best epoch."""

SELECTION_SLIDES = 60
FIRST_SEED = {"train": 1_000_000, "selection": 500_000_000, "test": 900_000_000}
"""Seeds of smears start here, so that no slide of one kind is ever a slide of another."""

SMEAR_TASKS: tuple[Task, ...] = (
    Classification(name="basophils", title="Basophils", question="Is there at least one basophil on the slide?"),
    Regression(
        name="neutrophil_share",
        title="Share of neutrophils",
        question="Which share of the cells are neutrophils?",
        unit="share",
    ),
    Regression(
        name="vacuolated_share",
        title="Share of vacuolated cells",
        question="Which share of the cells have a vacuolated cytoplasm?",
        unit="share",
        high=0.25,
    ),
)


@dataclass(frozen=True, kw_only=True)
class SpecSampler:
    """Draws what slides hold, each of the three quantities by itself.

    Attributes
    ----------
    sizes
        Rows and columns of the smears, drawn evenly.
    neutrophil_share, vacuolated_share
        Ranges of the shares, drawn uniformly.
    """

    sizes: tuple[tuple[int, int], ...]
    neutrophil_share: tuple[float, float]
    vacuolated_share: tuple[float, float]

    def draw(self, random: np.random.Generator, *, rates: tuple[float, float], positive: bool, seed: int) -> SmearSpec:
        """Draw one spec; the witness rate of a positive slide is log-uniform between `rates`."""
        low, high = np.log(rates)
        rate = float(np.exp(random.uniform(low, high)))
        rows, columns = self.sizes[int(random.integers(len(self.sizes)))]
        return SmearSpec(
            rows=rows,
            columns=columns,
            witness_rate=rate if positive else 0.0,
            neutrophil_share=float(random.uniform(*self.neutrophil_share)),
            vacuolated_share=float(random.uniform(*self.vacuolated_share)),
            seed=seed,
        )


class SmearBagSource(BagSource):
    """Bags of simulated smears, composed in feature space.

    Training and selection bags hold cells of the training side only (two disjoint parts of it), the bags of the final
    figures hold cells of the validation side only.
    """

    tasks = SMEAR_TASKS

    def __init__(
        self, table: SmearBags, cells: CellSet, features: Float[Tensor, "cell turn feature"], encoder: Encoder
    ) -> None:
        self.table = table
        self.encoder = encoder
        self.spec = TileSpec(tile_um=Microns(float(CELL_UM)), tile_px=TilePixels(cells.images.shape[1]))
        self.bags_per_epoch = table.slides_per_epoch
        whole = ((table.rows, table.columns),)
        parts = tuple((side, side) for side in table.training_sides) or whole
        self.samplers = {
            part: SpecSampler(
                sizes=parts if part == "train" else whole,
                neutrophil_share=table.neutrophil_share,
                vacuolated_share=table.vacuolated_share,
            )
            for part in ("train", "selection", "test")
        }
        self.rates = table.witness_rates
        self.parts = {name: _Part(cells, features, chosen) for name, chosen in cell_parts(cells).items()}
        self.facts = self._facts()

    def train(self, epoch: int, generator: torch.Generator) -> Iterator[Bag]:
        """Yield fresh smears each epoch, or the same ones in a new order where the config says `fresh = false`.

        In the first `easy_epochs` fresh smears hold more witnesses; of the fixed ones, those that hold too few are
        replaced by others of the same set.
        """
        count = self.bags_per_epoch
        easiest = self._rates(epoch)
        rates = easiest if self.table.fresh else self.rates
        first = FIRST_SEED["train"] + (epoch * count if self.table.fresh else 0)
        skipped: list[int] = []
        given: list[int] = []
        for number in torch.randperm(count, generator=generator).tolist():
            bag = self._bag("train", first + number, rates=rates, positive=number % 2 == 1)
            if bag.labels[0] > 0 and float(bag.truth["basophils"].double().mean()) < 0.9 * easiest[0]:
                skipped.append(number)
                continue
            given.append(number)
            yield bag
        positives = [number for number in given if number % 2 == 1] or given
        for place in range(len(skipped)):
            number = positives[place % len(positives)]
            yield self._bag("train", first + number, rates=rates, positive=number % 2 == 1)

    def selection(self) -> Sequence[Bag]:
        """Return smears from the part of the training side that no training bag holds."""
        return self._selection

    def figures(self, answer: Answer) -> CardMetrics:
        """Return figures on unseen smears from validation cells, by witness rate."""
        return smear_figures(answer, self.test_bags, slides=self.table.test_slides, rates=self.table.test_rates)

    def test_bags(self, rate: float) -> Iterator[Bag]:
        """Yield the unseen slides at one witness rate, every other one without witnesses."""
        for number in range(self.table.test_slides):
            yield self._bag("test", FIRST_SEED["test"] + number, rates=(rate, rate), positive=number % 2 == 1)

    def statistics(self) -> tuple[Float[Tensor, " feature"], Float[Tensor, " feature"]]:
        """Return mean and standard deviation over the training part's cells."""
        features = self.parts["train"].features.flatten(0, 1)
        return features.mean(0), features.std(0)

    @cached_property
    def _selection(self) -> list[Bag]:
        first = FIRST_SEED["selection"]
        return [
            self._bag("selection", first + number, rates=self.rates, positive=number % 2 == 1)
            for number in range(SELECTION_SLIDES)
        ]

    def _rates(self, epoch: int) -> tuple[float, float]:
        """Return the range of witness rates of an epoch: the lower end falls over the first `easy_epochs`."""
        low, high = self.rates
        if epoch >= self.table.easy_epochs:
            return low, high
        return high * (low / high) ** (epoch / self.table.easy_epochs), high

    def _bag(self, part: str, seed: int, *, rates: tuple[float, float], positive: bool) -> Bag:
        return self.parts[part].bag(self.samplers[part], seed=seed, rates=rates, positive=positive)

    def _facts(self) -> dict[str, str | int]:
        table = self.table
        sizes = {name: int(part.size) for name, part in self.parts.items()}
        slides = "all distinct, fresh ones each epoch" if table.fresh else "the same ones each epoch"
        sides = " or ".join(f"{side} x {side}" for side in table.training_sides) or f"{table.rows} x {table.columns}"
        return {
            "data": f"simulated slides of {table.rows} x {table.columns} real cells, from {table.archive}",
            "training_slides": f"{table.slides_per_epoch} per epoch, {slides}, of {sides} cells",
            "training_cells": f"{sizes['train']}, each in eight ways of lying",
            "selection_slides": f"{SELECTION_SLIDES}, from {sizes['selection']} other training cells",
            "test_slides": f"{table.test_slides} per witness rate, from {sizes['test']} validation cells",
            "labels": "one per slide and task; no cell-level label is used",
        }


def cell_parts(cells: CellSet) -> dict[str, Bool[np.ndarray, " cell"]]:
    """Return which cells are learned from (``train``), choose the best epoch (``selection``) and judge (``test``).

    Copies of a cell are in one part. Selection is a fixed share of the training side; test is the validation side.
    """
    train = ~cells.in_validation
    places = np.random.default_rng(0).permutation(cells.duplicate_groups.max() + 1)[cells.duplicate_groups]
    kept = train & (places < SELECTION_SHARE * len(cells))
    return {"train": train & ~kept, "selection": kept, "test": cells.in_validation}


class _Part:
    """The cells of one side, and smears composed from them."""

    def __init__(self, cells: CellSet, features: Float[Tensor, "cell turn feature"], chosen: np.ndarray) -> None:
        self.composer = Composer(cells.subset(chosen))
        self.features = features[torch.from_numpy(chosen)]
        self.pool = CellPool(cells, chosen=np.flatnonzero(chosen))
        self.size = int(chosen.sum())

    def bag(self, sampler: SpecSampler, *, seed: int, rates: tuple[float, float], positive: bool) -> Bag:
        spec = sampler.draw(np.random.default_rng(seed), rates=rates, positive=positive, seed=seed)
        smear = self.composer.compose(spec)
        labels = [float(smear.is_witness.any()), smear.neutrophil_share, smear.vacuolated_share]
        truth = {
            "basophils": smear.is_witness,
            "neutrophil_share": smear.is_neutrophil,
            "vacuolated_share": smear.is_vacuolated,
        }
        return Bag(
            features=bag_of(self.features, smear),
            labels=torch.tensor(labels, dtype=torch.float32),
            tiles=self.pool.of(smear),
            truth={name: torch.from_numpy(mask.reshape(-1)) for name, mask in truth.items()},
        )
