"""Which part a sample belongs to: groups are never divided, and tasks of one set are divided alike."""

import warnings
from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from napari_mtlpath.training.pool.converter import LabelledPictures


class Part(StrEnum):
    """What samples are for: learning, choosing the best epoch, and the figures on the card."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


def part_of_groups(
    made: Sequence[LabelledPictures], *, validation_share: float, test_share: float, seed: int
) -> dict[str, Part]:
    """Return the part of every group of the tasks of one set, drawn by `seed`.

    Where publishers set samples aside, their groups are the test part, and only the rest is drawn from.
    """
    every = sorted({group for task in made for group in task.groups})
    published = {
        group
        for task in made
        if task.held_out is not None
        for group, held in zip(task.groups, task.held_out, strict=True)
        if held
    }
    given = any(task.held_out is not None for task in made)
    rest = [group for group in every if group not in published]
    order = [rest[place] for place in np.random.default_rng(seed).permutation(len(rest))]
    tested = 0 if given else max(1, round(test_share * len(order)))
    validated = max(1, round(validation_share * len(order)))
    parts = dict.fromkeys(order, Part.TRAIN) | dict.fromkeys(published, Part.TEST)
    parts |= dict.fromkeys(order[:tested], Part.TEST)
    return parts | dict.fromkeys(order[tested : tested + validated], Part.VALIDATION)


def grouped_folds(
    labels: Int[NDArray, " sample"], groups: Sequence[str], *, count: int, seed: int
) -> Int[NDArray, " sample"]:
    """Return the fold of each sample, 0 to `count` - 1: no group in two, classes spread as evenly as groups allow.

    Raises
    ------
    ValueError
        If there are fewer groups than folds.
    """
    if len(set(groups)) < count:
        raise ValueError(
            f"{count} folds need as many patients, slides or images; found {len(set(groups))}. Ask for fewer folds."
        )
    folds = np.zeros(len(labels), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class of fewer samples than folds: some folds go without it
        splitter = StratifiedGroupKFold(n_splits=count, shuffle=True, random_state=seed)
        codes = np.unique(np.asarray(groups), return_inverse=True)[1]
        for fold, (_, chosen) in enumerate(splitter.split(np.zeros(len(labels)), labels, codes)):
            folds[chosen] = fold
    return folds
