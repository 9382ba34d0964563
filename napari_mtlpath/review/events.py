"""What can happen to labels, as values: one event per act of a person, never changed afterwards."""

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, TypeAdapter

from napari_mtlpath.review.task_draft import TaskDraft

Ring: TypeAlias = tuple[tuple[float, float], ...]
"""Corners of a closed line as (y, x) in level-0 pixels, where pixel 0 spans 0 to 1; the last is not the first."""

Area: TypeAlias = tuple[tuple[Ring, ...], ...]
"""Polygons, each with its outer ring first and its holes after it."""


class Origin(StrEnum):
    """How a label came to be."""

    REGION = "region"
    TILE = "tile"
    GALLERY = "gallery"
    SLIDE = "slide"
    TABLE = "table"
    FILE = "file"


@dataclass(frozen=True, kw_only=True)
class TilesLabelled:
    """Tiles got a label, or lost it.

    Attributes
    ----------
    corners
        Upper left level-0 pixels (y, x) of the tiles.
    side
        Side of the tiles in level-0 pixels.
    value
        The class's position or the number; None takes the label back.
    origin
        How.
    """

    corners: tuple[tuple[int, int], ...]
    side: int
    value: float | None
    origin: Origin
    what: Literal["tiles"] = "tiles"


@dataclass(frozen=True, kw_only=True)
class RegionDrawn:
    """A region got a label, which the tiles inside take.

    Attributes
    ----------
    region
        Its identifier; drawn again, it replaces the region of before.
    area
        Its polygons.
    value
        The class's position or the number.
    origin
        How.
    """

    region: str
    area: Area
    value: float
    origin: Origin = Origin.REGION
    what: Literal["region"] = "region"


@dataclass(frozen=True, kw_only=True)
class RegionRemoved:
    """A region was taken away, and with it the labels that its tiles had from it."""

    region: str
    what: Literal["region removed"] = "region removed"


@dataclass(frozen=True, kw_only=True)
class SlideLabelled:
    """The whole slide got a label, or lost it (None)."""

    value: float | None
    origin: Origin = Origin.SLIDE
    what: Literal["slide"] = "slide"


@dataclass(frozen=True, kw_only=True)
class Imported:
    """Labels from a file: one act, taken back as one.

    Attributes
    ----------
    acts
        What the file says.
    file
        Its name.
    """

    acts: tuple[TilesLabelled | RegionDrawn | SlideLabelled, ...]
    file: str
    what: Literal["imported"] = "imported"


@dataclass(frozen=True, kw_only=True)
class Undone:
    """An event of before no longer counts."""

    event: str
    what: Literal["undone"] = "undone"


@dataclass(frozen=True, kw_only=True)
class Redone:
    """An event that was undone counts again."""

    event: str
    what: Literal["redone"] = "redone"


@dataclass(frozen=True, kw_only=True)
class TaskDefined:
    """A task was described, or described anew."""

    draft: TaskDraft
    what: Literal["task"] = "task"


@dataclass(frozen=True, kw_only=True)
class TaskDropped:
    """A task is no longer offered; its labels stay in the journal."""

    what: Literal["task dropped"] = "task dropped"


@dataclass(frozen=True, kw_only=True)
class SlideSeen:
    """What must be known of a slide to find its tiles and embeddings again without opening it.

    Attributes
    ----------
    name, path
        The file.
    height, width
        Size of level 0 in pixels.
    mpp
        Microns per level-0 pixel, (y, x).
    native_tile
        Size (height, width) of the file's own tiles.
    colour
        How its colours are treated.
    """

    name: str
    path: str
    height: int
    width: int
    mpp: tuple[float, float]
    native_tile: tuple[int, int]
    colour: str
    what: Literal["seen"] = "seen"


Act: TypeAlias = (
    TilesLabelled
    | RegionDrawn
    | RegionRemoved
    | SlideLabelled
    | Imported
    | Undone
    | Redone
    | TaskDefined
    | TaskDropped
    | SlideSeen
)
"""What happened."""

LABELLING = (TilesLabelled, RegionDrawn, RegionRemoved, SlideLabelled, Imported)
"""Acts that a user can undo."""

_ACT: TypeAdapter[Act] = TypeAdapter(Annotated[Act, Field(discriminator="what")])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, kw_only=True)
class LabelEvent:
    """One act, with what it was about and who did it.

    Attributes
    ----------
    slide
        Fingerprint of the slide; empty where the act is about no slide.
    task
        Name of the task; empty where the act is about no task.
    act
        What happened.
    maker
        Identifies the window or program that wrote it.
    author
        Name of the user, where the system knows it.
    key
        Identifies the event.
    at
        When, in universal time, ISO 8601.
    """

    slide: str
    task: str
    act: Act
    maker: str = ""
    author: str = ""
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    at: str = field(default_factory=_now)


def act_to_json(act: Act) -> str:
    """Return an act as JSON."""
    return _ACT.dump_json(act).decode()


def act_from_json(text: str) -> Act:
    """Return the act that a JSON text describes.

    Raises
    ------
    ValueError
        If it describes none.
    """
    return _ACT.validate_json(text)
