"""How many of a slide's abnormal tiles are among its K highest-scored ones, beside a blind choice of K tiles."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy.stats import hypergeom

from napari_mtlpath.evaluation.intervals import Interval, interval
from napari_mtlpath.evaluation.report.numbers import number, p_value, with_interval

COVERED = (0.025, 0.975)
"""Quantiles between which 95 % of the blind choices lie."""


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """What the K highest-scored tiles of one slide hold.

    Attributes
    ----------
    k
        Tiles that were looked at: at most all of the slide's.
    tiles, abnormal
        Tiles of the slide, and how many of them are abnormal.
    hits
        Abnormal tiles among the K; tiles of equal score around the K-th place count by their share.
    """

    k: int
    tiles: int
    abnormal: int
    hits: float

    @property
    def recall(self) -> float:
        """Hits over what K tiles could hold at most, min(K, abnormal): 1 is all that could be found."""
        return self.hits / min(self.k, self.abnormal)

    @property
    def precision(self) -> float:
        """Share of abnormal tiles among the K."""
        return self.hits / self.k

    @property
    def enrichment(self) -> float:
        """Precision over the slide's own share of abnormal tiles: 1 is what a blind choice gives."""
        return self.precision * self.tiles / self.abnormal

    @property
    def blind_hits(self) -> float:
        """Hits that a blind choice of K tiles has on average."""
        return self.k * self.abnormal / self.tiles

    @property
    def blind_range(self) -> tuple[int, int]:
        """Fewest and most hits of 95 % of the blind choices (hypergeometric)."""
        low, high = hypergeom.ppf(COVERED, self.tiles, self.abnormal, self.k)
        return int(low), int(high)


@dataclass(frozen=True, kw_only=True)
class RetrievalSummary:
    """Means over slides, each with its 95 % interval over slides, and the same of blind choices.

    Attributes
    ----------
    k
        Tiles that were asked for on each slide.
    slides
        How many slides there are.
    hits, recall, precision, enrichment
        Means of the figures of :class:`Retrieval`.
    blind_hits, blind_recall, blind_precision, blind_enrichment
        Means of a blind choice of as many tiles on the same slides, with the interval of such means.
    p
        Share of blind choices with at least as many hits in all.
    """

    k: int
    slides: int
    hits: Interval
    recall: Interval
    precision: Interval
    enrichment: Interval
    blind_hits: Interval
    blind_recall: Interval
    blind_precision: Interval
    blind_enrichment: Interval
    p: float


FIGURES = ("hits", "recall", "precision", "enrichment")


def retrieve(
    scores: Float[NDArray[np.floating], " tile"], abnormal: Bool[NDArray[np.bool_], " tile"], *, k: int
) -> Retrieval:
    """Look at the K tiles of highest score.

    Parameters
    ----------
    scores
        One per tile of a slide, higher for what is to be looked at first; finite.
    abnormal
        The truth of each tile; at least one is abnormal.
    k
        How many tiles are looked at, at least 1; of a smaller slide all are.

    Raises
    ------
    ValueError
        If no tile is abnormal, a score is not finite, or `k` is below 1.

    Examples
    --------
    >>> found = retrieve(np.array([0.9, 0.1, 0.8, 0.2]), np.array([True, False, False, True]), k=2)
    >>> found.hits, found.recall, found.precision, found.enrichment
    (1.0, 0.5, 0.5, 1.0)
    """
    if k < 1:
        raise ValueError(f"Expected K of at least 1; found {k}.")
    if not abnormal.any():
        raise ValueError("Expected a slide with at least one abnormal tile; found none. Leave negative slides out.")
    if not np.isfinite(scores).all():
        raise ValueError("Expected a score for each tile; some are not finite. Leave out tiles that were not scored.")
    k = min(k, len(scores))
    last = np.partition(scores, len(scores) - k)[len(scores) - k]
    above, level = scores > last, scores == last
    shared = (k - int(above.sum())) / int(level.sum())
    return Retrieval(
        k=k,
        tiles=len(scores),
        abnormal=int(abnormal.sum()),
        hits=float(abnormal[above].sum() + shared * abnormal[level].sum()),
    )


def summarise(found: Sequence[Retrieval], *, k: int, draws: int = 2000, seed: int = 0) -> RetrievalSummary:
    """Average over slides, with intervals over slides, beside blind choices on the same slides.

    Parameters
    ----------
    found
        One per slide, at least one.
    k
        The K that was asked for.
    draws
        Resamples of the slides, and blind choices.
    seed
        Of both.

    Raises
    ------
    ValueError
        If there is no slide.
    """
    if not found:
        raise ValueError("Expected the retrieval of at least one slide; found none.")
    random = np.random.default_rng(seed)
    resampled = random.integers(0, len(found), (draws, len(found)))
    blind_hits = np.stack(
        [random.hypergeometric(each.abnormal, each.tiles - each.abnormal, each.k, draws) for each in found], axis=1
    ).astype(np.float64)
    per_hit = {name: np.array([_per_hit(each)[name] for each in found]) for name in FIGURES}
    hits = np.array([each.hits for each in found])
    values = {name: hits * weight for name, weight in per_hit.items()}
    expected = np.array([each.blind_hits for each in found])
    figures = {name: interval(float(own.mean()), own[resampled].mean(1)) for name, own in values.items()}
    blind = {
        f"blind_{name}": interval(float((expected * weight).mean()), (blind_hits * weight).mean(1))
        for name, weight in per_hit.items()
    }
    p = (1 + int((blind_hits.sum(1) >= hits.sum() - 1e-9).sum())) / (draws + 1)
    return RetrievalSummary(k=k, slides=len(found), p=p, **figures, **blind)


def retrieval_table(rows: Sequence[tuple[str, RetrievalSummary]]) -> str:
    """Return summaries as a Markdown table, each with the blind choice below it.

    Parameters
    ----------
    rows
        What each summary is of, and the summary.
    """
    lines = [
        "| ranked by | K | slides | hits | recall | precision | enrichment | p |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, summary in rows:
        cells = [with_interval(getattr(summary, figure), digits=_digits(figure)) for figure in FIGURES]
        blind = [with_interval(getattr(summary, f"blind_{figure}"), digits=_digits(figure)) for figure in FIGURES]
        lines.append(f"| {name} | {summary.k} | {summary.slides} | {' | '.join(cells)} | {p_value(summary.p)} |")
        lines.append(f"| blind choice | {summary.k} | {summary.slides} | {' | '.join(blind)} | |")
    return "\n".join(lines)


def card_row(summary: RetrievalSummary) -> dict[str, float | str]:
    """Return the enrichment as entries of a card's metrics, beside the blind choice's 1."""
    figure = summary.enrichment
    return {
        f"enrichment_at_{summary.k}": round(figure.value, 4),
        f"enrichment_at_{summary.k}_floor": 1.0,
        f"enrichment_at_{summary.k}_low": round(figure.low, 4),
        f"enrichment_at_{summary.k}_high": round(figure.high, 4),
        f"recall_at_{summary.k}": round(summary.recall.value, 4),
        f"recall_at_{summary.k}_floor": round(summary.blind_recall.value, 4),
    }


def sentence(found: Retrieval) -> str:
    """Return what the K tiles hold in words.

    Examples
    --------
    >>> sentence(Retrieval(k=20, tiles=400, abnormal=4, hits=3.0))
    '3 of 4 abnormal tiles are among the 20 highest of 400 (15.0 times a blind choice, which finds 0 to 1).'
    """
    low, high = found.blind_range
    hits = number(found.hits, digits=0 if found.hits == round(found.hits) else 1)
    return (
        f"{hits} of {found.abnormal} abnormal tiles are among the {found.k} highest of {found.tiles} "
        f"({number(found.enrichment, digits=1)} times a blind choice, which finds {low} to {high})."
    )


def _per_hit(found: Retrieval) -> dict[str, float]:
    """Return by what hits are multiplied for each figure."""
    return {
        "hits": 1.0,
        "recall": 1 / min(found.k, found.abnormal),
        "precision": 1 / found.k,
        "enrichment": found.tiles / (found.k * found.abnormal),
    }


def _digits(figure: str) -> int:
    return 1 if figure in ("hits", "enrichment") else 3
