"""Scores of a slide's tiles beside the truth of each: what `mtlpath predict` wrote, and what is known."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TILE_TABLE = "tiles.csv"
TRUTH_ENDINGS = (".truth.npz", ".csv")
"""What the truth of a slide may be called, after the slide's name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedTiles:
    """Tiles of one slide that have both a score and a truth.

    Attributes
    ----------
    slide
        Its name.
    scores
        By column of the table, such as ``"basophils: attention"``, [tile].
    abnormal
        The truth, [tile].
    unknown
        Scored tiles whose truth is not known; they are left out.
    """

    slide: str
    scores: dict[str, NDArray[np.float64]]
    abnormal: NDArray[np.bool_]
    unknown: int


def judged_tiles(folder: Path, truth: Path) -> JudgedTiles:
    """Read the tiles of one slide.

    Parameters
    ----------
    folder
        A slide's folder as `mtlpath predict` writes it.
    truth
        The truth of its tiles: a file, or a folder of files named as the slide (see :func:`read_truth_table`).

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a table cannot be understood, or no tile has both.
    """
    table = folder / TILE_TABLE
    if not table.is_file():
        raise FileNotFoundError(
            f"Expected {TILE_TABLE} in {folder}, as mtlpath predict writes it; found none. Predict the slide first."
        )
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"row", "column", "slide"} <= set(rows[0]):
        raise ValueError(f"{table} has no tiles with row and column. Predict the slide again.")
    slide = rows[0]["slide"]
    known = read_truth_table(truth_file(truth, slide))
    places = [(int(row["row"]), int(row["column"])) for row in rows]
    chosen = [number for number, place in enumerate(places) if place in known]
    if not chosen:
        raise ValueError(f"The truth of {slide} is about other tiles than {table}. Use the model's own grid of tiles.")
    columns = [name for name in rows[0] if ": " in name]
    return JudgedTiles(
        slide=slide,
        scores={name: np.array([_number(rows[number][name]) for number in chosen]) for name in columns},
        abnormal=np.array([known[places[number]] for number in chosen]),
        unknown=len(rows) - len(chosen),
    )


def truth_file(truth: Path, slide: str) -> Path:
    """Return the file with a slide's truth: the one given, or the one in a folder that is named as the slide."""
    if truth.is_file():
        return truth
    stem = Path(slide).stem
    for ending in TRUTH_ENDINGS:
        if (truth / f"{stem}{ending}").is_file():
            return truth / f"{stem}{ending}"
    raise FileNotFoundError(
        f"Expected {' or '.join(stem + ending for ending in TRUTH_ENDINGS)} in {truth}; found neither. Give --truth "
        "the file or its folder."
    )


def read_truth_table(path: Path) -> dict[tuple[int, int], bool]:
    """Return which tiles, by (row, column), are abnormal.

    A table (CSV) has the columns ``row``, ``column`` and ``abnormal`` (0 or 1); tiles that it leaves out are unknown.
    The truth of a simulated smear (``.truth.npz``) knows all of its cells; its witness cells are the abnormal ones.

    Raises
    ------
    ValueError
        If the file has neither form.
    """
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as stored:
            if "is_witness" not in stored:
                raise ValueError(f"{path.name} is not the truth of a simulated smear: it has no 'is_witness'.")
            grid = stored["is_witness"]
        return {(row, column): bool(grid[row, column]) for row, column in np.ndindex(*grid.shape)}
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"row", "column", "abnormal"} <= set(rows[0]):
        found = ", ".join(rows[0]) if rows else "nothing"
        raise ValueError(f"{path.name} needs the columns row, column and abnormal; found {found}. Correct the table.")
    try:
        return {(int(row["row"]), int(row["column"])): _is_one(row["abnormal"]) for row in rows}
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}. Write whole numbers, and 0 or 1 for abnormal.") from error


def _is_one(text: str) -> bool:
    if text.strip() not in ("0", "1"):
        raise ValueError(f"abnormal must be 0 or 1; found {text!r}")
    return text.strip() == "1"


def _number(text: str) -> float:
    return float(text) if text.strip() else math.nan
