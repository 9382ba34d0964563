"""Config -> data: which tiles or bags a training learns from."""

from pathlib import Path

import torch

from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.encoders.load import load_encoder
from napari_mtlpath.simulation.cells import load_cells
from napari_mtlpath.tables.cohort import Cohort
from napari_mtlpath.tables.split import Split, folds, split
from napari_mtlpath.tables.split_file import read_split
from napari_mtlpath.training.bags.bags import BagSource
from napari_mtlpath.training.cohorts.cohort_bags import CohortBagSource
from napari_mtlpath.training.cohorts.cohort_data import load_cohort, load_external, tile_spec
from napari_mtlpath.training.config.data import CellTiles, CohortBags, SmearBags, StainedBags, StainedTiles
from napari_mtlpath.training.config.train_config import BagsConfig
from napari_mtlpath.training.smears.cell_features import cell_features
from napari_mtlpath.training.smears.smear_bags import SmearBagSource
from napari_mtlpath.training.stains.stained_bags import StainedBagSource
from napari_mtlpath.training.stains.stained_tiles import stained_tiles
from napari_mtlpath.training.stains.stains import labelled_sections
from napari_mtlpath.training.tile_training.tile_data import TileData, cell_tiles, find_data


def tile_data(table: CellTiles | StainedTiles, *, folders: tuple[Path, ...] = ()) -> TileData:
    """Return the labelled tiles that a config's ``[data]`` table names."""
    match table:
        case CellTiles():
            return cell_tiles(table, folders=folders)
        case StainedTiles():
            return stained_tiles(table, labelled_sections(find_data(table.folder, folders=folders)))


def bag_sources(config: BagsConfig, *, folders: tuple[Path, ...], device: torch.device) -> tuple[BagSource, ...]:
    """Return the sources of bags that a config names: one per fold, or one; embeddings made where none are kept yet."""
    encoder = load_encoder(config.encoder)
    match config.data:
        case SmearBags():
            cells = load_cells(find_data(config.data.archive, folders=folders))
            return (SmearBagSource(config.data, cells, cell_features(encoder, cells, device=device), encoder),)
        case StainedBags():
            sections = labelled_sections(find_data(config.data.folder, folders=folders))
            return (StainedBagSource(config.data, sections, encoder),)
        case CohortBags():
            return cohort_sources(config.data, encoder, folders=folders, seed=config.seed)


def bag_source(config: BagsConfig, *, folders: tuple[Path, ...], device: torch.device) -> BagSource:
    """Return the only source of bags that a config names.

    Raises
    ------
    ValueError
        If it asks for folds, which have a source each.
    """
    sources = bag_sources(config, folders=folders, device=device)
    if len(sources) != 1:
        raise ValueError(f"Expected a config without folds; found {len(sources)}. Set data.folds to 0.")
    return sources[0]


def cohort_sources(
    table: CohortBags, encoder: Encoder, *, folders: tuple[Path, ...], seed: int
) -> tuple[CohortBagSource, ...]:
    """Return the source of each fold of a cohort, or the only one; they share what they read."""
    data = load_cohort(table, encoder, folders=folders)
    external = load_external(table, encoder, tasks=data.cohort.tasks, folders=folders)
    spec = tile_spec(table, encoder, data)
    return tuple(
        CohortBagSource(data, encoder=encoder, spec=spec, split=made, external=external)
        for made in cohort_splits(table, data.cohort, folders=folders, seed=seed)
    )


def cohort_splits(table: CohortBags, cohort: Cohort, *, folders: tuple[Path, ...] = (), seed: int) -> tuple[Split, ...]:
    """Return the splits that a config asks for: given ones, folds, or one by chance.

    Raises
    ------
    ValueError
        If both a split and folds are asked for, or the cohort is too small.
    """
    if table.split and table.folds:
        raise ValueError(
            f"Expected data.split or data.folds; found both ({table.split!r}, {table.folds}). Leave one of them out."
        )
    if table.split:
        return (read_split(find_data(table.split, folders=folders), cohort),)
    if table.folds:
        return folds(cohort, count=table.folds, seed=seed, selection_share=table.selection_share)
    return (split(cohort, seed=seed, test_share=table.test_share, selection_share=table.selection_share),)
