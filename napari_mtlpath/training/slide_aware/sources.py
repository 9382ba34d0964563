"""Config -> tiles of slide-negative and slide-positive slides."""

from pathlib import Path

from napari_mtlpath.simulation.cells import load_cells
from napari_mtlpath.training.config.slide_aware import CellSlides, SlideAwareConfig, SlideFiles
from napari_mtlpath.training.slide_aware.cell_slides import cell_slides
from napari_mtlpath.training.slide_aware.file_slides import file_slides
from napari_mtlpath.training.slide_aware.slide_tiles import SlideTilesData
from napari_mtlpath.training.tile_training.tile_data import find_data


def slide_tiles(config: SlideAwareConfig, *, folders: tuple[Path, ...] = ()) -> SlideTilesData:
    """Return the tiles that a config's ``[data]`` table names; the seed of the config composes or divides them."""
    match config.data:
        case CellSlides():
            cells = load_cells(find_data(config.data.archive, folders=folders))
            return cell_slides(config.data, cells, seed=config.seed)
        case SlideFiles():
            return file_slides(config.data, folders=folders, seed=config.seed)
