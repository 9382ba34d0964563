"""Config -> data: which tiles or bags a training learns from."""

from pathlib import Path

import torch

from napari_mtlpath.encoders.load import load_encoder
from napari_mtlpath.simulation.cells import load_cells
from napari_mtlpath.training.bags import BagSource
from napari_mtlpath.training.cell_features import cell_features
from napari_mtlpath.training.config import BagsConfig
from napari_mtlpath.training.config_data import CellTiles, FeatureBags, SmearBags, StainedBags, StainedTiles
from napari_mtlpath.training.feature_bags import FeatureBagSource
from napari_mtlpath.training.smear_bags import SmearBagSource
from napari_mtlpath.training.stained_bags import StainedBagSource
from napari_mtlpath.training.stained_tiles import stained_tiles
from napari_mtlpath.training.stains import labelled_sections
from napari_mtlpath.training.tile_data import TileData, cell_tiles, find_data


def tile_data(table: CellTiles | StainedTiles, *, folders: tuple[Path, ...] = ()) -> TileData:
    """Return the labelled tiles that a config's ``[data]`` table names."""
    match table:
        case CellTiles():
            return cell_tiles(table, folders=folders)
        case StainedTiles():
            return stained_tiles(table, labelled_sections(find_data(table.folder, folders=folders)))


def bag_source(config: BagsConfig, *, folders: tuple[Path, ...], device: torch.device) -> BagSource:
    """Return the source of bags that a config names, embeddings made where they are not kept yet."""
    encoder = load_encoder(config.encoder)
    match config.data:
        case SmearBags():
            cells = load_cells(find_data(config.data.archive, folders=folders))
            return SmearBagSource(config.data, cells, cell_features(encoder, cells, device=device), encoder)
        case FeatureBags():
            labels, folder = (find_data(name, folders=folders) for name in (config.data.labels, config.data.folder))
            return FeatureBagSource(config.data, encoder, labels=labels, folder=folder, seed=config.seed)
        case StainedBags():
            return StainedBagSource(
                config.data, labelled_sections(find_data(config.data.folder, folders=folders)), encoder
            )
