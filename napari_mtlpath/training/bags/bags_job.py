"""Training of an aggregator on labelled bags, one bag at a time with batches of accumulated losses."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.nn.outputs import BagOutput
from napari_mtlpath.training.bags.bag_judging import judge
from napari_mtlpath.training.bags.bag_losses import BagLosses
from napari_mtlpath.training.bags.bag_sampling import bags_of_epoch, bags_per_epoch, thinned
from napari_mtlpath.training.bags.bags import Bag, BagSource
from napari_mtlpath.training.bags.publish_model import publish_model
from napari_mtlpath.training.bags.run_predictions import RunName, card_figures, predict_parts
from napari_mtlpath.training.bags.standardised import fold_standardisation, scale_of
from napari_mtlpath.training.bags.target_scaling import TargetScaling
from napari_mtlpath.training.config.train_config import BagsConfig
from napari_mtlpath.training.distillation import Teacher
from napari_mtlpath.training.loop.averaging import round_to_float16
from napari_mtlpath.training.loop.job import Job, Validation
from napari_mtlpath.training.losses.supervised import label_counts
from napari_mtlpath.zoo.aggregators import AGGREGATORS


class BagsJob(Job):
    """Trains an aggregator on standardised features; the standardisation is folded into its weights at the end.

    Parameters
    ----------
    config
        What to train.
    source
        Where bags come from.
    device
        Where to train.
    teacher
        Whose answers are learned from too; only with a ``[distillation]`` table.
    name
        Which run it is, for its predictions; by default the config's name.

    Attributes
    ----------
    aggregator
        What answers; the module that is optimised, or a part of it.
    """

    module: nn.Module

    def __init__(
        self,
        config: BagsConfig,
        source: BagSource,
        *,
        device: torch.device,
        teacher: Teacher | None = None,
        name: RunName | None = None,
    ) -> None:
        self.config = config
        self.source = source
        self.device = device
        self.teacher = teacher
        self.name = name or RunName(run=config.name)
        mean, spread = source.statistics()
        self.mean, self.scale = mean.to(device), scale_of(spread).to(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            aggregator = AGGREGATORS.load(config.aggregator.name)
            self.aggregator: Aggregator = aggregator.build(
                tasks=source.tasks, features=source.encoder.features, options=config.aggregator.options
            ).to(device)
        self.module = self.aggregator
        self.criterion = BagLosses(config, source, device=device, teacher=teacher)
        self.steps_per_epoch = max(1, bags_per_epoch(source, config.sampling) // config.optimisation.batch)

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[list[Bag]]:
        """Yield batches of bags, each a random part of its tiles where the config says so."""
        bags = bags_of_epoch(self.source, self.config.sampling, epoch=epoch, generator=generator)
        for _ in range(self.steps_per_epoch):
            batch = list(islice(bags, self.config.optimisation.batch))
            if self.teacher is not None:
                for bag in batch:
                    self.teacher.answer(bag)  # before it is thinned: the teacher sees whole bags, and each once
            yield [thinned(bag, self.config.sampling, generator) for bag in batch]

    def batch_losses(self, batch: Sequence[Bag]) -> dict[str, Tensor]:
        """Return each task's mean loss over the bags that have its label; {} where no bag has any."""
        if all(bool(bag.labels.isnan().all()) for bag in batch):
            return {}
        explain = self.config.aggregator.tile_weight > 0
        return self.criterion(batch, [self._forward(bag, self.learned_features(bag), explain=explain) for bag in batch])

    def label_counts(self, batch: Sequence[Bag]) -> dict[str, int]:
        """Return how many bags of the batch have each task's label."""
        return label_counts(self.source.tasks, torch.stack([bag.labels for bag in batch]))

    def split(self, batch: Sequence[Bag]) -> tuple[Sequence[Bag], Sequence[Bag]] | None:
        """Return the two halves of a batch of several bags."""
        middle = len(batch) // 2
        return (batch[:middle], batch[middle:]) if middle else None

    def validation_batch(self, generator: torch.Generator) -> list[Bag]:
        """Draw bags from those that the best epoch is chosen by."""
        bags = self.source.selection()
        chosen = torch.randperm(len(bags), generator=generator)[: self.config.optimisation.batch]
        return [bags[index] for index in chosen.tolist()]

    def warnings(self) -> list[str]:
        """Return what a person should know about the data before training starts."""
        said = list(self.source.notes)
        labels = self.source.training_labels
        if labels is None:
            return said
        for column, task in enumerate(self.source.tasks):
            known = labels[~labels[:, column].isnan(), column]
            if len(set(known.tolist())) < 2:
                found = f"only the label {float(known[0]):g}" if len(known) else "no label"
                said.append(f"Task {task.name!r} has {found} in the training part: it cannot be learned from it.")
        return said

    def validate(self) -> Validation:
        """Judge by the mean over tasks of AUC (binary), macro-F1 (several classes) or R2 on the selection bags."""
        return judge(self.source, self.source.selection(), self.answer)

    def publish(self, folder: Path, *, facts: Mapping[str, str | int | float]) -> Path:
        """Fold all scalings into the weights, round them to float16, measure, and write the model's folder."""
        self.module.eval()
        fold_standardisation(self.aggregator, mean=self.mean, scale=self.scale)
        self.mean, self.scale = torch.zeros_like(self.mean), torch.ones_like(self.scale)
        self.criterion.scaling.fold_into(self.aggregator)
        self.criterion.scaling = TargetScaling()
        round_to_float16(self.module)
        predictions = predict_parts(
            self.source, self.answer, name=self.name, seed=self.config.seed, model=self.config.name
        )
        return publish_model(
            folder,
            config=self.config,
            source=self.source,
            encoder=self.publish_encoder(folder, facts=facts),
            module=self.aggregator,
            metrics=card_figures(predictions) if predictions else self.source.figures(self.answer),
            facts=dict(facts) | (self.teacher.facts if self.teacher else {}),
            predictions=predictions,
        )

    def publish_encoder(self, folder: Path, *, facts: Mapping[str, str | int | float]) -> Encoder:
        """Return the encoder that the model in `folder` is for."""
        return self.source.encoder

    @torch.inference_mode()
    def answer(self, bag: Bag) -> BagOutput:
        """Answer one bag in the units of the tasks, explanations included."""
        return self.criterion.scaling.in_units(self._forward(bag, self.judged_features(bag), explain=True))

    def learned_features(self, bag: Bag) -> Float[Tensor, "tile feature"]:
        """Return the features that a step learns from."""
        return bag.features

    def judged_features(self, bag: Bag) -> Float[Tensor, "tile feature"]:
        """Return the features that the answers to validation bags follow from."""
        return bag.features

    def _forward(self, bag: Bag, features: Float[Tensor, "tile feature"], *, explain: bool) -> BagOutput:
        standardised = (features.to(self.device) - self.mean) * self.scale
        places = None if bag.coordinates is None else bag.coordinates.to(self.device)
        output: BagOutput = self.aggregator(standardised, places, explain=explain)
        return output
