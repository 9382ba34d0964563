"""The training loop: steps, validation, best weights, checkpoints, as a generator of reports."""

import logging
import math
import platform
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_mtlpath.training.averaging import WeightAverage, clone_state
from napari_mtlpath.training.checkpoint import PrivateRandom, load_checkpoint, remove_checkpoint, save_checkpoint
from napari_mtlpath.training.job import Job, Validation
from napari_mtlpath.training.optimisation import Optimisation, Precision, parameter_groups
from napari_mtlpath.training.report import Phase, TrainingReport
from napari_mtlpath.training.schedule import cosine_factor

logger = logging.getLogger(__name__)

REPORT_SECONDS = 2.0


class Loop:
    """Trains one job. Iterate over :meth:`run`; closing that generator stops at once and leaves the last checkpoint."""

    def __init__(self, job: Job, settings: Optimisation, *, seed: int, folder: Path, key: str) -> None:
        self.job = job
        self.settings = settings
        self.folder = folder
        self.key = key
        self.optimizer = torch.optim.AdamW(
            parameter_groups(job.module, settings.weight_decay), lr=settings.learning_rate
        )
        self.average = WeightAverage(job.module, decay=settings.average)
        self.random = PrivateRandom(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.epoch = 0
        self.best_epoch = 0
        self.best_score = -math.inf
        self.best_state = clone_state(job.module)
        self.best_metrics: dict[str, float] = {}
        self.started = time.monotonic()
        self.earlier_seconds = 0.0
        self._losses: list[float] = []
        self._stopped = ""

    @property
    def seconds(self) -> float:
        """Wall time of the training, that before a resumption included."""
        return self.earlier_seconds + time.monotonic() - self.started

    def run(self, *, output: Path, resume: bool = True) -> Iterator[TrainingReport]:
        """Train and yield reports; the last one names the model folder written to `output`."""
        content = load_checkpoint(self.folder, key=self.key) if resume else None
        if content is not None:
            self._restore(content)
            logger.info("Resuming %s after epoch %d.", self.folder, self.epoch)
        while self.epoch < self.settings.epochs and not self._stopped:
            yield from self._train_epoch()
            if not self._stopped:
                validation = self._validate()
                save_checkpoint(self.folder, self._content())
                yield self._report(Phase.EPOCH, validation=validation)
        if self.best_epoch == 0:
            raise FloatingPointError(f"{self._stopped} No epoch was finished before. Lower the learning rate.")
        self.job.module.load_state_dict(self.best_state)
        written = self.job.publish(output, facts=self._facts())
        remove_checkpoint(self.folder)
        yield self._report(Phase.DONE, output=written)

    def _train_epoch(self) -> Iterator[TrainingReport]:
        self.job.module.train()
        losses = self.job.losses(self.epoch, self.generator)
        last_report = time.monotonic()
        for step in range(self.job.steps_per_epoch):
            self._set_learning_rate((self.epoch + step / self.job.steps_per_epoch) / self.settings.epochs)
            with self.random.active():
                loss = self._next_loss(losses)
                if not math.isfinite(loss):
                    kept = f"kept the weights of epoch {self.best_epoch}" if self.best_epoch else "kept nothing"
                    self._stopped = f"The loss became {loss} in epoch {self.epoch + 1}, step {step + 1}; {kept}."
                    return
                self._step()
            self._losses.append(loss)
            if time.monotonic() - last_report > REPORT_SECONDS and step + 1 < self.job.steps_per_epoch:
                last_report = time.monotonic()
                yield self._report(Phase.STEP, step_in_epoch=step + 1)
        self.epoch += 1

    def _next_loss(self, losses: Iterator[Mapping[str, Tensor]]) -> float:
        with torch.autocast(
            self._device().type, dtype=torch.bfloat16, enabled=self.settings.precision is Precision.BFLOAT16
        ):
            loss = torch.stack(list(next(losses).values())).mean()
        self.optimizer.zero_grad(set_to_none=True)  # None, so that an absent task's head is not moved by weight decay
        if torch.isfinite(loss):
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return float(loss.detach())

    def _step(self) -> None:
        torch.nn.utils.clip_grad_norm_(self.job.module.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        self.average.update(self.job.module)

    def _validate(self) -> Validation:
        self.job.module.eval()
        with self.average.applied(self.job.module), self.random.active():
            validation = self.job.validate()
            if math.isfinite(validation.score) and validation.score > self.best_score:
                self.best_score, self.best_epoch = validation.score, self.epoch
                self.best_metrics = dict(validation.metrics)
                self.best_state = clone_state(self.job.module)
        patience = self.settings.patience
        if patience and self.epoch - self.best_epoch >= patience:
            self._stopped = f"No better score for {patience} epochs; kept the weights of epoch {self.best_epoch}."
        return validation

    def _report(
        self,
        phase: Phase,
        *,
        validation: Validation | None = None,
        step_in_epoch: int = 0,
        output: Path | None = None,
    ) -> TrainingReport:
        losses, self._losses = self._losses, []
        return TrainingReport(
            phase=phase,
            epoch=self.epoch,
            epochs=self.settings.epochs,
            step=self.epoch * self.job.steps_per_epoch + step_in_epoch,
            steps=self.settings.epochs * self.job.steps_per_epoch,
            loss=sum(losses) / len(losses) if losses else math.nan,
            learning_rate=float(self.optimizer.param_groups[0]["lr"]),
            score=validation.score if validation else math.nan,
            best_epoch=self.best_epoch,
            best_score=self.best_score,
            seconds=self.seconds,
            metrics=dict(validation.metrics) if validation else dict(self.best_metrics) if output else {},
            stopped=self._stopped,
            output=output,
        )

    def _set_learning_rate(self, progress: float) -> None:
        warmup = min(1.0, self.settings.warmup_epochs / self.settings.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * cosine_factor(progress, warmup=warmup)

    def _device(self) -> torch.device:
        return next(self.job.module.parameters()).device

    def _facts(self) -> dict[str, str | int | float]:
        return {
            "epochs": self.epoch,
            "best_epoch": self.best_epoch,
            "minutes": round(self.seconds / 60, 1),
            "device": str(self._device()),
            "machine": f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} CPU thread(s)",
            "torch": torch.__version__,
            "stopped": self._stopped,
        }

    def _content(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "epoch": self.epoch,
            "module": self.job.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state,
            "average_steps": self.average.steps,
            "random": self.random.state,
            "generator": self.generator.get_state(),
            "best": {"epoch": self.best_epoch, "score": self.best_score, "metrics": self.best_metrics},
            "best_state": self.best_state,
            "seconds": self.seconds,
            "stopped": self._stopped,
        }

    def _restore(self, content: dict[str, Any]) -> None:
        self.epoch = content["epoch"]
        self.job.module.load_state_dict(content["module"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.average.state, self.average.steps = content["average"], content["average_steps"]
        self.random.state = content["random"]
        self.generator.set_state(content["generator"])
        best = content["best"]
        self.best_epoch, self.best_score, self.best_metrics = best["epoch"], best["score"], best["metrics"]
        self.best_state = content["best_state"]
        self.earlier_seconds, self.started = content["seconds"], time.monotonic()
        self._stopped = content["stopped"]
