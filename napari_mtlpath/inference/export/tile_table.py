"""tiles.csv: one row per known tile, safe to open in a spreadsheet."""

import csv
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from napari_mtlpath.files import replacing
from napari_mtlpath.inference.export.provenance import RESEARCH_USE_ONLY, Provenance
from napari_mtlpath.inference.export.tiles import TileColumns

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001  full-width: some sheets take them


def safe_cell(text: str) -> str:
    """Return text that no spreadsheet reads as a formula: a leading ``'`` where it would (CWE-1236).

    Examples
    --------
    >>> safe_cell("=cmd()"), safe_cell("slide.svs")
    ("'=cmd()", 'slide.svs')
    """
    return f"'{text}" if text.startswith(_FORMULA) else text


def write_tile_table(path: Path, columns: TileColumns, provenance: Provenance) -> None:
    """Write one row per known tile as CSV (UTF-8, comma, a header row).

    Columns: slide, tile, row, column, x_px, y_px, side_px (level-0 pixels, upper left corner), x_um, y_um (the
    tile's centre in microns), one per task and kind (empty where unknown; `selected` is 0 or 1), model, model_digest,
    use. Text that a spreadsheet would read as a formula, in headers too, gets a leading ``'``.
    """
    heads = ["slide", "tile", "row", "column", "x_px", "y_px", "side_px", "x_um", "y_um"]
    tails = ["model", "model_digest", "use"]
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([safe_cell(cell) for cell in (*heads, *columns.values, *tails)])
        writer.writerows(_rows(columns, provenance))


def _rows(columns: TileColumns, provenance: Provenance) -> Iterator[list[str]]:
    grid = columns.grid
    slide = safe_cell(provenance.slide)
    tail = [safe_cell(provenance.model), provenance.model_digest, RESEARCH_USE_ONLY]
    values = np.stack(list(columns.values.values()), axis=-1)
    centres = grid.centres_um(columns.indices)
    for index, (y_um, x_um), numbers in zip(columns.indices.tolist(), centres.tolist(), values.tolist(), strict=True):
        row, column = grid.row_column(index)
        y, x = grid.corner(index)
        where = [index, row, column, x, y, grid.side, f"{x_um:.3f}", f"{y_um:.3f}"]
        yield [slide, *map(str, where), *(_number(number) for number in numbers), *tail]


def _number(value: float) -> str:
    return f"{value:.9g}" if math.isfinite(value) else ""  # nine digits hold a float32 exactly
