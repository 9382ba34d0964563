"""Splits of a cohort by patient: stratified over all tasks, in shares or in folds; nobody stands on two sides."""

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from napari_mtlpath.tables.cohort import Cohort
from napari_mtlpath.tables.stratify import stratify, traits


class Side(StrEnum):
    """A side of a split."""

    TRAIN = "train"
    SELECTION = "selection"
    TEST = "test"


@dataclass(frozen=True, kw_only=True)
class Split:
    """Who is learned from, who chooses the best epoch, and who is only looked at in the end.

    Attributes
    ----------
    train, selection, test
        Names of the patients, sorted; nobody stands on two sides.
    method
        How it was made, in words.
    seed
        Of the chance in it; None where it was given.
    fold
        Which of `folds` is the test side, from 0; None where there are no folds.
    folds
        Number of folds; 0 where there are none.

    Raises
    ------
    ValueError
        If a patient stands on two sides.
    """

    train: tuple[str, ...]
    selection: tuple[str, ...]
    test: tuple[str, ...]
    method: str
    seed: int | None = None
    fold: int | None = None
    folds: int = 0

    def __post_init__(self) -> None:
        sides: dict[str, str] = {}
        for side in Side:
            for patient in self.patients(side):
                if patient in sides:
                    where = side.value if sides[patient] == side.value else f"{sides[patient]} and {side.value}"
                    raise ValueError(f"Expected each patient on one side; found {patient!r} twice: {where}.")
                sides[patient] = side.value

    def patients(self, side: Side) -> tuple[str, ...]:
        """Return the patients of a side."""
        match side:
            case Side.TRAIN:
                return self.train
            case Side.SELECTION:
                return self.selection
            case Side.TEST:
                return self.test

    @property
    def digest(self) -> str:
        """SHA-256 over who stands where: equal digests mean the same split, however it was made."""
        sides = {side.value: sorted(self.patients(side)) for side in Side}
        return hashlib.sha256(json.dumps(sides, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def split(cohort: Cohort, *, seed: int, test_share: float = 0.2, selection_share: float = 0.2) -> Split:
    """Deal the patients by chance into train, selection and test, every task's labels spread alike.

    The same cohort and seed give the same split whatever the order of the table's rows.

    Parameters
    ----------
    cohort
        Whose patients are dealt.
    seed
        Of the chance in it.
    test_share
        Share of the patients on the test side; 0 for none.
    selection_share
        Share of the remaining patients on the selection side; 0 for none.

    Examples
    --------
    >>> from napari_mtlpath.tables.cohort import Patient
    >>> from napari_mtlpath.tasks import Classification
    >>> msi = Classification(name="MSI", classes=("no", "yes"))
    >>> patients = [Patient(name=f"P{n}", files=(f"{n}.svs",), labels=(float(n % 2),)) for n in range(50)]
    >>> made = split(Cohort(patients=tuple(patients), tasks=(msi,)), seed=0)
    >>> len(made.train), len(made.selection), len(made.test)
    (32, 8, 10)
    """
    _check_share(test_share, "test_share")
    _check_share(selection_share, "selection_share")
    selection = selection_share * (1 - test_share)
    names, groups = _dealt(cohort, (1 - test_share - selection, selection, test_share), seed=seed)
    made = _split_of(
        names,
        groups,
        method=f"stratified by patient; test {test_share:g} of all, selection {selection_share:g} of the rest",
        seed=seed,
    )
    _check_sides(made, (Side.TRAIN, *([Side.SELECTION] if selection > 0 else []), *([Side.TEST] if test_share else [])))
    return made


def folds(cohort: Cohort, *, count: int, seed: int, selection_share: float = 0.2) -> tuple[Split, ...]:
    """Return `count` splits whose test sides together are the cohort, each patient in exactly one of them.

    Parameters
    ----------
    cohort, seed
        As for :func:`split`.
    count
        Number of folds, at least 2.
    selection_share
        Share of the patients outside the test fold on the selection side; 0 for none.

    Raises
    ------
    ValueError
        If there are fewer patients than folds.
    """
    if not 2 <= count <= len(cohort.patients):
        raise ValueError(f"Expected 2 to {len(cohort.patients)} folds, one patient each at least; found {count}.")
    _check_share(selection_share, "selection_share")
    names, fold_of = _dealt(cohort, (1 / count,) * count, seed=seed)
    by_name = {patient.name: patient for patient in cohort.patients}
    made = []
    for fold in range(count):
        test = [name for name, group in zip(names, fold_of, strict=True) if group == fold]
        rest = Cohort(patients=tuple(by_name[name] for name in names if name not in set(test)), tasks=cohort.tasks)
        others, groups = _dealt(rest, (1 - selection_share, selection_share), seed=seed, stream=fold + 1)
        made.append(
            _split_of(
                [*others, *test],
                np.concatenate([groups, np.full(len(test), 2)]),
                method=f"fold {fold + 1} of {count}, stratified by patient; selection {selection_share:g} of the rest",
                seed=seed,
                fold=fold,
                folds=count,
            )
        )
        _check_sides(made[-1], (Side.TRAIN, Side.TEST, *([Side.SELECTION] if selection_share > 0 else [])))
    return tuple(made)


def check_split(made: Split, cohort: Cohort) -> None:
    """Raise ValueError where a split names patients that the cohort lacks, or leaves some of the cohort out."""
    names = {patient.name for patient in cohort.patients}
    dealt = {patient for side in Side for patient in made.patients(side)}
    if dealt - names:
        raise ValueError(f"The split names {_some(dealt - names)}, which the cohort lacks. Make it for this cohort.")
    if names - dealt:
        raise ValueError(f"The split says nothing about {_some(names - dealt)}. Make it for this cohort.")


def _dealt(cohort: Cohort, shares: tuple[float, ...], *, seed: int, stream: int = 0) -> tuple[list[str], np.ndarray]:
    """Return the patients' names in an order that the table does not decide, and the group of each."""
    ordered = Cohort(patients=tuple(sorted(cohort.patients, key=lambda patient: patient.name)), tasks=cohort.tasks)
    generator = np.random.default_rng([seed, stream])
    names = [patient.name for patient in ordered.patients]
    return names, stratify(traits(ordered), shares, generator=generator)


def _split_of(
    names: list[str], groups: np.ndarray, *, method: str, seed: int, fold: int | None = None, folds: int = 0
) -> Split:
    train, selection, test = (
        tuple(sorted(name for name, group in zip(names, groups, strict=True) if group == index)) for index in range(3)
    )
    return Split(train=train, selection=selection, test=test, method=method, seed=seed, fold=fold, folds=folds)


def _check_share(share: float, name: str) -> None:
    if not 0 <= share < 1:
        raise ValueError(f"Expected {name} in 0 to below 1; found {share}.")


def _check_sides(made: Split, needed: tuple[Side, ...]) -> None:
    empty = [side.value for side in needed if not made.patients(side)]
    if empty:
        total = sum(len(made.patients(side)) for side in Side)
        raise ValueError(f"With {total} patients nobody is left for {' and '.join(empty)}. Use other shares or folds.")


def _some(names: set[str]) -> str:
    shown = ", ".join(map(repr, sorted(names)[:3]))
    return f"{len(names)} patients ({shown}{', ...' if len(names) > 3 else ''})"
