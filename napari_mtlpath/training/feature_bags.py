"""Bags from feature files on disk, labelled by a table with one row per slide and one column per task."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from sklearn.model_selection import train_test_split
from torch import Tensor

from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.features.h5 import read_features
from napari_mtlpath.tasks import UNKNOWN_LABEL, Regression, Task
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.training.bags import Answer, Bag, BagSource, CardMetrics
from napari_mtlpath.training.config_data import FeatureBags
from napari_mtlpath.training.evaluation import Metric, accuracy, auc, estimate, macro_f1, majority, mean_error
from napari_mtlpath.units import Microns

SLIDE_COLUMN = "FILENAME"
HELD_OUT_SHARE = 0.2
"""Share of the slides for the final figures, and again of the rest for choosing the best epoch."""


class FeatureBagSource(BagSource):
    """Bags of feature files (``<slide>.h5`` of STAMP, CLAM or TRIDENT) with slide-level labels, empty cells unknown.

    Slides are split by chance with the config's seed; all slides of one PATIENT, where the table has that column, stay
    together.

    Raises
    ------
    ValueError
        If a label is none of its task's classes, a file is missing, or embeddings do not have the encoder's length.
    """

    def __init__(self, table: FeatureBags, encoder: Encoder, *, labels: Path, folder: Path, seed: int) -> None:
        self.encoder = encoder
        self.tasks = tuple(entry.task() for entry in table.tasks)
        self.spec = TileSpec(tile_um=Microns(table.tile_um), tile_px=encoder.tile_px)
        rows = _read_rows(labels)
        bags = [self._bag(row, folder) for row in rows]
        patients = np.array([row.get("PATIENT") or row[SLIDE_COLUMN] for row in rows])
        fit, test = _split(patients, seed=seed)
        train, choose = _split(patients[fit], seed=seed + 1)
        self.parts = {
            "train": [bags[index] for index in fit[train]],
            "selection": [bags[index] for index in fit[choose]],
            "test": [bags[index] for index in test],
        }
        self.bags_per_epoch = len(self.parts["train"])
        self.facts = {"data": f"{len(rows)} slides of {labels.name}"} | {
            f"{name}_slides": len(part) for name, part in self.parts.items()
        }

    def train(self, epoch: int, generator: torch.Generator) -> Iterator[Bag]:
        """Yield the training slides in random order."""
        for number in torch.randperm(self.bags_per_epoch, generator=generator).tolist():
            yield self.parts["train"][number]

    def selection(self) -> Sequence[Bag]:
        """Return the slides that the best epoch is chosen by."""
        return self.parts["selection"]

    def figures(self, answer: Answer) -> CardMetrics:
        """Return each task's figure on the held-out slides beside the answer that never looks."""
        outputs = [answer(bag.features) for bag in self.parts["test"]]
        truth = torch.stack([bag.labels for bag in self.parts["test"]]).double().numpy()
        learned = torch.stack([bag.labels for bag in self.parts["train"]]).double().numpy()
        metrics: CardMetrics = {}
        for column, task in enumerate(self.tasks):
            known = ~np.isnan(truth[:, column])
            logits = np.stack([output.tasks[task.name].logits.double().cpu().numpy() for output in outputs])[known]
            if known.any():
                metrics[task.name] = _figure(task, truth[known, column], logits, learned[:, column])
        return metrics

    def statistics(self) -> tuple[Float[Tensor, " feature"], Float[Tensor, " feature"]]:
        """Return mean and standard deviation over the training slides' tiles."""
        features = torch.cat([bag.features for bag in self.parts["train"]])
        return features.mean(0), features.std(0)

    def _bag(self, row: dict[str, str], folder: Path) -> Bag:
        path = folder / f"{Path(row[SLIDE_COLUMN]).stem}.h5"
        features = torch.from_numpy(read_features(path).features)
        if features.shape[1] != self.encoder.features:
            raise ValueError(
                f"{path.name} holds embeddings of length {features.shape[1]}; encoder {self.encoder.name!r} gives "
                f"{self.encoder.features}. Name the encoder that made the files."
            )
        labels = torch.tensor([_label(task, row.get(task.name, ""), slide=path.stem) for task in self.tasks])
        return Bag(features=features, labels=labels)


def _read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    if len(rows) < 5 or SLIDE_COLUMN not in rows[0]:
        raise ValueError(f"{path.name} needs a column {SLIDE_COLUMN} and at least 5 slides; found {len(rows)} rows.")
    return rows


def _label(task: Task, text: str | None, *, slide: str) -> float:
    if not text:
        return UNKNOWN_LABEL
    if isinstance(task, Regression):
        return float(text)
    if text not in task.classes:
        raise ValueError(
            f"Task {task.name!r} has the classes {', '.join(task.classes)}; slide {slide!r} says {text!r}."
        )
    return float(task.classes.index(text))


def _split(groups: np.ndarray, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the larger and of the smaller part, whole groups each."""
    larger, smaller = train_test_split(np.unique(groups), test_size=HELD_OUT_SHARE, random_state=seed)
    return np.flatnonzero(np.isin(groups, larger)), np.flatnonzero(np.isin(groups, smaller))


def _figure(task: Task, truth: np.ndarray, logits: np.ndarray, learned: np.ndarray) -> dict[str, float | str]:
    if isinstance(task, Regression):
        floor = mean_error(truth, np.full_like(truth, np.nanmean(learned)))
        return estimate(mean_error, truth, logits[:, 0]).row("mean_absolute_error", floor=floor)
    if task.is_binary and len(np.unique(truth)) == 2:
        return estimate(auc, truth, logits[:, 0]).row("auc", floor=0.5)
    answers = (logits[:, 0] > 0).astype(np.float64) if task.is_binary else logits.argmax(1).astype(np.float64)
    metrics: dict[str, Metric] = {"accuracy": accuracy, "macro_f1": macro_f1}
    trivial = np.full_like(truth, majority(learned))
    rows: dict[str, float | str] = {}
    for name, metric in metrics.items():
        rows |= estimate(metric, truth, answers).row(name, floor=metric(truth, trivial))
    return rows
