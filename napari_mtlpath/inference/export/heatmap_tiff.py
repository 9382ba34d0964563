"""A heatmap as OME-TIFF: one pixel per tile, with the physical size that lays it over its slide."""

from pathlib import Path

import numpy as np

from napari_mtlpath.files import replacing
from napari_mtlpath.inference.export.provenance import Provenance
from napari_mtlpath.inference.heatmap import Heatmap


def write_heatmap(path: Path, heatmap: Heatmap, provenance: Provenance) -> None:
    """Write a heatmap as float32 OME-TIFF; NaN where a tile is unknown.

    The pixel size is the tile's side in microns; the upper left corner of the first pixel is that of the slide.
    """
    import tifffile

    grid = heatmap.grid
    side_y, side_x = (grid.side * mpp for mpp in grid.mpp)
    metadata = {
        "axes": "YX",
        "Name": f"{heatmap.task} {heatmap.kind}",
        "Description": provenance.sentence,
        "PhysicalSizeX": side_x,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": side_y,
        "PhysicalSizeYUnit": "µm",
        "Channel": {"Name": [f"{heatmap.task}: {heatmap.kind}"]},
    }
    values = np.ascontiguousarray(heatmap.values, dtype=np.float32)
    with replacing(path) as temporary:
        tifffile.imwrite(temporary, values, ome=True, photometric="minisblack", compression="zlib", metadata=metadata)
