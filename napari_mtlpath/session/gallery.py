"""The tiles of the open slide in the order of a heatmap: which ones, what may be said of them, and their export."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.files import replacing
from napari_mtlpath.session.overlay import OverlayKind, colour_scale
from napari_mtlpath.session.wording import KIND_TITLES, RESEARCH_USE, number_words, scope_words, task_title

if TYPE_CHECKING:
    from napari_mtlpath.inference.heatmap import Heatmap
    from napari_mtlpath.inference.results import SlideResult
    from napari_mtlpath.session.session import Session
    from napari_mtlpath.slides.slide import Slide
    from napari_mtlpath.tasks import AnyTask

TILE_KINDS = (OverlayKind.ROUTING, OverlayKind.ATTENTION, OverlayKind.PREDICTION)
"""What tiles can be ordered by."""

LONGEST = 400
"""Most tiles of a gallery."""

NOTHING = "No tile is analysed yet: the gallery fills while the model looks at the slide."


@dataclass(frozen=True, kw_only=True)
class GalleryOrder:
    """What a gallery shows.

    Attributes
    ----------
    task, kind
        Whose heatmap, and which one.
    highest
        Whether the highest values come first, or the lowest.
    count
        How many tiles, 1 to :data:`LONGEST`.
    """

    task: str
    kind: OverlayKind
    highest: bool = True
    count: int = 24

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", OverlayKind(self.kind))
        if not 1 <= self.count <= LONGEST:
            raise ValueError(f"A gallery shows 1 to {LONGEST} tiles; found {self.count}.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """Tiles in their order, with the result that it is from.

    Attributes
    ----------
    order
        What was asked for.
    task
        The task.
    heatmap
        The values of all tiles.
    indices
        The tiles, the first one in front; fewer than asked for where fewer are known.
    values
        Their raw values.
    ranked
        How many tiles have a value.
    result
        Which bag and which model they are from.
    """

    order: GalleryOrder
    task: "AnyTask"
    heatmap: "Heatmap"
    indices: NDArray[np.int64]
    values: NDArray[np.float32]
    ranked: int
    result: "SlideResult"

    def centre(self, index: int) -> tuple[float, float]:
        """Return the middle of a tile in level-0 pixels, (y, x)."""
        y, x = self.heatmap.grid.corner(index)
        half = self.heatmap.grid.side / 2
        return y + half, x + half

    def value_words(self, place: int) -> str:
        """Return the value of the tile at a place of the order, with its unit."""
        return number_words(float(self.values[place]), colour_scale(self.order.kind, self.task, self.heatmap))

    @property
    def title(self) -> str:
        """What the tiles are ordered by."""
        direction = "highest" if self.order.highest else "lowest"
        return f"{task_title(self.task)}, {KIND_TITLES[self.order.kind].lower()}, {direction} first"

    @property
    def words(self) -> str:
        """How many tiles are shown, of how many, and what that is not."""
        direction = "highest" if self.order.highest else "lowest"
        return (
            f"The {len(self.indices):,} {direction} of {scope_words(self.result)}. An order of tiles is no finding: "
            "look at them."
        )


def kinds_of(result: "SlideResult | None", task: str | None) -> tuple[OverlayKind, ...]:
    """Return what the tiles can be ordered by for a task."""
    heatmaps = result.heatmaps if result is not None else {}
    return tuple(kind for kind in TILE_KINDS if any(key == (task, kind.value) for key in heatmaps))


def rank(result: "SlideResult | None", order: GalleryOrder, tasks: "Sequence[AnyTask]") -> Ranking | None:
    """Order the tiles that are known; tiles of equal value in reading order. None where there is nothing to order."""
    task = next((task for task in tasks if task.name == order.task), None)
    if result is None or task is None:
        return None
    heatmap = next((each for key, each in result.heatmaps.items() if key == (order.task, order.kind.value)), None)
    if heatmap is None:
        return None
    values = heatmap.values.ravel()
    known = np.flatnonzero(np.isfinite(values)).astype(np.int64)
    if not len(known):
        return None
    signed = -values[known] if order.highest else values[known]
    first = known[np.argsort(signed, kind="stable")[: order.count]]
    return Ranking(
        order=order, task=task, heatmap=heatmap, indices=first, values=values[first], ranked=len(known), result=result
    )


def tile_pictures(slide: "Slide", ranking: Ranking, indices: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
    """Read tiles as the encoder sees them, [y, x, 3] by index; unreadable ones are left out. Not for the GUI thread."""
    from napari_mtlpath.inference.tile_reader import read_tile  # imports torch, which is there with a model

    found = ((index, read_tile(slide, ranking.heatmap.grid, index)) for index in indices)
    return {index: pixels for index, pixels in found if pixels is not None}


def export_gallery(session: "Session", ranking: Ranking, path: Path) -> str:
    """Write the tiles of a gallery as a table (CSV) and, beside it, a sheet of pictures (PNG). Reads the slide.

    Parameters
    ----------
    session
        Whose slide is open.
    ranking
        What is written.
    path
        Of the table; the sheet has the same name with the suffix ``.png``.

    Returns
    -------
    What was written, as a sentence.

    Raises
    ------
    ValueError
        If another slide is open by now.
    OSError
        If a file cannot be written.
    """
    from napari_mtlpath.session.contact_sheet import write_sheet

    slide = session.slide
    if slide is None or slide.fingerprint != ranking.result.slide_fingerprint:
        raise ValueError("The gallery is of a slide that is closed. Open it again, and export once more.")
    table, sheet = path.with_suffix(".csv"), path.with_suffix(".png")
    pictures = tile_pictures(slide, ranking, ranking.indices.tolist())
    write_table(table, ranking)
    write_sheet(sheet, ranking, pictures)
    missing = len(ranking.indices) - len(pictures)
    without = f" {missing:,} could not be read: grey on the sheet." if missing else ""
    return f"{len(ranking.indices):,} tiles written to {table.name}, their pictures to {sheet.name}.{without}"


def write_table(path: Path, ranking: Ranking) -> None:
    """Write one row per tile: rank, place on the slide, value, and what the order is from."""
    from napari_mtlpath.inference.export.tile_table import safe_cell

    grid, result = ranking.heatmap.grid, ranking.result
    heads = ["rank", "tile", "row", "column", "x_px", "y_px", "side_px", "x_um", "y_um"]
    tail = [
        ranking.order.task,
        ranking.order.kind.value,
        f"{result.tiles_known} of {result.tiles_total}",
        result.slide_name,
        result.model_name,
        result.model_digest,
        RESEARCH_USE,
    ]
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*heads, "value", "task", "kind", "tiles_known", "slide", "model", "model_digest", "use"])
        centres = grid.centres_um(ranking.indices)
        for rank_, (index, value, (y_um, x_um)) in enumerate(
            zip(ranking.indices.tolist(), ranking.values.tolist(), centres.tolist(), strict=True), start=1
        ):
            row, column = grid.row_column(index)
            y, x = grid.corner(index)
            where = [rank_, index, row, column, x, y, grid.side, f"{x_um:.3f}", f"{y_um:.3f}", f"{value:.9g}"]
            writer.writerow([*where, *(safe_cell(str(cell)) for cell in tail)])
