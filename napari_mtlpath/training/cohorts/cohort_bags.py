"""Bags of a cohort from tables and feature files, read lazily, labels partial, patients on one side of the split."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.tables.split import Split
from napari_mtlpath.tables.split_file import SPLIT_FILE, write_split
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.training.bags.bags import Answer, Bag, BagSource, CardMetrics
from napari_mtlpath.training.bags.run_predictions import RunName, card_figures, predict_parts
from napari_mtlpath.training.cohorts.cohort_data import CohortData, LazyBags
from napari_mtlpath.training.cohorts.feature_files import FeatureFiles


class CohortBagSource(BagSource):
    """Bags of the patients of a cohort (or of their slides), split by patient.

    Parameters
    ----------
    data
        The cohort that is learned from.
    encoder, spec
        Whose embeddings the files hold, and what one tile is.
    split
        Which patients train, select and test.
    external
        Another cohort for final figures.

    Raises
    ------
    ValueError
        If a part of the split has no labelled patient, or a patient of the external cohort is in the other one too.
    """

    def __init__(
        self,
        data: CohortData,
        *,
        encoder: Encoder,
        spec: TileSpec,
        split: Split,
        external: CohortData | None = None,
    ) -> None:
        self.encoder = encoder
        self.spec = spec
        self.split = split
        self.tasks = data.cohort.tasks
        self.parts = {
            "train": data.bags(split.train),
            "selection": data.bags(split.selection),
            "test": data.bags(split.test),
        }
        empty = [name for name, bags in self.parts.items() if not len(bags)]
        if empty:
            raise ValueError(
                f"Expected labelled patients in every part of the split; found none in {', '.join(empty)}. "
                "Change the split, or label more patients."
            )
        if external is not None:
            _check_apart(data, external)
            self.parts["external"] = external.bags(external.patients)
        self.bags_per_epoch = len(self.parts["train"])
        self.training_labels = self.parts["train"].labels
        self.notes = data.cohort.notes + (external.cohort.notes if external is not None else ())
        self.facts = self._facts(data, external)
        self.digest = self._digest()

    def train(self, epoch: int, generator: torch.Generator) -> Iterator[Bag]:
        """Yield the training bags in random order."""
        for number in torch.randperm(self.bags_per_epoch, generator=generator).tolist():
            yield self.parts["train"][number]

    def training_bag(self, row: int) -> Bag:
        """Return the training bag of a row of `training_labels`."""
        return self.parts["train"][row]

    def selection(self) -> LazyBags:
        """Return the bags that the best epoch is chosen by."""
        return self.parts["selection"]

    def parts_to_predict(self) -> Mapping[str, Sequence[Bag]]:
        """Return the parts whose answers are kept with the model."""
        return {name: bags for name, bags in self.parts.items() if name != "train"}

    def write_split(self, folder: Path) -> None:
        """Write the split to ``split.json`` in `folder`."""
        write_split(folder / SPLIT_FILE, self.split)

    def figures(self, answer: Answer) -> CardMetrics:
        """Return each task's figure on the test bags (and the external cohort) beside the answer that never looks."""
        return card_figures(predict_parts(self, answer, name=RunName(run="measured"), seed=0, model="measured"))

    def statistics(self) -> tuple[Float[Tensor, " feature"], Float[Tensor, " feature"]]:
        """Return mean and standard deviation over the training bags' tiles, read one bag at a time."""
        return self._moments[0], self._moments[1]

    @property
    def training_means(self) -> Float[Tensor, "sample feature"]:
        """Mean features of the training bags, for the linear probe that every model is shown beside."""
        return self._moments[2]

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor, Tensor]:
        self._check_files()
        count, means = 0, []
        total = torch.zeros(self.encoder.features, dtype=torch.float64)
        squares = torch.zeros_like(total)
        for bag in self.parts["train"]:
            features = bag.features.double()
            count += len(features)
            total += features.sum(0)
            squares += features.square().sum(0)
            means.append(features.mean(0).float())
        mean = total / count
        spread = (squares / count - mean.square()).clamp_min(0.0).sqrt()
        return mean.float(), spread.float(), torch.stack(means)

    def _check_files(self) -> None:
        """Read every file once: one that cannot be used is found now, not when the last epoch is over."""
        names: dict[FeatureFiles, list[str]] = {}
        for bags in self.parts.values():
            names.setdefault(bags.files, []).extend(file for sample in bags.samples for file in sample.files)
        for files, slides in names.items():
            files.check(slides)

    def _facts(self, data: CohortData, external: CohortData | None) -> dict[str, str | int]:
        slides = sum(len(sample.files) for bags in self.parts.values() for sample in bags.samples)
        facts: dict[str, str | int] = {
            "data": f"{slides} slides of {len(data.cohort.patients)} patients of {data.name}",
            "bag": "one slide" if data.per_slide else "all slides of a patient",
        }
        facts |= {f"{name}_bags": len(bags) for name, bags in self.parts.items()}
        for column, task in enumerate(self.tasks):
            known = ~self.parts["train"].labels[:, column].isnan()
            facts[f"training_labels of {task.name}"] = int(known.sum())
        if external is not None:
            facts["external_data"] = external.name
        return facts

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for name, bags in self.parts.items():
            for sample in bags.samples:
                digest.update(repr((name, sample.name, sample.files)).encode())
                digest.update(np.array(sample.labels, dtype=np.float64).tobytes())
        return digest.hexdigest()


def _check_apart(data: CohortData, external: CohortData) -> None:
    both = sorted(set(data.patients) & set(external.patients))
    if both:
        raise ValueError(
            f"Expected other patients in the external cohort; found {len(both)} in both, such as {both[0]!r}. "
            "Leave them out of one of the tables."
        )
