"""Which classes remain possible for an answer, by thresholds that promise a coverage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

PROMISE = (
    "The coverage holds on average over patients like those it was set on, for each class by itself, not for a single "
    "patient; it is void on other scanners, stains or populations."
)


@dataclass(frozen=True, kw_only=True)
class ClassSets:
    """Thresholds of class-conditional (Mondrian) split-conformal prediction.

    A class belongs to a sample's set where 1 - its probability is at most the class's threshold. The true class then
    lies in the set with at least the promised probability, for each class (Vovk, 2012, arXiv:1209.2673).

    Attributes
    ----------
    coverage
        What is promised for each class, such as 0.9.
    thresholds
        Per class; infinite where too few patients of a class were seen: it is then in every set.
    patients
        Patients of each class that the thresholds rest on.
    """

    coverage: float
    thresholds: tuple[float, ...]
    patients: tuple[int, ...]

    def sets(self, shares: Float[NDArray[np.float64], "sample class"]) -> Bool[NDArray[np.bool_], "sample class"]:
        """Return which classes are possible for each sample."""
        return 1.0 - shares <= np.array(self.thresholds)

    def as_table(self) -> dict[str, Any]:
        """Return the plain values that a card stores."""
        return {
            "coverage": self.coverage,
            "thresholds": list(self.thresholds),
            "patients": [float(count) for count in self.patients],
            "promise": PROMISE,
        }


def read_class_sets(table: Mapping[str, Any], *, classes: int) -> ClassSets:
    """Return what a card stores; raise ValueError where it cannot be."""
    thresholds, coverage = table.get("thresholds"), table.get("coverage")
    if not isinstance(thresholds, list) or len(thresholds) != classes or not isinstance(coverage, float):
        raise ValueError(f"A conformal table needs 'coverage' and {classes} 'thresholds'; found {dict(table)}.")
    counts = table.get("patients") or [0] * classes
    return ClassSets(
        coverage=coverage, thresholds=tuple(map(float, thresholds)), patients=tuple(int(count) for count in counts)
    )


def set_words(possible: Sequence[str], *, coverage: float) -> str:
    """Return the possible classes of an answer as a person reads them: one is an answer, more or none are none.

    Examples
    --------
    >>> set_words(["absent", "present"], coverage=0.9)
    'At 90 % coverage: absent or present, so undecided'
    >>> set_words(["present"], coverage=0.95)
    'At 95 % coverage: present'
    >>> set_words([], coverage=0.9)
    'At 90 % coverage: unlike every class, so undecided'
    """
    said = " or ".join(possible) if possible else "unlike every class"
    return f"At {100 * coverage:g} % coverage: {said}" + ("" if len(possible) == 1 else ", so undecided")
