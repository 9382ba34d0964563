"""`teach`: a model and lessons -> the model with their tasks, as a generator of reports."""

import contextlib
import copy
import hashlib
import math
import time
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from napari_mtlpath.balancing.balancer import DEFAULT, parse
from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.training.loop.checkpoint import load_checkpoint
from napari_mtlpath.training.loop.loop import Loop
from napari_mtlpath.training.loop.report import Phase, TrainingReport
from napari_mtlpath.training.step.optimisation import Optimisation
from napari_mtlpath.training.step.update import Update
from napari_mtlpath.training.teaching.checks import (
    check_lessons,
    check_pixels,
    check_tile_answers,
    readable,
    together,
)
from napari_mtlpath.training.teaching.config import TeachConfig
from napari_mtlpath.training.teaching.draft import draft_model
from napari_mtlpath.training.teaching.encoder_job import EncoderTeachJob
from napari_mtlpath.training.teaching.extension import check_isolation, with_task
from napari_mtlpath.training.teaching.guard import Guard, GuardResult
from napari_mtlpath.training.teaching.job import Look, TeachJob
from napari_mtlpath.training.teaching.learning import LearningPart
from napari_mtlpath.training.teaching.learning_encoder import LearningWithEncoder
from napari_mtlpath.training.teaching.learning_task import LearningTask
from napari_mtlpath.training.teaching.lesson import Lesson, TaughtBag
from napari_mtlpath.training.teaching.report import Command, Taught, TeachPhase, TeachReport
from napari_mtlpath.training.teaching.split import split
from napari_mtlpath.training.teaching.taught_encoder import encoder_with, parents_encoder
from napari_mtlpath.zoo.device import pick_device
from napari_mtlpath.zoo.model import SlideModel

REPORT_SECONDS = 0.2
"""At most so long between two reports, a step longer: a cancellation takes effect at the next."""

LOOP_FACTS = frozenset({"processes", "epochs", "best_epoch", "minutes", "balancing"})
"""What the loop says of itself in words that nobody who teaches uses."""

NOTHING_SHARED = (
    "The balancer {} is not used: in the isolated mode every task learns by itself, and there is nothing to balance."
)

Teaching = Generator[TeachReport, Command | None, Taught]


def teach(
    model: SlideModel,
    lessons: Lesson | Sequence[Lesson],
    config: TeachConfig,
    *,
    references: Sequence[TaughtBag] = (),
    folder: Path,
    device: str | torch.device | None = None,
    resume: bool = True,
    retrain: Collection[str] = (),
) -> Teaching:
    """Teach `model` the tasks of `lessons` and yield reports; the last one, and the generator's value, hold the result.

    The model itself is left as it is. Closing the generator cancels: the last whole step is kept, and the same call
    goes on from there, to the same weights bit by bit. Not pulling it pauses. Equal labels, settings, seed and device
    give equal weights, whoever pulls.

    Parameters
    ----------
    model
        The parent.
    lessons
        Task and labels, or several of them, of new tasks and of the model's own. They, and their bags, may come in any
        order: they are taken by the tasks' names, and so new tasks get their place in the model.
    config
        How.
    references
        Bags on which the old tasks' answers are compared, beside those of the lessons.
    folder
        Where the checkpoint lies.
    device
        Where to learn; by default where the model is.
    resume
        Whether to go on from a checkpoint of the same model, lessons and settings; one of another is written over.
    retrain
        Names of existing tasks that are taught further; all others are new.

    Raises
    ------
    ValueError
        If a lesson has a fatal problem, does not fit the model, its task cannot be taught in isolation, or the encoder
        is to learn and cannot.
    OSError
        If the encoder is to learn and a tile cannot be read.
    FloatingPointError
        If the loss stopped being finite before the first look at the held-out labels.
    MemoryError
        If not even half a batch fits into the memory.
    BlockingIOError
        If another program teaches in the same folder.
    """
    given = (lessons,) if isinstance(lessons, Lesson) else tuple(lessons)
    check_lessons(model, given, retrain)
    ordered = tuple(lesson.ordered() for lesson in sorted(given, key=lambda lesson: lesson.task.name))
    every = together(ordered, references)
    config = config.used()
    if config.trains_encoder:
        check_pixels(ordered)
        every = readable(every, most=config.most_tiles, seed=config.seed)
    run = _Run(
        parent=model,
        lessons=ordered,
        config=config,
        references=every,
        folder=folder,
        device=pick_device(device or model.device).device,
        resume=resume,
        retrain=tuple(sorted(retrain)),
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
    lessons: tuple[Lesson, ...]
    config: TeachConfig
    references: tuple[TaughtBag, ...]
    folder: Path
    device: torch.device
    resume: bool
    retrain: tuple[str, ...]
    started: float = field(default_factory=time.monotonic)
    warnings: list[str] = field(default_factory=list)
    said: int = 0
    finishing: bool = False

    def reports(self) -> Teaching:
        """Yield all reports."""
        self.warnings += [problem.sentence for lesson in self.lessons for problem in lesson.problems()]
        if self.config.mode == "isolated" and self.config.balancer != DEFAULT:
            self.warnings.append(NOTHING_SHARED.format(self.config.balancer))
        job = self._job()
        yield self._report(TeachPhase.PREPARING, 0)
        guard = None
        with contextlib.closing(Guard.recording(self.parent, self.references, except_for=self.names)) as recording:
            for recorded in recording:
                guard = recorded
                yield self._report(TeachPhase.PREPARING, 0)
        assert guard is not None  # a recording ends with the guard
        step = yield from self._learn(job)
        result, seen = None, None
        if isinstance(job, EncoderTeachJob):
            seen = yield from self._seen_anew(job, step)
        with contextlib.closing(guard.checking(job.module.aggregator, seen)) as checking:
            for compared in checking:
                result = compared
                yield self._report(TeachPhase.GUARDING, step, seconds_left=0.0)
        assert result is not None
        taught = self._taught(job, guard, result, seen)
        look = job.judge(preview=False)
        shown = None if self.config.trains_encoder else taught.model
        done = replace(self._looked(TeachPhase.DONE, step, look), model=shown, guard=result, taught=taught)
        yield replace(done, seconds_left=0.0, stopped=str(taught.facts.get("ended", "")))
        return taught

    @property
    def names(self) -> tuple[str, ...]:
        """The tasks that are taught."""
        return tuple(lesson.task.name for lesson in self.lessons)

    def _job(self) -> TeachJob:
        config = self.config
        chance = torch.Generator().manual_seed(config.seed)
        before = self.parent.aggregator
        after: Aggregator = copy.deepcopy(before)
        for task in (lesson.task for lesson in self.lessons if lesson.task.name not in self.retrain):
            after = with_task(after, task, mode=config.mode, generator=chance)
        if config.mode == "isolated":
            check_isolation(before, after, self.names)
        taught: list[LearningTask] = []
        for lesson in self.lessons:
            held_out = split(lesson, share=config.validation_share, generator=chance)
            is_new, first = lesson.task.name not in self.retrain, taught[-1].pool.stop if taught else 0
            taught.append(LearningTask(lesson, held_out, config, is_new=is_new, first=first))
        check_tile_answers(after, taught)
        teacher, pool = copy.deepcopy(before).to(self.device), taught[-1].pool.stop
        if config.trains_encoder:
            return self._encoder_job(after, teacher, taught)
        learning = LearningPart(after.to(self.device), self.names, shared=config.mode == "shared", pool=pool)
        return TeachJob(learning.to(self.device), teacher, taught=taught, references=self.references, config=config)

    def _encoder_job(self, after: Aggregator, teacher: Aggregator, taught: Sequence[LearningTask]) -> EncoderTeachJob:
        config = self.config
        if parse(config.balancer, tasks=self.names).losses.needs_virtual_step:
            raise ValueError(
                f"The balancer {config.balancer!r} looks one step ahead at one learning rate; the encoder has its own. "
                "Choose another, or set encoder_blocks = 0."
            )
        network = parents_encoder(self.parent).module.to(self.device)
        learning = LearningWithEncoder(
            after, self.names, pool=taught[-1].pool.stop, network=network, blocks=config.encoder_blocks
        )
        return EncoderTeachJob(
            learning.to(self.device), teacher, taught=taught, references=self.references, config=config
        )

    def _seen_anew(
        self, job: EncoderTeachJob, step: int
    ) -> Generator[TeachReport, Command | None, tuple[TaughtBag, ...]]:
        """Let the trained encoder see the reference bags; return them with its embeddings."""
        seeing = job.seen_anew(self.references)
        while True:
            try:
                next(seeing)
            except StopIteration as end:
                bags: tuple[TaughtBag, ...] = end.value
                return bags
            yield self._report(TeachPhase.GUARDING, step, seconds_left=math.nan)

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
        balancer = config.balancer if config.mode == "shared" else DEFAULT  # else nothing shared learns
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
            update=Update(job.module, parse(balancer, tasks=job.task_names)),
        )
        loop.report_seconds = REPORT_SECONDS
        return loop

    def _key(self) -> str:
        lessons = (lesson.digest() for lesson in self.lessons)
        parts = (self.parent.digest, *lessons, self.config.key, *self.retrain)
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
        # NaN where it cannot be judged
        judged = {name: each for name, each in look.tasks.items() if not math.isnan(each.judgement.score)}
        losses = look.losses | dict(look.distances)
        return replace(
            self._report(phase, step),
            validation_losses={task: loss for task, loss in losses.items() if not math.isnan(loss)},
            scores={name: each.judgement.score for name, each in judged.items()},
            score_names={name: f"{each.noun} {each.judgement.metric}" for name, each in judged.items()},
            floors={name: each.judgement.floor for name, each in judged.items()},
            model=None
            if self.config.trains_encoder
            else draft_model(self.parent, look.preview, self.lessons, step=step),
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

    def _taught(self, job: TeachJob, guard: Guard, result: GuardResult, seen: tuple[TaughtBag, ...] | None) -> Taught:
        stopped = "as asked" if self.finishing else str(job.facts.pop("stopped", ""))
        facts = {key: value for key, value in job.facts.items() if key not in LOOP_FACTS}
        best = int(job.facts.get("best_epoch", 0)) * job.steps_per_epoch
        facts |= {"steps": int(job.facts.get("epochs", 0)) * job.steps_per_epoch, "kept_step": best}
        facts |= {"seconds": round(time.monotonic() - self.started, 1), "threads": self.config.threads}
        held_out = {each.name: each.held_out for each in job.taught if each.held_out}
        if held_out:
            facts["held_out"] = " and ".join(sorted(set(held_out.values())))
        if stopped:
            facts["ended"] = stopped
        encoder = encoder_with(self.parent, job.module.network) if isinstance(job, EncoderTeachJob) else None
        return Taught(
            model=draft_model(self.parent, job.module.aggregator, self.lessons, step=best, encoder=encoder),
            parent=self.parent,
            lessons=self.lessons,
            config=self.config,
            guard=result,
            reference=guard,
            metrics=job.figures(),
            facts=facts,
            held_out=held_out,
            retrained=self.retrain,
            warnings=tuple(self.warnings),
            encoder=encoder,
            seen=seen,
        )


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
