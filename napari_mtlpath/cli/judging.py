"""What `mtlpath evaluate` judges: a run's own answers, or a model's answers about a cohort."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_mtlpath.cli.calibration_patients import PATIENTS_KEY, patients_digest, seen_in_calibration
from napari_mtlpath.cli.cohort_answers import CohortFiles, SlideFailed, answer_cohort, extract_missing, missing_features
from napari_mtlpath.cli.prediction import SlideDone, SlideProgress
from napari_mtlpath.folders import patients_folder

if TYPE_CHECKING:
    from napari_mtlpath.evaluation.judge import ModelTables
    from napari_mtlpath.evaluation.predictions import Predictions
    from napari_mtlpath.tables.cohort import Cohort
    from napari_mtlpath.zoo.card import ModelCard

SELECTION, TEST = "selection", "test"
UNCHECKED = (
    "The model's split is not beside it (NAME.patients/split.json): whether it learned from some of these patients was "
    "not checked."
)

Progress = Callable[[str, int, int], None]
"""Told what is being done, and how much of how much is."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sources:
    """Answers to judge, answers to choose on, and the model's card.

    Attributes
    ----------
    test
        What figures are taken from; None where a cohort is used for calibration only.
    held_out
        What thresholds and calibration are fitted on, or None.
    card
        The model's card, or None for a run without a model folder.
    fitted_on
        What `held_out` is, in words.
    notes
        Sentences for the user.
    failed
        Slides that could not be done, with the reason.
    """

    test: "Predictions | None"
    held_out: "Predictions | None"
    card: "ModelCard | None"
    fitted_on: str
    notes: tuple[str, ...] = ()
    failed: tuple[SlideFailed, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CohortWishes:
    """What the user said about a cohort.

    Attributes
    ----------
    slide_table, clinical_table
        Its tables.
    tasks
        Names of the model's tasks to judge; empty for all.
    files
        Where features and slides lie.
    model, device
        Who answers, and where.
    calibrate
        Whether the cohort is held-out data to fit on, not data to judge on.
    """

    slide_table: Path
    clinical_table: Path | None
    tasks: Sequence[str]
    files: CohortFiles
    model: str
    device: str
    calibrate: bool


def run_sources(folder: Path, *, part: str) -> Sources:
    """Return what a run kept below its folder.

    Raises
    ------
    FileNotFoundError, ValueError
        If there are no predictions, or none of that part.
    """
    from napari_mtlpath.evaluation.prediction_files import read_predictions
    from napari_mtlpath.zoo.card import MODEL_FILE, read_model_card

    parts = read_predictions(folder)
    if part not in parts:
        raise ValueError(f"Run '{folder.name}' kept no part {part!r}. It has: {', '.join(parts)}.")
    notes = []
    if part == SELECTION:
        notes.append("The selection part chose the best epoch: its figures are too good.")
    held_out = parts.get(SELECTION) if part != SELECTION else None
    patients = 0 if held_out is None else len(set(held_out.patients))
    return Sources(
        test=parts[part],
        held_out=held_out,
        card=read_model_card(folder) if (folder / MODEL_FILE).is_file() else None,
        fitted_on=f"{patients} patients of the selection part of run {parts[part].run!r}",
        notes=tuple(notes),
    )


def cohort_sources(wishes: CohortWishes, *, progress: Progress, patience: float = 600.0) -> Sources:
    """Let a model answer a cohort, without the patients that it learned from.

    Raises
    ------
    TableError
        With everything that is wrong with the tables.
    ValueError, OSError
        If the model, its tasks or the features cannot be used.
    """
    from napari_mtlpath.tables.read import read_cohort
    from napari_mtlpath.zoo.card import read_model_card
    from napari_mtlpath.zoo.load import find_model, load_model

    folder = find_model(wishes.model)
    card = read_model_card(folder)
    tasks = tuple(card.task(name) for name in wishes.tasks) or card.tasks
    cohort = read_cohort(wishes.slide_table, wishes.clinical_table, tasks=tasks)
    patients, notes = _allowed(cohort, folder, calibrate=wishes.calibrate)
    failed = []
    lacking = missing_features(cohort, wishes.files)
    if lacking:
        reports = extract_missing(lacking, wishes.files, model=wishes.model, device=wishes.device, patience=patience)
        for slide, report in reports:
            match report:
                case SlideProgress():
                    progress(slide, report.known, report.total)
                case SlideFailed():
                    failed.append(report)
                case SlideDone():
                    pass
    model = load_model(wishes.model, device=wishes.device)
    answers = answer_cohort(
        model,
        cohort,
        wishes.files,
        patients=patients,
        per_slide=_per_slide(folder),
        part=wishes.slide_table.stem,
        done=lambda count, total: progress("answering", count, total),
    )
    if not wishes.calibrate:
        notes += seen_in_calibration(card, answers.patients)
    return Sources(
        test=None if wishes.calibrate else answers,
        held_out=answers if wishes.calibrate else None,
        card=card,
        fitted_on=f"{len(set(answers.patients))} patients of {wishes.slide_table.name}",
        notes=(*cohort.notes, *notes),
        failed=tuple(failed),
    )


def card_tables(card: "ModelCard | None") -> "ModelTables":
    """Return what a card holds for judging; nothing without one."""
    from napari_mtlpath.evaluation.judge import ModelTables

    if card is None:
        return ModelTables()
    return ModelTables(calibration=card.calibration, operating_points=card.operating_points, conformal=card.conformal)


def with_tables(card: "ModelCard", tables: "ModelTables", *, patients: Iterable[str]) -> "ModelCard":
    """Return a card with fitted tables in the place of those of the same tasks; patients enter as one digest."""
    digest = patients_digest(patients)
    calibration = {task: dict(values) | {PATIENTS_KEY: digest} for task, values in tables.calibration.items()}
    points = {task: dict(values) for task, values in tables.operating_points.items()}
    conformal = {task: dict(values) for task, values in tables.conformal.items()}
    return replace(
        card,
        calibration=card.calibration | calibration,
        operating_points=card.operating_points | points,
        conformal=card.conformal | conformal,
    )


def _allowed(cohort: "Cohort", folder: Path, *, calibrate: bool) -> tuple[Collection[str], list[str]]:
    """Return the patients that may be used, by the model's own split where it kept one, and what was left out."""
    from napari_mtlpath.tables.split import Side
    from napari_mtlpath.tables.split_file import SPLIT_FILE, read_split

    names = [patient.name for patient in cohort.patients]
    kept = [place / SPLIT_FILE for place in (patients_folder(folder), folder) if (place / SPLIT_FILE).is_file()]
    if not kept:
        return names, [UNCHECKED]
    split = read_split(kept[0])
    purposes = {Side.TRAIN: "training", Side.SELECTION: "selection", Side.TEST: "test"}
    banned = [Side.TRAIN, Side.TEST] if calibrate else [Side.TRAIN, Side.SELECTION]
    notes, left = [], names
    for side in banned:
        members = set(split.patients(side))
        out = [name for name in left if name in members]
        left = [name for name in left if name not in members]
        if out:
            notes.append(f"{len(out)} patients are left out: they belong to the {purposes[side]} part of this model.")
    if not left:
        kind = "calibrating" if calibrate else "judging"
        raise ValueError(
            f"No patient of the cohort is left for {kind}: all belong to other parts of the model's split."
        )
    return left, notes


def _per_slide(folder: Path) -> bool:
    """Whether the model learned slide by slide; as it said in its own predictions, else patient by patient."""
    from napari_mtlpath.evaluation.prediction_files import read_predictions

    try:
        parts = read_predictions(folder)
    except FileNotFoundError:
        return False
    return any(part.facts.get("bag") == "one slide" for part in parts.values())
