"""`teach`: a model and a lesson -> the model with one more task, as a generator of reports."""

import contextlib
import copy
import hashlib
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from napari_mtlpath.balancing.balancer import parse
from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.training.loop.checkpoint import load_checkpoint
from napari_mtlpath.training.loop.loop import Loop
from napari_mtlpath.training.loop.report import Phase, TrainingReport
from napari_mtlpath.training.step.optimisation import Optimisation
from napari_mtlpath.training.step.update import Update
from napari_mtlpath.training.teaching.composed_bags import BagComposer
from napari_mtlpath.training.teaching.config import TeachConfig
from napari_mtlpath.training.teaching.draft import draft_model
from napari_mtlpath.training.teaching.extension import check_isolation, with_task
from napari_mtlpath.training.teaching.guard import Guard, GuardResult
from napari_mtlpath.training.teaching.job import NO_TILE_ANSWERS, Look, TeachJob
from napari_mtlpath.training.teaching.learning import LearningPart
from napari_mtlpath.training.teaching.lesson import Lesson, TaughtBag
from napari_mtlpath.training.teaching.report import Command, Taught, TeachPhase, TeachReport
from napari_mtlpath.training.teaching.split import split
from napari_mtlpath.zoo.device import pick_device
from napari_mtlpath.zoo.model import SlideModel

REPORT_SECONDS = 0.2
"""At most so long between two reports, a step longer: a cancellation takes effect at the next."""

LOOP_FACTS = frozenset({"processes", "epochs", "best_epoch", "minutes", "balancing"})
"""What the loop says of itself in words that nobody who teaches uses."""

Teaching = Generator[TeachReport, Command | None, Taught]


def teach(
    model: SlideModel,
    lesson: Lesson,
    config: TeachConfig,
    *,
    references: Sequence[TaughtBag] = (),
    folder: Path,
    device: str | torch.device | None = None,
    resume: bool = True,
    retrain: str = "",
) -> Teaching:
    """Teach `model` the task of `lesson` and yield reports; the last one, and the generator's value, hold the result.

    The model itself is left as it is. Closing the generator cancels: the last whole step is kept, and the same call
    goes on from there, to the same weights bit by bit. Not pulling it pauses. Equal labels, settings, seed and device
    give equal weights, whoever pulls.

    Parameters
    ----------
    model
        The parent.
    lesson
        Task and labels. Bags may come in any order.
    config
        How.
    references
        Bags on which the old tasks' answers are compared, beside those of the lesson.
    folder
        Where the checkpoint lies.
    device
        Where to learn; by default where the model is.
    resume
        Whether to go on from a checkpoint of the same model, lesson and settings; one of another is written over.
    retrain
        Name of an existing task that is taught further, instead of a new one.

    Raises
    ------
    ValueError
        If the lesson has a fatal problem, does not fit the model, or the task cannot be taught in isolation.
    FloatingPointError
        If the loss stopped being finite before the first look at the held-out labels.
    MemoryError
        If not even half a batch fits into the memory.
    BlockingIOError
        If another program teaches in the same folder.
    """
    _check(model, lesson, retrain)
    run = _Run(
        parent=model,
        lesson=lesson.ordered(),
        config=config,
        references=_together(lesson, references),
        folder=folder,
        device=pick_device(device or model.device).device,
        resume=resume,
        retrain=retrain,
    )
    command: Command | None = None
    with contextlib.closing(run.reports()) as reports:
        while True:
            with _threads(config.threads):
                try:
                    report = reports.send(command)
                except StopIteration as end:
                    taught: Taught = end.value
                    return taught
            command = yield report


@dataclass(kw_only=True, eq=False)
class _Run:
    """One teaching, from the first report to the last."""

    parent: SlideModel
    lesson: Lesson
    config: TeachConfig
    references: tuple[TaughtBag, ...]
    folder: Path
    device: torch.device
    resume: bool
    retrain: str
    started: float = field(default_factory=time.monotonic)
    warnings: list[str] = field(default_factory=list)
    said: int = 0
    finishing: bool = False

    def reports(self) -> Teaching:
        """Yield all reports."""
        self.warnings += [problem.sentence for problem in self.lesson.problems()]
        job = self._job()
        yield self._report(TeachPhase.PREPARING, 0)
        guard = None
        for recorded in Guard.recording(self.parent, self.references, except_for=self.retrain):
            guard = recorded
            yield self._report(TeachPhase.PREPARING, 0)
        assert guard is not None  # a recording ends with the guard
        step = yield from self._learn(job)
        result = None
        for compared in guard.checking(job.module.aggregator):
            result = compared
            yield self._report(TeachPhase.GUARDING, step, seconds_left=0.0)
        assert result is not None
        taught = self._taught(job, guard, result)
        look = job.judge(preview=False)
        done = replace(self._looked(TeachPhase.DONE, step, look), model=taught.model, guard=result, taught=taught)
        yield replace(done, seconds_left=0.0, stopped=str(taught.facts.get("ended", "")))
        return taught

    def _job(self) -> TeachJob:
        task, config = self.lesson.task, self.config
        chance = torch.Generator().manual_seed(config.seed)
        before = self.parent.aggregator
        if self.retrain:
            after: Aggregator = copy.deepcopy(before)
        else:
            after = with_task(before, task, mode=config.mode, generator=chance)
        if config.mode == "isolated":
            check_isolation(before, after, task.name)
        held_out = split(self.lesson, share=config.validation_share, generator=chance)
        composer = BagComposer(self.lesson, held_out, config)
        if composer.has_tiles and not _answers_tiles(after, task.name):
            raise ValueError(NO_TILE_ANSWERS)
        learning = LearningPart(
            after.to(self.device), task.name, shared=config.mode == "shared", pool=len(composer.pool)
        ).to(self.device)
        return TeachJob(
            learning,
            copy.deepcopy(before).to(self.device),
            lesson=self.lesson,
            split=held_out,
            composer=composer,
            references=self.references,
            config=config,
        )

    def _learn(self, job: TeachJob) -> Generator[TeachReport, Command | None, int]:
        """Run the training loop; return the number of steps taken."""
        resume = self.resume and self._can_go_on()
        if not resume:
            yield self._looked(TeachPhase.REFRESH, 0, job.judge(preview=True))
        loop = self._loop(job)  # behind the first point: torch takes seconds to make its first optimizer
        step = 0
        with contextlib.closing(loop.run(output=self.folder, resume=resume)) as reports:
            for report in reports:
                step = report.step
                self.warnings += [*report.warnings, *job.notes]
                job.notes.clear()
                if report.phase is Phase.DONE:
                    break
                command = yield self._translated(report, job)
                if command is Command.FINISH:
                    self.finishing = True
                    # The loop ends with the look at hand, or with the next.
                    epochs = max(1, loop.epoch + (report.phase is Phase.STEP))
                    loop.settings = replace(loop.settings, epochs=epochs)
        return step

    def _loop(self, job: TeachJob) -> Loop:
        config = self.config
        settings = Optimisation(
            epochs=-(-config.steps // job.steps_per_epoch),
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            average=config.average,
            patience=config.patience,
        )
        loop = Loop(
            job,
            settings,
            seed=config.seed,
            folder=self.folder,
            key=self._key(),
            update=Update(job.module, parse(config.balancer, tasks=job.task_names)),
        )
        loop.report_seconds = REPORT_SECONDS
        return loop

    def _key(self) -> str:
        parts = (self.parent.digest, self.lesson.digest(), self.config.key, self.retrain)
        return hashlib.sha256("|".join(parts).encode()).hexdigest()

    def _can_go_on(self) -> bool:
        """Return whether there is a checkpoint of the same teaching; of another one, say that it is left."""
        try:
            return load_checkpoint(self.folder, key=self._key()) is not None
        except ValueError as error:
            self.warnings.append(f"Started anew: {error}")
            return False

    def _translated(self, report: TrainingReport, job: TeachJob) -> TeachReport:
        look = job.look if report.phase is Phase.EPOCH else None
        made = (
            self._report(TeachPhase.STEP, report.step)
            if look is None
            else self._looked(TeachPhase.REFRESH, report.step, look)
        )
        return replace(
            made,
            losses=dict(report.losses),
            steps=report.steps,
            seconds_left=report.seconds_left,
            stopped=report.stopped,
        )

    def _looked(self, phase: TeachPhase, step: int, look: Look) -> TeachReport:
        name, judgement = self.lesson.task.name, look.tiles if look.tiles.count else look.slides
        noun = "tile" if look.tiles.count else "slide"
        losses = {name: look.loss} | dict(look.distances)
        judged = judgement.score == judgement.score  # NaN where it cannot be judged
        return replace(
            self._report(phase, step),
            validation_losses={task: loss for task, loss in losses.items() if loss == loss},
            scores={name: judgement.score} if judged else {},
            score_names={name: f"{noun} {judgement.metric}"} if judged else {},
            floors={name: judgement.floor} if judged else {},
            model=draft_model(self.parent, look.preview, self.lesson, step=step),
        )

    def _report(self, phase: TeachPhase, step: int, *, seconds_left: float = float("nan")) -> TeachReport:
        new = tuple(self.warnings[self.said :])
        self.said = len(self.warnings)
        return TeachReport(
            phase=phase,
            step=step,
            steps=self.config.steps,
            seconds=time.monotonic() - self.started,
            seconds_left=seconds_left,
            device=str(self.device),
            warnings=new,
        )

    def _taught(self, job: TeachJob, guard: Guard, result: GuardResult) -> Taught:
        stopped = "as asked" if self.finishing else str(job.facts.pop("stopped", ""))
        facts = {key: value for key, value in job.facts.items() if key not in LOOP_FACTS}
        best = int(job.facts.get("best_epoch", 0)) * job.steps_per_epoch
        facts |= {"steps": int(job.facts.get("epochs", 0)) * job.steps_per_epoch, "kept_step": best}
        facts |= {"seconds": round(time.monotonic() - self.started, 1), "threads": self.config.threads}
        held_out = job.split_labels
        if any(tiles.any() for tiles in held_out.tiles) or held_out.slides.any():
            facts["held_out"] = "slides" if held_out.by_slide or not job.composer.has_tiles else "tiles"
        if stopped:
            facts["ended"] = stopped
        return Taught(
            model=draft_model(self.parent, job.module.aggregator, self.lesson, step=best),
            parent=self.parent,
            lesson=self.lesson,
            config=self.config,
            guard=result,
            reference=guard,
            metrics=job.figures(),
            facts=facts,
            retrained=self.retrain,
            warnings=tuple(self.warnings),
        )


def _check(model: SlideModel, lesson: Lesson, retrain: str) -> None:
    fatal = [problem.sentence for problem in lesson.problems() if problem.fatal]
    if fatal:
        raise ValueError(" ".join(fatal))
    wrong = [bag for bag in lesson.bags if bag.features.shape[1] != model.aggregator.features]
    if wrong:
        raise ValueError(
            f"Model {model.name!r} reads {model.aggregator.features} features per tile; slide {wrong[0].name!r} has "
            f"{wrong[0].features.shape[1]}. Use embeddings of its own encoder, {model.card.encoder!r}."
        )
    if retrain and model.card.task(retrain) != lesson.task:
        raise ValueError(
            f"Task {retrain!r} is taught further only as it is: the lesson's task differs from the model's. "
            "Give the lesson the model's own task."
        )


def _together(lesson: Lesson, references: Sequence[TaughtBag]) -> tuple[TaughtBag, ...]:
    """Return reference bags and the lesson's, each slide once, in order."""
    every = {bag.fingerprint: bag for bag in (*references, *lesson.bags)}
    return tuple(every[fingerprint].ordered() for fingerprint in sorted(every))


@torch.no_grad()
def _answers_tiles(aggregator: Aggregator, task: str) -> bool:
    bag = torch.zeros(2, aggregator.features).to(next(aggregator.parameters()))
    return aggregator.eval()(bag, explain=True).tasks[task].tile_logits is not None


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """Compute on so many CPU threads: sums, and with them the last bit of the weights, may depend on it.

    The number belongs to the calling thread, so that whatever else computes meanwhile keeps its own.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
