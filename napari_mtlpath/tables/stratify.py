"""Iterative stratification: groups of a split that are alike in every task, though most labels may be missing."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from napari_mtlpath.tables.cohort import Cohort
from napari_mtlpath.tasks import Classification

REGRESSION_BINS = 4
"""Quarters of a regression's labels, which are balanced as classes are."""


def traits(cohort: Cohort) -> Bool[np.ndarray, "patient trait"]:
    """Return each patient's traits: a class of a task, or a quarter of a regression; unknown labels give none."""
    columns: list[NDArray[np.bool_]] = []
    for labels, task in zip(cohort.label_array().T, cohort.tasks, strict=True):
        if isinstance(task, Classification):
            columns += [labels == index for index in range(len(task.classes))]
            continue
        known = labels[~np.isnan(labels)]
        if len(known) == 0:
            continue
        edges = np.unique(np.quantile(known, np.linspace(0, 1, REGRESSION_BINS + 1)[1:-1]))
        quarter = np.where(np.isnan(labels), -1, np.searchsorted(edges, labels, side="right"))
        columns += [quarter == index for index in range(len(edges) + 1)]
    return np.stack(columns, axis=1) if columns else np.zeros((len(cohort.patients), 0), dtype=np.bool_)


def stratify(
    has: Bool[np.ndarray, "patient trait"], shares: tuple[float, ...], *, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Deal patients into groups so that every trait is spread as the shares say (Sechidis et al., 2011).

    For group j of share r_j and trait i with n_i patients, the wish is w_ij = r_j n_i. The trait with the fewest
    patients left is dealt first; each of its patients goes to the group with the largest wish for the trait, then the
    largest wish for patients at all, then by chance; the wishes shrink by one for what was given. *On the
    Stratification of Multi-Label Data, ECML PKDD 2011, algorithm 1.* Other than there, equal wishes are decided by all
    traits of the patient together, a rare one counting more, and a group takes no more patients than its share says,
    rounded: no side of a small cohort is left empty.

    Parameters
    ----------
    has
        Which patient has which trait.
    shares
        Share of each group; they sum to 1.
    generator
        Decides what the wishes leave open.

    Returns
    -------
    The group of each patient, [patient].

    Examples
    --------
    >>> has = np.array([[True, False]] * 4 + [[False, True]] * 8)
    >>> groups = stratify(has, (0.5, 0.5), generator=np.random.default_rng(0))
    >>> [int(has[groups == group, 0].sum()) for group in (0, 1)]
    [2, 2]
    """
    if not np.isclose(sum(shares), 1.0) or min(shares) < 0:
        raise ValueError(f"Expected shares that sum to 1; found {shares}.")
    share = np.array(shares)
    wish = share[:, None] * has.sum(axis=0)  # [group, trait]
    rarity = 1 / np.maximum(1, has.sum(axis=0))
    room = _sizes(share, len(has))
    groups = np.full(len(has), -1, dtype=np.int64)
    while (groups < 0).any():
        left = has & (groups < 0)[:, None]
        counts = left.sum(axis=0)
        open_traits = np.flatnonzero(counts)
        trait = int(open_traits[np.argmin(counts[open_traits])]) if len(open_traits) else None
        turn = np.flatnonzero(left[:, trait]) if trait is not None else np.flatnonzero(groups < 0)
        for patient in generator.permutation(turn):
            first = wish[:, trait] if trait is not None else room
            others = wish[:, has[patient]] @ rarity[has[patient]]
            group = _choose([np.where(room > 0, first, -np.inf), others, room], generator)
            groups[patient] = group
            wish[group] -= has[patient]
            room[group] -= 1
    return groups


def _sizes(share: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return how many patients each group takes: its share, rounded so that they sum up, and at least one of a share.

    Examples
    --------
    >>> _sizes(np.array([0.64, 0.16, 0.2]), 5).tolist(), _sizes(np.array([0.9, 0.0, 0.1]), 4).tolist()
    ([3, 1, 1], [3, 0, 1])
    """
    exact = share * count
    sizes = np.maximum(np.floor(exact), share > 0).astype(np.int64)
    while sizes.sum() != count:
        step = 1 if sizes.sum() < count else -1
        allowed = share > 0 if step > 0 or sizes.max() <= 1 else sizes > 1
        sizes[np.argmax(np.where(allowed, step * (exact - sizes), -np.inf))] += step
    return sizes


def _choose(wishes: Sequence[NDArray[np.number]], generator: np.random.Generator) -> int:
    """Return the group with the largest first wish; among equals the next wish decides, in the end chance."""
    best = np.arange(len(wishes[0]))
    for wish in wishes:
        best = best[np.isclose(wish[best], wish[best].max())]
    return int(generator.choice(best))
