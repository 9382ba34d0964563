"""What an extraction says while it runs."""

from dataclasses import dataclass
from typing import TypeAlias

from napari_mtlpath.cohort.ledger import Entry


@dataclass(frozen=True, kw_only=True)
class TilesDone:
    """How far a slide is.

    Attributes
    ----------
    slide
        Its path.
    known, total
        Tissue tiles: with features, and all.
    """

    slide: str
    known: int
    total: int


@dataclass(frozen=True, kw_only=True)
class SlideEnded:
    """A slide is finished or quarantined, and the ledger has it."""

    entry: Entry


@dataclass(frozen=True, kw_only=True)
class WorkerDied:
    """The worker of a slide died; the slide is tried again."""

    slide: str


@dataclass(frozen=True, kw_only=True)
class NoWorkers:
    """There is no worker; slides wait for one."""


Report: TypeAlias = TilesDone | SlideEnded | WorkerDied | NoWorkers
"""Any report."""
