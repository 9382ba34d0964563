"""What slide-aware pre-training learns: both of its objectives, or one alone for comparison."""

from enum import StrEnum
from typing import assert_never

SIMILARITY = "similarity"
CONTRASTIVE = "contrastive"
"""Names of the two losses."""


class Objective(StrEnum):
    """Which losses there are, and on which tiles.

    Attributes
    ----------
    SLIDE_AWARE
        Similarity on tiles of slide-negative slides, NT-Xent on those of slide-positive slides.
    CONTRASTIVE
        NT-Xent on all tiles alike, without any label: SimCLR.
    SIMILARITY
        Similarity on tiles of slide-negative slides alone: nothing holds it off from collapse.
    """

    SLIDE_AWARE = "slide_aware"
    CONTRASTIVE = "contrastive"
    SIMILARITY = "similarity"

    @property
    def losses(self) -> tuple[str, ...]:
        """Names of the losses."""
        match self:
            case Objective.SLIDE_AWARE:
                return (SIMILARITY, CONTRASTIVE)
            case Objective.CONTRASTIVE:
                return (CONTRASTIVE,)
            case Objective.SIMILARITY:
                return (SIMILARITY,)
            case _:
                assert_never(self)
