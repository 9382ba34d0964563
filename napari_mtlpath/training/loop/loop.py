"""The training loop: steps, validation, best weights, checkpoints, as a generator of reports."""

import contextlib
import logging
import math
import platform
import time
from collections.abc import Generator, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from napari_mtlpath.balancing.balancer import DEFAULT, parse
from napari_mtlpath.nn.options import nearest
from napari_mtlpath.training.loop.best import Best
from napari_mtlpath.training.loop.checkpoint import load_checkpoint, remove_checkpoint, save_checkpoint
from napari_mtlpath.training.loop.distributed import ALONE, Processes
from napari_mtlpath.training.loop.job import Batch, Job, Validation
from napari_mtlpath.training.loop.journal import Journal
from napari_mtlpath.training.loop.private_random import PrivateRandom
from napari_mtlpath.training.loop.report import Phase, TrainingReport
from napari_mtlpath.training.loop.run_lock import locked
from napari_mtlpath.training.loop.schedule import cosine_factor
from napari_mtlpath.training.step.optimisation import Optimisation, Pace
from napari_mtlpath.training.step.step import Step
from napari_mtlpath.training.step.update import Update

logger = logging.getLogger(__name__)

REPORT_SECONDS = 1.0
CHECKPOINT_SECONDS = 600.0
"""How much of an epoch a killed program loses at most."""
RANK_SEEDS = 1_000_003
"""Distance between the seeds of two processes' dropout."""


class _StoppedElsewhereError(Exception):
    """Another process of this training was stopped by its user; this one stops at the same step."""


class Loop:
    """Trains one job. Iterate over :meth:`run`; closing that generator stops after the last whole step and keeps it.

    Parameters
    ----------
    job
        What is trained.
    settings
        How it is optimised.
    seed
        Of all chance.
    folder
        Where the checkpoint lies.
    key
        Says which config a checkpoint belongs to.
    update
        How tasks share parameters; all alike if not given.
    cosines_every
        Measure how far tasks conflict every so many steps, though the method may not need it; 0 never.
    processes
        Those that train together, each on its own batches of the same random order.

    Raises
    ------
    ValueError
        If the settings cannot be had together, or the main task is none of the job's.
    """

    def __init__(
        self,
        job: Job,
        settings: Optimisation,
        *,
        seed: int,
        folder: Path,
        key: str,
        update: Update | None = None,
        cosines_every: int = 0,
        processes: Processes = ALONE,
    ) -> None:
        self.job = job
        self.settings = settings
        self.folder = folder
        self.key = key
        self.cosines_every = cosines_every
        self.processes = processes
        self.report_seconds = REPORT_SECONDS  # least time between two reports within an epoch
        self.steps_per_epoch = _steps_per_epoch(job, settings, processes)
        _check_main_task(settings.main_task, job.task_names)
        device = next(job.module.parameters()).device
        self.random = PrivateRandom(seed + RANK_SEEDS * processes.rank, device=device)
        update = update or Update(job.module, parse(DEFAULT, tasks=job.task_names))
        self.optimisation = Step(job, settings, update, random=self.random, processes=processes, seed=seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.best = Best(job.module)
        self.journal = Journal()
        self.epoch = 0
        self.step = 0
        self.started = time.monotonic()
        self.earlier_seconds = 0.0
        self._steps_now = 0
        self._epoch_start = self.generator.get_state()
        self._stopped = ""

    @property
    def seconds(self) -> float:
        """Wall time of the training, that before a resumption included."""
        return self.earlier_seconds + time.monotonic() - self.started

    def run(self, *, output: Path, resume: bool = True) -> Generator[TrainingReport, None, None]:
        """Train and yield reports; the last one names the model folder written to `output`.

        Raises
        ------
        ValueError
            If the checkpoint belongs to another config or is damaged, or no batch of an epoch has any label.
        FloatingPointError
            If the loss stopped being finite before one epoch was finished.
        MemoryError
            If a batch does not fit into the memory, also in halves; the last checkpoint stays.
        ConnectionError
            If another process of the training died.
        BlockingIOError
            If another training writes to the same folder.
        """
        with locked(self.folder) if self.processes.leads else contextlib.nullcontext():
            yield from self._run(output, resume)

    def _run(self, output: Path, resume: bool) -> Iterator[TrainingReport]:
        content = load_checkpoint(self.folder, key=self.key) if resume else None
        if content is not None:
            self._restore(content)
            logger.info("Resuming %s after epoch %d, step %d.", self.folder, self.epoch, self.step)
        self.journal.warn(*self.job.warnings())
        try:
            yield from self._epochs()
        except (GeneratorExit, _StoppedElsewhereError) as stop:
            if self.step > 0:
                self._write_checkpoint()
            if isinstance(stop, GeneratorExit):
                raise
            return
        if self.best.epoch == 0:
            raise FloatingPointError(f"{self._stopped} No epoch was finished before. Lower the learning rate.")
        written = output
        if self.processes.leads:
            self.job.module.load_state_dict(self.best.weights)
            written = self.job.publish(output, facts=self._facts())
            remove_checkpoint(self.folder)
        self.processes.any(False)  # the others wait until the folder is there
        yield self._report(Phase.DONE, output=written)

    def _epochs(self) -> Iterator[TrainingReport]:
        while self.epoch < self.settings.epochs and not self._stopped:
            yield from self._train_epoch()
            if not self._stopped:
                validation = self._validate()
                self._save()
                yield from self._together(self._report(Phase.EPOCH, validation=validation))

    def _train_epoch(self) -> Iterator[TrainingReport]:
        self.job.module.train()
        self._epoch_start = self.generator.get_state()
        batches = self.job.batches(self.epoch, self.generator)
        parts = self.settings.accumulate * self.processes.size
        for _ in islice(batches, self.step * parts):
            pass  # drawn before the training was stopped
        last_report = last_save = time.monotonic()
        while self.step < self.steps_per_epoch:
            drawn = list(islice(batches, parts))
            own = drawn[self.processes.rank * self.settings.accumulate :][: self.settings.accumulate]
            if not self._take(own):
                return
            now = time.monotonic()
            report, save = self.processes.any(
                self.processes.leads and now - last_report > self.report_seconds,
                self.processes.leads and now - last_save > CHECKPOINT_SECONDS,
            )
            if save:
                self._save()
                last_save = now
            if report and self.step < self.steps_per_epoch:
                last_report = now
                yield from self._together(self._report(Phase.STEP))
        self._end_epoch()

    def _take(self, batches: list[Batch]) -> bool:
        """Take one step; return False, and say why in `_stopped`, if training must end here."""
        steps = self.epoch * self.steps_per_epoch + self.step
        rate = self.job.begin_step(steps, rate=self.settings.learning_rate * self._factor())
        self.optimisation.set_learning_rate(rate)
        cosines = self.cosines_every > 0 and steps % self.cosines_every == 0
        with self.random.active():
            try:
                outcome = self.optimisation.take(batches, cosines=cosines)
            except FloatingPointError as error:
                kept = f"kept the weights of epoch {self.best.epoch}" if self.best.epoch else "kept nothing"
                self._stopped = f"{error} in epoch {self.epoch + 1}, step {self.step + 1}; {kept}."
                return False
        self.journal.note(outcome)
        self.step += 1
        self._steps_now += 1
        return True

    def _end_epoch(self) -> None:
        means = self.journal.end_epoch(self.epoch + 1)
        self.optimisation.update.balancer.losses.epoch_ended(means)
        self.epoch, self.step = self.epoch + 1, 0
        self._epoch_start = self.generator.get_state()

    def _validate(self) -> Validation:
        validation = Validation(score=math.nan)
        if self.processes.leads:
            self.job.module.eval()
            with self.optimisation.average.applied(self.job.module), self.random.active():
                validation = self.job.validate()
                if self.best.improves(self._score(validation)):
                    self.best.keep(self.job.module, validation.metrics)
        (score,) = self.processes.of_leader(self._score(validation))
        if self.best.improves(score):
            self.best.take(self.epoch, score)
        if not math.isfinite(score):
            what = f"task {self.settings.main_task!r}" if self.settings.main_task else "any task"
            self.journal.warn(f"Epoch {self.epoch} could not be judged by {what}; the last epoch is kept instead.")
        patience = self.settings.patience
        if patience and self.epoch - self.best.epoch >= patience:
            self._stopped = f"No better score for {patience} epochs; kept the weights of epoch {self.best.epoch}."
        return validation

    def _score(self, validation: Validation) -> float:
        main = self.settings.main_task
        return validation.scores.get(main, math.nan) if main else validation.score

    def _together(self, report: TrainingReport) -> Iterator[TrainingReport]:
        """Yield a report; if the training is closed in one of several processes, all stop here."""
        try:
            yield report
        except GeneratorExit:
            self.processes.any(True)
            raise
        if self.processes.size > 1 and self.processes.any(False)[0]:
            raise _StoppedElsewhereError

    def _report(
        self, phase: Phase, *, validation: Validation | None = None, output: Path | None = None
    ) -> TrainingReport:
        excerpt = self.journal.take()
        steps = self.settings.epochs * self.steps_per_epoch
        done = self.epoch * self.steps_per_epoch + self.step
        pace = (time.monotonic() - self.started) / self._steps_now if self._steps_now else math.nan
        return TrainingReport(
            phase=phase,
            epoch=self.epoch,
            epochs=self.settings.epochs,
            step=done,
            steps=steps,
            **vars(excerpt),
            learning_rate=float(self.optimisation.optimizer.param_groups[0]["lr"]),
            score=self._score(validation) if validation else math.nan,
            best_epoch=self.best.epoch,
            best_score=self.best.score,
            seconds=self.seconds,
            seconds_left=0.0 if output else pace * (steps - done),
            metrics=dict(validation.metrics) if validation else dict(self.best.metrics) if output else {},
            stopped=self._stopped,
            output=output,
        )

    def _factor(self) -> float:
        warmup = min(1.0, self.settings.warmup_epochs / self.settings.epochs)
        within = self.step / self.steps_per_epoch if self.settings.schedule is not Pace.EPOCH else 0.0
        progress = (self.epoch + within) / self.settings.epochs
        stays = self.settings.schedule is Pace.CONSTANT and progress >= warmup
        return 1.0 if stays else cosine_factor(progress, warmup=warmup)

    def _facts(self) -> dict[str, str | int | float]:
        return {
            "epochs": self.epoch,
            "best_epoch": self.best.epoch,
            "minutes": round(self.seconds / 60, 1),
            "device": str(self.random.device),
            "machine": f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} CPU thread(s)",
            "torch": torch.__version__,
            "balancing": self.optimisation.update.balancer.name,
            "processes": self.processes.size,
            "stopped": self._stopped,
        }

    def _save(self) -> None:
        """Write a checkpoint; one that cannot be written is said, and the training goes on with the one before."""
        try:
            self._write_checkpoint()
        except OSError as error:
            logger.warning("%s", error)
            self.journal.warn(str(error))

    def _write_checkpoint(self) -> None:
        states = {kind: self.processes.all(state) for kind, state in self.random.states.items()}
        if not self.processes.leads:
            return
        content = {
            "key": self.key,
            "epoch": self.epoch,
            "step": self.step,
            "module": self.job.module.state_dict(),
            "optimisation": self.optimisation.state_dict(),
            "best": self.best.state_dict(),
            "journal": self.journal.state_dict(),
            "random": states,
            "generator": self._epoch_start,
            "seconds": self.seconds,
            "stopped": self._stopped,
        }
        save_checkpoint(self.folder, content)

    def _restore(self, content: dict[str, Any]) -> None:
        found = len(content["random"]["cpu"])
        if found != self.processes.size:
            raise ValueError(
                f"The checkpoint in {self.folder} was made by {found} process(es); found {self.processes.size}. "
                "Start as many as before, or start anew."
            )
        self.epoch, self.step = content["epoch"], content["step"]
        self.job.module.load_state_dict(content["module"])
        self.optimisation.load_state_dict(content["optimisation"])
        self.best.load_state_dict(content["best"])
        self.journal.load_state_dict(content["journal"])
        self.random.load({kind: states[self.processes.rank] for kind, states in content["random"].items()})
        self.generator.set_state(content["generator"])
        self.earlier_seconds, self.started = content["seconds"], time.monotonic()
        self._stopped = content["stopped"]


def _steps_per_epoch(job: Job, settings: Optimisation, processes: Processes) -> int:
    parts = settings.accumulate * processes.size
    if job.steps_per_epoch < parts:
        raise ValueError(
            f"An epoch has {job.steps_per_epoch} batches, and one step takes {parts} of them (optimisation.accumulate "
            "times the number of processes). Lower one of these, or optimisation.batch."
        )
    return job.steps_per_epoch // parts


def _check_main_task(name: str, known: tuple[str, ...]) -> None:
    if name and name not in known:
        raise ValueError(
            f"optimisation.main_task: there is no task {name!r}.{nearest(name, known)} Tasks: {', '.join(known)}."
        )
