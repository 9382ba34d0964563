"""Tables and feature files of a config -> samples: what one bag is made of and what is known of it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.features.h5 import read_features
from napari_mtlpath.tables.cohort import Cohort
from napari_mtlpath.tables.feature_files import feature_file
from napari_mtlpath.tables.read import read_cohort
from napari_mtlpath.tables.rules import TableRules
from napari_mtlpath.tasks import Task
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.training.bags.bags import Bag
from napari_mtlpath.training.cohorts.feature_files import FeatureFiles, tile_microns
from napari_mtlpath.training.config.data import CohortBags
from napari_mtlpath.training.end_to_end.slide_pool import SlideShelf
from napari_mtlpath.training.tile_training.tile_data import find_data
from napari_mtlpath.units import Microns


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One bag before it is read.

    Attributes
    ----------
    name
        Of the patient, or of the slide where each slide is a bag.
    patient
        Whose it is.
    files
        File names of its slides.
    labels
        Class index or value per task, NaN where unknown.
    """

    name: str
    patient: str
    files: tuple[str, ...]
    labels: tuple[float, ...]


class LazyBags(Sequence):  # of Bag; said here, a run-time type check would read one by chance, damaged ones too
    """Bags that are read when they are asked for."""

    def __init__(self, samples: Sequence[Sample], files: FeatureFiles, *, slides: SlideShelf | None = None) -> None:
        self.samples = tuple(samples)
        self.files = files
        self.slides = slides

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Bag:  # type: ignore[override]  # no slices: nobody may read a cohort at once
        sample = self.samples[index]
        tiles = self.files.read(sample.files)
        return Bag(
            name=sample.name,
            patient=sample.patient,
            features=tiles.features,
            coordinates=tiles.coordinates,
            labels=torch.tensor(sample.labels, dtype=torch.float32),
            tiles=None if self.slides is None else self.slides.tiles(tiles.slides),
        )

    def __iter__(self) -> Iterator[Bag]:
        return (self[index] for index in range(len(self)))

    @property
    def labels(self) -> Float[Tensor, "sample task"]:
        """What is known of all of them, without reading any."""
        return torch.tensor([sample.labels for sample in self.samples], dtype=torch.float32)

    def only(self, chosen: Iterable[int]) -> "LazyBags":
        """Return some of them."""
        return LazyBags([self.samples[index] for index in chosen], self.files, slides=self.slides)


@dataclass(frozen=True, kw_only=True, eq=False)
class CohortData:
    """A cohort and the files behind it.

    Attributes
    ----------
    name
        Of its slide table, for people.
    cohort
        Patients and tasks, checked.
    files
        Reads its features.
    per_slide
        Whether each slide is a bag; else all slides of a patient are one.
    slides
        The slides themselves, or None where nobody asked for tiles.
    """

    name: str
    cohort: Cohort
    files: FeatureFiles
    per_slide: bool
    slides: SlideShelf | None = None

    def bags(self, patients: Iterable[str]) -> LazyBags:
        """Return the bags of some patients, in the order of the table; those without any label are left out."""
        wanted = set(patients)
        samples = []
        for patient in self.cohort.patients:
            if patient.name not in wanted or bool(np.isnan(patient.labels).all()):
                continue
            parts = [(file, (file,)) for file in patient.files] if self.per_slide else [(patient.name, patient.files)]
            samples += [
                Sample(name=name, patient=patient.name, files=files, labels=patient.labels) for name, files in parts
            ]
        return LazyBags(samples, self.files, slides=self.slides)

    @property
    def patients(self) -> tuple[str, ...]:
        """Names of all patients."""
        return tuple(patient.name for patient in self.cohort.patients)


def load_cohort(table: CohortBags, encoder: Encoder, *, folders: tuple[Path, ...]) -> CohortData:
    """Read the cohort that a config names, its feature files checked but not read.

    Raises
    ------
    FileNotFoundError
        If a table or folder is missing.
    napari_mtlpath.tables.problems.TableError
        With everything that is wrong with tables and files.
    """
    tasks = [entry.task() for entry in table.tasks] or None
    where = (table.slides, table.clinical, table.features, table.slide_files)
    return _load(table, encoder, tasks=tasks, where=where, folders=folders)


def load_external(
    table: CohortBags, encoder: Encoder, *, tasks: Sequence[Task], folders: tuple[Path, ...]
) -> CohortData | None:
    """Read the external cohort that a config names, asked the same `tasks`; None where it names none."""
    if table.external is None:
        return None
    external = table.external
    where = (external.slides, external.clinical, external.features or table.features, external.slide_files)
    if table.slide_files and not external.slide_files:
        where = (*where[:3], table.slide_files)
    return _load(table, encoder, tasks=tasks, where=where, folders=folders)


def _load(
    table: CohortBags,
    encoder: Encoder,
    *,
    tasks: Sequence[Task] | None,
    where: tuple[str, str, str, str],
    folders: tuple[Path, ...],
) -> CohortData:
    slides, clinical, features, files_of = (find_data(name, folders=folders) if name else None for name in where)
    if slides is None or features is None:
        raise ValueError("A cohort needs a table of slides and a folder of features. Name both in the [data] table.")
    rules = TableRules(
        patient_column=table.patient_column,
        filename_column=table.filename_column,
        unknown=table.unknown,
        allow_unmatched=table.allow_unmatched,
        feature_length=encoder.features,
    )
    cohort = read_cohort(slides, clinical, tasks=tasks, features=features, rules=rules)
    files = FeatureFiles(features, features=encoder.features, most_bytes=table.memory_mb * 2**20)
    shelf = SlideShelf(files_of, tile_px=int(encoder.tile_px)) if files_of is not None else None
    return CohortData(name=slides.name, cohort=cohort, files=files, per_slide=table.unit == "slide", slides=shelf)


def tile_spec(table: CohortBags, encoder: Encoder, data: CohortData) -> TileSpec:
    """Return what one tile is: as the config says, else as the first slide's feature file does.

    Raises
    ------
    ValueError
        If neither says it, or the file was made from tiles of other pixels than the encoder takes.
    """
    name = data.cohort.slides[0][0]
    path = feature_file(data.files.folder, name)
    if path is None:
        raise FileNotFoundError(f"Slide {name!r} has no feature file in {data.files.folder}. Extract it first.")
    file = read_features(path)
    if file.tile_px is not None and file.tile_px != encoder.tile_px:
        raise ValueError(
            f"{path.name} was made from tiles of {file.tile_px} px; encoder {encoder.name!r} takes "
            f"{encoder.tile_px} px. Name the encoder that made the files."
        )
    side = table.tile_um or tile_microns(file)
    if side is None:
        raise ValueError(
            f"{path.name} does not say how large its tiles are in microns. Set data.tile_um, such as tile_um = 256.0."
        )
    return TileSpec(tile_um=Microns(side), tile_px=encoder.tile_px)
