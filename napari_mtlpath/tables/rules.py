"""How tables are to be understood: names of the columns, words for unknown, and what may be left out."""

from dataclasses import dataclass

UNKNOWN_WORDS = frozenset(
    {"na", "n/a", "n.a.", "nan", "null", "none", "unknown", "missing", "not available", "not evaluated", "?", "-", "."}
)
"""What people write for "unknown"; a fault unless allowed, because it may be a class of somebody's task."""


@dataclass(frozen=True, kw_only=True)
class TableRules:
    """What the reader of cohort tables goes by.

    Attributes
    ----------
    patient_column, filename_column
        Names of the columns that say whose slide it is and which file; matched exactly.
    unknown
        Words that mean an unknown label, as an empty cell does; compared in any case.
    allow_unmatched
        Whether slides of patients without labels and patients without slides are left out, and said, not refused.
    feature_length
        Length that embeddings must have; None: as most of the cohort's files.
    """

    patient_column: str = "PATIENT"
    filename_column: str = "FILENAME"
    unknown: tuple[str, ...] = ()
    allow_unmatched: bool = False
    feature_length: int | None = None

    def is_unknown(self, text: str) -> bool:
        """Whether a cell says that the label is unknown."""
        return not text or text.casefold() in {word.casefold() for word in self.unknown}
