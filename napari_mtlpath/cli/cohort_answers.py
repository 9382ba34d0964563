"""A model and a cohort -> its answers: features where they are, else extracted as `mtlpath predict` does."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_mtlpath.cli.isolation import Failed, IsolatedWork
from napari_mtlpath.cli.prediction import SlideDone, SlideProgress, Wishes, prepare

if TYPE_CHECKING:
    from napari_mtlpath.evaluation.predictions import Predictions
    from napari_mtlpath.tables.cohort import Cohort
    from napari_mtlpath.zoo.model import SlideModel

MEMORY_BYTES = 256 * 2**20
"""Features kept in memory while bags are answered."""


@dataclass(frozen=True, kw_only=True)
class CohortFiles:
    """Where a cohort's files lie.

    Attributes
    ----------
    features
        Folder of feature files; new ones are written there.
    slides
        Folder of slide files for those without features, or None.
    mpp
        Microns per pixel for slides that do not say theirs.
    work
        Folder for what extraction leaves behind.
    """

    features: Path
    slides: Path | None
    mpp: float | None
    work: Path


@dataclass(frozen=True, kw_only=True)
class SlideFailed:
    """A slide without features, with the reason."""

    slide: str
    message: str


def missing_features(cohort: "Cohort", files: CohortFiles) -> list[str]:
    """Return the slides of a cohort that have no feature file yet."""
    from napari_mtlpath.tables.feature_files import feature_file

    return [name for name, _ in cohort.slides if feature_file(files.features, name) is None]


def extract_missing(
    names: Sequence[str], files: CohortFiles, *, model: str, device: str, patience: float
) -> Iterator[tuple[str, SlideProgress | SlideDone | SlideFailed]]:
    """Extract the features of slides in a child process, the way `mtlpath predict` does, and report on each.

    Raises
    ------
    ValueError
        If there is no folder of slides, or the model cannot be loaded.
    """
    from napari_mtlpath.inference.export.outputs import Outputs

    if files.slides is None:
        others = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        raise ValueError(
            f"Found that slide {names[0]!r}{others} has no features in '{files.features}'. Extract them with "
            "mtlpath extract, or pass --slides FOLDER."
        )
    outputs = Outputs(tiles=False, heatmaps=False, geojson=False, features=True)
    wishes = Wishes(model=model, device=device, root=files.work, mpp=files.mpp, overwrite=False, outputs=outputs)
    work: IsolatedWork[Path, SlideProgress | SlideDone] = IsolatedWork(
        partial(prepare, wishes), silence_seconds=patience
    )
    try:
        for name in names:
            for report in work.run(files.slides / name):
                match report:
                    case Failed(fatal=True):
                        raise ValueError(report.message)
                    case Failed():
                        yield name, SlideFailed(slide=name, message=report.message)
                    case SlideDone():
                        _keep(report, files.features / f"{name}.h5")
                        yield name, report
                    case SlideProgress():
                        yield name, report
    finally:
        work.close()


def answer_cohort(
    model: "SlideModel",
    cohort: "Cohort",
    files: CohortFiles,
    *,
    patients: Collection[str],
    per_slide: bool,
    part: str,
    done: Callable[[int, int], None],
) -> "Predictions":
    """Return a model's answers about some patients of a cohort, bag by bag.

    Parameters
    ----------
    model, cohort, files
        Who is asked about whom.
    patients
        Names of the patients to ask about; those without any label or any features are left out.
    per_slide
        Whether each slide is a bag; else all slides of a patient are one.
    part
        What to call these data.
    done
        Told how many bags of how many are answered.

    Raises
    ------
    ValueError
        If nothing is left to answer, or features are not those of the model's encoder.
    """
    import numpy as np
    import torch

    from napari_mtlpath.evaluation.predictions import Predictions
    from napari_mtlpath.training.cohorts.cohort_data import CohortData
    from napari_mtlpath.training.cohorts.feature_files import FeatureFiles

    reader = FeatureFiles(files.features, features=model.encoder.features, most_bytes=MEMORY_BYTES)
    data = CohortData(name="", cohort=_with_features(cohort, files), files=reader, per_slide=per_slide)
    bags = data.bags(patients)
    if not len(bags):
        raise ValueError("No patient with a label and features is left to judge. Check the table and the split.")
    logits: dict[str, list[np.ndarray]] = {task.name: [] for task in cohort.tasks}
    embeddings: dict[str, list[np.ndarray]] = {task.name: [] for task in cohort.tasks}
    with torch.inference_mode():
        for number, bag in enumerate(bags, start=1):
            centres = None if bag.coordinates is None else bag.coordinates.to(model.device)
            output = model.aggregator(bag.features.to(model.device), centres)
            for name in logits:
                logits[name].append(output.tasks[name].logits.double().cpu().numpy())
                embeddings[name].append(output.tasks[name].embedding.double().cpu().numpy())
            done(number, len(bags))
    return Predictions(
        samples=tuple(sample.name for sample in bags.samples),
        patients=tuple(sample.patient for sample in bags.samples),
        tasks=cohort.tasks,
        labels=np.array([sample.labels for sample in bags.samples], dtype=np.float64),
        logits={name: np.stack(rows) for name, rows in logits.items()},
        embeddings={name: np.stack(rows) for name, rows in embeddings.items()},
        part=part,
        run=model.card.name,
        model=model.card.name,
        facts={"bag": "one slide" if per_slide else "all slides of a patient", "model_digest": model.digest},
    )


def _with_features(cohort: "Cohort", files: CohortFiles) -> "Cohort":
    """Return a cohort without the slides that have no features, and without patients of whom none is left."""
    from dataclasses import replace

    lacking = set(missing_features(cohort, files))
    left = [
        replace(patient, files=tuple(name for name in patient.files if name not in lacking))
        for patient in cohort.patients
        if any(name not in lacking for name in patient.files)
    ]
    return replace(cohort, patients=tuple(left))


def _keep(report: SlideDone, target: Path) -> None:
    """Copy the features that an export wrote to where the cohort's features lie."""
    import shutil

    from napari_mtlpath.files import replacing

    source = report.folder / report.predictions["files"]["features"][0]
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
