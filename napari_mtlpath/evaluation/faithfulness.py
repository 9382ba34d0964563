"""Whether a heatmap shows what the model used, and what a pathologist would point at: against chance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from napari_mtlpath.evaluation.intervals import DRAWS, Interval, interval
from napari_mtlpath.evaluation.ranking import auroc, average_precision, ranks

Score: TypeAlias = Callable[[Int[NDArray[np.int64], " kept"]], float]
"""A model's answer to one task from the tiles with these indices, at least one; higher means more of the finding."""

RemovedShares: TypeAlias = tuple[float, ...]

STEPS: RemovedShares = (0.0, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of the tiles, close together at the start: a finding may sit in a few tiles of a thousand."""

RANDOM = "random ranking"


@dataclass(frozen=True, kw_only=True, eq=False)
class Curves:
    """One slide's answers while tiles are taken away, and while they are added, in the order of a ranking.

    Attributes
    ----------
    shares
        Share of the tiles taken away or added, [step].
    deletion
        Answer without the highest tiles, [step]; at share 1 one tile, the lowest, is left.
    insertion
        Answer from the highest tiles alone, [step]; at share 0 one tile, the highest, is there.
    """

    shares: Float[NDArray[np.float64], " step"]
    deletion: Float[NDArray[np.float64], " step"]
    insertion: Float[NDArray[np.float64], " step"]

    @property
    def deletion_area(self) -> float:
        """Mean answer over the shares; low if the ranking is faithful."""
        return float(np.trapezoid(self.deletion, self.shares))

    @property
    def insertion_area(self) -> float:
        """Mean answer over the shares; high if the ranking is faithful."""
        return float(np.trapezoid(self.insertion, self.shares))


@dataclass(frozen=True, kw_only=True)
class Pointing:
    """How well a heatmap points at tiles that are known to hold the finding.

    Attributes
    ----------
    hit
        Chance that the highest tile holds it (the pointing game; Zhang et al., 2016, arXiv:1608.00507); tiles of equal
        value are equally likely to be taken.
    precision
        Share of finding tiles among the k highest, k being their number; equal values count in proportion.
    auroc, average_precision
        Of the heatmap as a classifier of tiles.
    base_rate
        Share of finding tiles: what a blind choice reaches in `hit` and `precision`.
    """

    hit: float
    precision: float
    auroc: float
    average_precision: float
    base_rate: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Faithfulness:
    """Curves over slides, of one ranking or of the random control.

    Attributes
    ----------
    curves
        One per slide.
    deletion, insertion
        Mean areas with intervals over slides.
    """

    curves: tuple[Curves, ...]
    deletion: Interval
    insertion: Interval

    @property
    def mean(self) -> Curves:
        """The curves averaged over slides."""
        return Curves(
            shares=self.curves[0].shares,
            deletion=np.mean([each.deletion for each in self.curves], axis=0),
            insertion=np.mean([each.insertion for each in self.curves], axis=0),
        )


def order_of(
    values: Float[NDArray[np.float64], " tile"], generator: np.random.Generator
) -> Int[NDArray[np.int64], " tile"]:
    """Return the tiles from the highest value down; equal values in random order, so that no position is favoured."""
    shuffled = generator.permutation(len(values))
    return shuffled[np.argsort(-values[shuffled], kind="stable")].astype(np.int64)


def curves(score: Score, order: Int[NDArray[np.int64], " tile"], *, steps: RemovedShares = STEPS) -> Curves:
    """Return one slide's deletion and insertion curves (Petsiuk et al., 2018, arXiv:1806.07421).

    Parameters
    ----------
    score
        The model. It is asked twice per step with tile indices in ascending order, never with none.
    order
        Tiles from the highest value down.
    steps
        Shares to take, ascending from 0 to 1.

    Examples
    --------
    >>> found = curves(lambda kept: float(3 in kept), np.array([3, 0, 1, 2]), steps=(0.0, 0.5, 1.0))
    >>> found.deletion.tolist(), found.insertion.tolist()
    ([1.0, 0.0, 0.0], [1.0, 1.0, 1.0])
    """
    count = len(order)
    deletion, insertion = [], []
    for share in steps:
        taken = min(round(share * count), count - 1)
        deletion.append(score(np.sort(order[taken:])))
        insertion.append(score(np.sort(order[: max(1, round(share * count))])))
    return Curves(shares=np.array(steps), deletion=np.array(deletion, float), insertion=np.array(insertion, float))


def random_curves(
    score: Score, tiles: int, *, repeats: int, generator: np.random.Generator, steps: RemovedShares = STEPS
) -> Curves:
    """Return the mean curves of random rankings: what any heatmap must beat."""
    drawn = [curves(score, generator.permutation(tiles).astype(np.int64), steps=steps) for _ in range(repeats)]
    return Curves(
        shares=drawn[0].shares,
        deletion=np.mean([each.deletion for each in drawn], axis=0),
        insertion=np.mean([each.insertion for each in drawn], axis=0),
    )


def pointing(values: Float[NDArray[np.float64], " tile"], truth: Bool[NDArray[np.bool_], " tile"]) -> Pointing:
    """Return how well a heatmap points at known tiles.

    Raises
    ------
    ValueError
        Unless some tiles hold the finding and some do not.

    Examples
    --------
    >>> pointing(np.array([0.9, 0.1, 0.5, 0.1]), np.array([True, False, False, False])).hit
    1.0
    """
    count = int(truth.sum())
    if not 0 < count < len(truth):
        raise ValueError(f"Pointing needs tiles with and without the finding; found {count} of {len(truth)} with it.")
    ranked = ranks(truth, values, np.ones((1, len(values))))
    inside = ranked.positives[0]
    everyone = inside + ranked.negatives[0]
    before = np.r_[0.0, np.cumsum(everyone)[:-1]]
    # Of a group of equal values that the k highest cut through, each tile is taken with the same chance.
    taken = np.clip((count - before) / everyone, 0.0, 1.0)
    return Pointing(
        hit=float(inside[0] / everyone[0]),
        precision=float(taken @ inside / count),
        auroc=float(auroc(ranked)[0]),
        average_precision=float(average_precision(ranked)[0]),
        base_rate=count / len(truth),
    )


def summarise(found: Sequence[Curves], *, draws: int = DRAWS, seed: int = 0) -> Faithfulness:
    """Return curves over slides with the intervals of their areas."""
    return Faithfulness(
        curves=tuple(found),
        deletion=over_slides([each.deletion_area for each in found], draws=draws, seed=seed),
        insertion=over_slides([each.insertion_area for each in found], draws=draws, seed=seed),
    )


def differences(
    found: Mapping[str, Sequence[Curves]], *, control: str = RANDOM, draws: int = DRAWS, seed: int = 0
) -> dict[str, tuple[Interval, Interval]]:
    """Return by ranking how much lower its deletion and how much higher its insertion area is than the control's.

    Differences are taken slide by slide, so that easy and hard slides do not widen the interval. Positive is better.
    """
    against = found[control]
    return {
        name: (
            over_slides(
                [other.deletion_area - own.deletion_area for own, other in zip(curves_of, against, strict=True)],
                draws=draws,
                seed=seed,
            ),
            over_slides(
                [own.insertion_area - other.insertion_area for own, other in zip(curves_of, against, strict=True)],
                draws=draws,
                seed=seed,
            ),
        )
        for name, curves_of in found.items()
        if name != control
    }


def over_slides(values: Sequence[float], *, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Return a mean over slides with its bootstrap interval."""
    array = np.asarray(values, dtype=np.float64)
    rows = np.random.default_rng(seed).integers(0, len(array), (draws, len(array)))
    return interval(float(array.mean()), array[rows].mean(1))
