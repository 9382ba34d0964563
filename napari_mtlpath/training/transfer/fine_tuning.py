"""Transfer by fine-tuning: the whole network goes on learning on one task, at several learning rates."""

import json
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from napari_mtlpath.encoders.load import find_encoder_card
from napari_mtlpath.files import replacing
from napari_mtlpath.training.config.pool import PoolConfig
from napari_mtlpath.training.config.train_config import config_key
from napari_mtlpath.training.evaluation import estimate
from napari_mtlpath.training.loop.report import TrainingReport
from napari_mtlpath.training.pool.parts import Part
from napari_mtlpath.training.pool.pool_answers import answers_of, floor_of, metric_of
from napari_mtlpath.training.pool.pool_job import PoolJob
from napari_mtlpath.training.pool.task_pool import PoolTask, TaskPool
from napari_mtlpath.training.run import Run
from napari_mtlpath.training.transfer.linear_probe import Transfer

RATES = (1e-3, 1e-4, 1e-5, 1e-6)
EPOCHS = 100
BATCH = 64
RESULT_FILE = "result.json"


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """How a network is fine-tuned; the defaults are those of Mormont et al., 2021, section IV-F.

    Attributes
    ----------
    epochs
        Passes over the training part, of which the best by the validation part is kept.
    rates
        Learning rates to choose from by the validation part.
    batch
        Samples per step.
    from_scratch
        Start from random weights of the same architecture instead.
    seed
        Of all chance.
    """

    epochs: int = EPOCHS
    rates: tuple[float, ...] = RATES
    batch: int = BATCH
    from_scratch: bool = False
    seed: int = 0


def fine_tune(
    task: PoolTask, pool: TaskPool, *, encoder: str, tuning: FineTuning, folder: Path, device: torch.device
) -> Generator[TrainingReport, None, Transfer]:
    """Fine-tune an encoder on one task and yield reports; what it returns was judged on the test part.

    Closing the generator stops after a whole step; the same call goes on from there, rates that are finished included.

    Parameters
    ----------
    task, pool
        The target task, and the pool that it is read from.
    encoder
        Name or folder of an encoder.
    tuning
        How.
    folder
        Where checkpoints and results lie.
    device
        Where to train.
    """
    results: list[dict[str, float]] = []
    for rate in tuning.rates:
        config = _config(task, pool, encoder, tuning, rate)
        target = folder / config.name
        run = Run(config=config, output=target, folder=target, key=config_key(config), stage=f"rate {rate:g}")
        if not run.is_finished():
            job = _TuningJob(config, TaskPool(tasks=(task,), spec=pool.spec), device=device)
            yield from run.reports(job, resume=True)
            run.note_finished()
        results.append(json.loads((target / RESULT_FILE).read_text("utf-8")))
    best = int(np.argmax([result["validation"] for result in results]))
    figures = {key: results[best][key] for key in ("value", "low", "high", "floor")}
    return Transfer(
        task=task.name,
        encoder=encoder,
        method="from scratch" if tuning.from_scratch else "fine-tuning",
        metric=metric_of(task.task)[0],
        chosen=f"learning rate {tuning.rates[best]:g}",
        **figures,
    )


class _TuningJob(PoolJob):
    """A pool of one task, of which the figures are kept instead of the weights."""

    def publish(self, folder: Path, *, facts: Mapping[str, str | int | float]) -> Path:
        """Write validation score and test figures of the best epoch."""
        self.module.eval()
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / RESULT_FILE) as temporary:
            temporary.write_text(json.dumps({"validation": self.validate().score, **self._figures()}), encoding="utf-8")
        return folder

    def _figures(self) -> dict[str, float]:
        task = self.pool.tasks[0]
        truth = task.parts[Part.TEST].labels.astype(np.float64)
        answers = answers_of(task.task, self.logits(Part.TEST)[task.name])
        found = estimate(metric_of(task.task)[1], truth, answers)
        return {**asdict(found), "floor": floor_of(task, Part.TEST)}


def _config(task: PoolTask, pool: TaskPool, encoder: str, tuning: FineTuning, rate: float) -> PoolConfig:
    card = find_encoder_card(encoder)
    start = {"family": card.family, "options": dict(card.options)} if tuning.from_scratch else {"start_from": encoder}
    words = "scratch" if tuning.from_scratch else "tuned"
    return PoolConfig.model_validate(
        {
            "kind": "pool",
            "name": f"{task.name}-{card.name}-{words}-{rate:g}-{tuning.seed}",
            "seed": tuning.seed,
            "pool": [{"name": task.name, "source": "folder"}],
            "tile": {"tile_px": int(pool.spec.tile_px), "tile_um": float(pool.spec.tile_um)},
            "encoder": start,
            "optimisation": {
                "epochs": tuning.epochs,
                "steps_per_epoch": max(1, len(task.parts[Part.TRAIN]) // tuning.batch),
                "batch": tuning.batch,
                "learning_rate": rate,
                "weight_decay": 0.0,
                "optimizer": "sgd",
                "schedule": "constant",
            },
        }
    )
