"""What a live analysis says about itself."""

from dataclasses import dataclass
from enum import StrEnum

from napari_mtlpath.inference.results import SlideResult


class LiveState(StrEnum):
    """What the analysis is doing."""

    RUNNING = "running"
    PAUSED = "paused"
    IDLE = "idle"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, eq=False)
class LiveReport:
    """Where a live analysis stands.

    Attributes
    ----------
    generation
        Counts views and restarts.
    result
        The latest answer, or None before the first; the same object until there is a newer one.
    visible_known, visible_total
        Tissue tiles in view: settled, and all.
    tiles_known, tiles_total
        Tissue tiles of the slide: in the bag, and all.
    unreadable
        Tissue tiles that could not be read.
    tiles_per_second
        Encoded lately.
    queue
        Tiles being read or waiting for the encoder.
    device
        torch's word, such as ``"cpu"``.
    state
        What the analysis is doing.
    message
        A sentence for the user, or empty.
    """

    generation: int
    result: SlideResult | None
    visible_known: int
    visible_total: int
    tiles_known: int
    tiles_total: int
    unreadable: int
    tiles_per_second: float
    queue: int
    device: str
    state: LiveState
    message: str
