"""Simulated cohorts from real cells: feature files, tables, split and the truth of every tile, by settings and a seed.

They go through the same door as anybody's own cohort, so that a claim made on them can be checked by whoever has the
public archive of cells.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import h5py
import numpy as np
import torch

from napari_mtlpath.features.h5 import write_features
from napari_mtlpath.files import replacing
from napari_mtlpath.simulation.cells import CELL_UM
from napari_mtlpath.simulation.smear import NOMINAL_MPP
from napari_mtlpath.tables.split import Split
from napari_mtlpath.tables.split_file import SPLIT_FILE, write_split
from napari_mtlpath.tasks import Classification, Task
from napari_mtlpath.training.bags.bags import Bag
from napari_mtlpath.training.smears.smear_bags import SMEAR_TASKS, SmearBagSource, SpecSampler

SLIDE_TABLE, CLINICAL_TABLE, TRUTH_FILE, ABOUT_FILE = "slides.csv", "clinical.csv", "truth.h5", "simulation.json"
FEATURE_FOLDER = "features"


@dataclass(frozen=True, kw_only=True)
class CohortSettings:
    """What a simulated cohort holds.

    Attributes
    ----------
    train, selection, test
        Patients of each side; the cells of one side are on no other.
    slides
        Least and most slides per patient.
    rows, columns
        Cells of a slide.
    witness_rates
        Range of the share of witness cells, log-uniform, on the one slide of a positive patient that has any. Every
        other patient is positive.
    test_rates
        Rates of the test patients, in turns; empty: as the others.
    neutrophil_share, vacuolated_share
        Ranges of these shares of the cells.
    unknown
        Chance that a label of a patient of the train or selection side is not known; test labels are complete.
    seed
        Of all chance.
    """

    train: int = 240
    selection: int = 60
    test: int = 100
    slides: tuple[int, int] = (1, 2)
    rows: int = 36
    columns: int = 36
    witness_rates: tuple[float, float] = (0.01, 0.01)
    test_rates: tuple[float, ...] = ()
    neutrophil_share: tuple[float, float] = (0.15, 0.6)
    vacuolated_share: tuple[float, float] = (0.02, 0.2)
    unknown: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.train, self.selection, self.test) < 2:
            raise ValueError(f"Each side needs at least 2 patients; found {(self.train, self.selection, self.test)}.")
        if not 1 <= self.slides[0] <= self.slides[1]:
            raise ValueError(f"A patient has 1 or more slides, the least first; found {self.slides}.")
        if not 0 <= self.unknown < 1:
            raise ValueError(f"The chance of an unknown label must lie in [0, 1); found {self.unknown}.")


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulatedPatient:
    """One patient: slides and the labels that follow from their cells."""

    name: str
    side: str
    rate: float
    bags: tuple[Bag, ...]

    @property
    def labels(self) -> tuple[float, ...]:
        """By task: whether any cell is a witness, and the shares over all cells."""
        truth = {name: torch.cat([bag.truth[name] for bag in self.bags]).double() for name in self.bags[0].truth}
        return tuple(
            float(truth[task.name].max() if isinstance(task, Classification) else truth[task.name].mean())
            for task in SMEAR_TASKS
        )


def simulated_patients(source: SmearBagSource, settings: CohortSettings) -> Iterator[SimulatedPatient]:
    """Compose the patients of a cohort, one after the other; the same settings give the same patients."""
    sampler = SpecSampler(
        sizes=((settings.rows, settings.columns),),
        neutrophil_share=settings.neutrophil_share,
        vacuolated_share=settings.vacuolated_share,
    )
    number = 0
    for side, count in (("train", settings.train), ("selection", settings.selection), ("test", settings.test)):
        for place in range(count):
            random = np.random.default_rng([settings.seed, number])
            low, high = settings.witness_rates
            rate = float(np.exp(random.uniform(np.log(low), np.log(high))))
            if side == "test" and settings.test_rates:
                rate = settings.test_rates[(place // 2) % len(settings.test_rates)]
            slides = int(random.integers(settings.slides[0], settings.slides[1] + 1))
            with_witnesses = int(random.integers(slides)) if place % 2 else -1
            bags = tuple(
                source.parts[side].bag(
                    sampler, seed=int(random.integers(2**62)), rates=(rate, rate), positive=slide == with_witnesses
                )
                for slide in range(slides)
            )
            yield SimulatedPatient(name=f"P{number:05d}", side=side, rate=rate if place % 2 else 0.0, bags=bags)
            number += 1


@dataclass(kw_only=True)
class _Tables:
    """What the files about all slides say."""

    slides: list[dict[str, str]] = field(default_factory=list)
    clinical: list[dict[str, str]] = field(default_factory=list)
    sides: dict[str, list[str]] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)


def write_simulated_cohort(
    folder: Path, source: SmearBagSource, settings: CohortSettings
) -> Iterator[SimulatedPatient]:
    """Write a cohort below `folder`; yields each patient whose files are written.

    ``features/<slide>.h5`` (STAMP's layout), ``slides.csv`` (PATIENT, FILENAME), ``clinical.csv`` (PATIENT, a column
    per task, empty where unknown), ``split.json``, ``truth.h5`` (per slide and task, which tiles are what; nobody
    trains on it) and ``simulation.json`` (the settings). The tables and the split are written last.
    """
    tables = _Tables()
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng([settings.seed, 2**31])
    with replacing(folder / TRUTH_FILE) as temporary, h5py.File(temporary, "w") as truth:
        for patient in simulated_patients(source, settings):
            for number, bag in enumerate(patient.bags):
                slide = f"{patient.name}-{number + 1}"
                _write_slide(folder / FEATURE_FOLDER / f"{slide}.h5", bag, source, settings)
                for task, mask in bag.truth.items():
                    truth[f"{slide}/{task}"] = mask.numpy()
                tables.slides.append({"PATIENT": patient.name, "FILENAME": f"{slide}.tiff"})
            known = np.ones(len(SMEAR_TASKS), bool)
            if patient.side != "test":
                known = random.uniform(size=len(SMEAR_TASKS)) >= settings.unknown
            tables.clinical.append({"PATIENT": patient.name} | _texts(patient.labels, known))
            tables.sides.setdefault(patient.side, []).append(patient.name)
            tables.rates[patient.name] = patient.rate
            yield patient
    _write_tables(folder, tables, settings)


def task_tables() -> list[dict[str, object]]:
    """Return the tasks of a simulated cohort as the ``tasks`` of a config's ``[data]`` table."""
    return [_task_table(task) for task in SMEAR_TASKS]


def read_truth(folder: Path, slides: Sequence[str], task: str) -> np.ndarray:
    """Return which tiles of some slides are what `task` asks about, slides one after the other, [tile].

    Parameters
    ----------
    folder
        Of the cohort.
    slides
        File names as the slide table has them; for a patient's bag, all of the patient's in its order.
    task
        Name of a task.
    """
    with h5py.File(folder / TRUTH_FILE, "r") as truth:
        return np.concatenate([np.asarray(truth[f"{Path(slide).stem}/{task}"], dtype=bool) for slide in slides])


def _task_table(task: Task) -> dict[str, object]:
    table: dict[str, object] = {"name": task.name, "kind": task.kind, "title": task.title, "question": task.question}
    if isinstance(task, Classification):
        return table | {"classes": list(task.classes)}
    return table | {"low": task.low, "high": task.high, "unit": task.unit}


def _texts(labels: Sequence[float], known: np.ndarray) -> dict[str, str]:
    texts = {}
    for task, label, is_known in zip(SMEAR_TASKS, labels, known, strict=True):
        text = task.classes[int(label)] if isinstance(task, Classification) else f"{label:.6f}"
        texts[task.name] = text if is_known else ""
    return texts


def _write_slide(path: Path, bag: Bag, source: SmearBagSource, settings: CohortSettings) -> None:
    rows, columns = np.divmod(np.arange(len(bag.features)), settings.columns)
    write_features(
        path,
        bag.features.numpy(),
        np.stack([rows, columns], axis=1) * float(CELL_UM),
        extractor=f"{source.encoder.name}-{source.encoder.digest[:12]}",
        tile_um=source.spec.tile_um,
        tile_px=source.spec.tile_px,
        attributes={"note": "simulated slide from real cells", "mpp": float(NOMINAL_MPP)},
    )


def _write_tables(folder: Path, tables: _Tables, settings: CohortSettings) -> None:
    train, selection, test = (tuple(tables.sides[side]) for side in ("train", "selection", "test"))
    method = "simulated: each side has cells of its own"
    made = Split(train=train, selection=selection, test=test, method=method, seed=settings.seed)
    write_split(folder / SPLIT_FILE, made)
    about = {"what": "simulated slides from real cells", "settings": asdict(settings), "witness_rates": tables.rates}
    with replacing(folder / ABOUT_FILE) as temporary:
        temporary.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    for name, rows in ((SLIDE_TABLE, tables.slides), (CLINICAL_TABLE, tables.clinical)):
        with replacing(folder / name) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
