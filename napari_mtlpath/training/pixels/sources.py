"""Config -> tiles with masks."""

from pathlib import Path

from napari_mtlpath.simulation.cells import load_cells
from napari_mtlpath.training.config.pixels import CellPixels, FolderPixels, PixelsConfig
from napari_mtlpath.training.pixels.cell_pixels import cell_pixels
from napari_mtlpath.training.pixels.folder_pixels import folder_pixels
from napari_mtlpath.training.pixels.pixel_data import PixelData
from napari_mtlpath.training.tile_training.tile_data import find_data


def pixel_data(config: PixelsConfig, *, folders: tuple[Path, ...] = ()) -> PixelData:
    """Return the tiles with masks that a config's ``[data]`` table names."""
    match config.data:
        case CellPixels():
            return cell_pixels(config.data, load_cells(find_data(config.data.archive, folders=folders)))
        case FolderPixels():
            return folder_pixels(config.data, find_data(config.data.folder, folders=folders))
