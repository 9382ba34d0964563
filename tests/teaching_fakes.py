"""A training that follows a script, for tests of the session and of the docks: no network learns anything."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

from session_fakes import TASKS, fake_model

from napari_mtlpath.session.teaching_tools import TeachingTools
from napari_mtlpath.tasks import Classification

NEW_TASK = Classification(name="eosinophils", title="Eosinophils", classes=("absent", "present"))


@dataclass(frozen=True, kw_only=True)
class FakeReport:
    """What :class:`napari_mtlpath.training.teaching.report.TeachReport` says."""

    phase: str = "step"
    step: int = 0
    steps: int = 100
    seconds: float = 0.0
    seconds_left: float = 10.0
    device: str = "cpu"
    losses: dict = field(default_factory=dict)
    validation_losses: dict = field(default_factory=dict)
    scores: dict = field(default_factory=dict)
    floors: dict = field(default_factory=dict)
    model: object = None
    guard: object = None
    warnings: tuple = ()
    stopped: str = ""
    taught: object = None
    score_names: dict = field(default_factory=dict)


def fake_guard(*, identical=True, deltas=None):
    return SimpleNamespace(
        identical=identical,
        before="a" * 64,
        after=("a" if identical else "b") * 64,
        bags=3,
        deltas=deltas or {},
        sentence="All old answers on 3 slides are identical." if identical else "Old answers on 3 slides changed.",
    )


def grown(model, *, task=NEW_TASK):
    """A descendant of a fake model with one more task."""
    child = fake_model(model.card.name, tasks=(*model.tasks, task))
    child.encoder = model.encoder
    return child


class FakeTraining:
    """A scripted training of so many steps; notes what was done to it."""

    def __init__(self, *, steps=5, seconds=0.0, fails_at=None, error=None, guard=None, models_every=2, distances=None):
        self.steps, self.seconds, self.models_every = steps, seconds, models_every
        self.fails_at = fails_at
        self.distances = distances or {}
        self.error = error or FloatingPointError("The loss is not finite. Lower the learning rate.")
        self.guard = guard or fake_guard()
        self.started, self.closed, self.ended, self.resumed = 0, 0, 0, []
        self.saved, self.removed, self.lessons, self.wanted = [], [], 0, []
        self.step = 0

    def tools(self):
        return TeachingTools(
            lessons=self._lesson,
            references=lambda *_: (),
            teach=self._teach,
            finish=lambda: "finish",
            save=self._save,
            remove_task=self._remove,
        )

    def _lesson(self, session, tasks):
        self.lessons += 1
        self.wanted.append(tuple(tasks))
        made = SimpleNamespace(
            task=NEW_TASK, bags=(), counts=lambda: SimpleNamespace(origins={"tile": 40, "region": 12})
        )
        return (made,)

    def _teach(self, run, lessons, references):
        self.started += 1
        self.resumed.append(run.resume)
        try:
            while self.step < self.steps:
                self.step += 1
                if self.step == self.fails_at:
                    raise self.error
                if self.seconds:
                    time.sleep(self.seconds)
                if (yield self._report(run)) is not None:
                    break
        except GeneratorExit:
            self.closed += 1
            raise
        yield replace(self._report(run), phase="done", guard=self.guard, model=grown(run.parent))
        self.ended += 1
        return SimpleNamespace(guard=self.guard, parent=run.parent)

    def _report(self, run):
        share = self.step / self.steps
        name = NEW_TASK.name
        return FakeReport(
            step=self.step,
            steps=self.steps,
            losses={name: 1 - 0.8 * share},
            validation_losses={name: 1 - 0.7 * share} | self.distances,
            scores={name: 0.5 + 0.45 * share},
            floors={name: 0.5},
            model=grown(run.parent) if self.step % self.models_every == 0 else None,
        )

    def _save(self, taught, folder):
        if not taught.guard.identical:
            raise ValueError("Old tasks answer otherwise than before; nothing was saved. Discard what was taught.")
        self.saved.append(Path(folder))
        return SimpleNamespace(name=Path(folder).name)

    def _remove(self, session, model, task, folder):
        self.removed.append((task, Path(folder)))
        return SimpleNamespace(name=Path(folder).name)


def parent_model(name="parent"):
    model = fake_model(name, tasks=TASKS)
    model.encoder = SimpleNamespace(digest="e" * 64)
    return model
