"""Teaching beside everything else: it starts, waits, stops and ends when told, and never touches the model in use."""

import threading
from contextlib import contextmanager

import pytest
from session_fakes import FakeAnalysis, FakeSlide, FakeStore, fake_model
from teaching_fakes import NEW_TASK, FakeTraining, fake_guard, grown, parent_model

from napari_mtlpath.session.session import Session
from napari_mtlpath.session.teaching import WhenClosed
from napari_mtlpath.session.teaching_view import TeachingPhase

CONFIG = {"mode": "isolated"}


class Ears:
    """Waits for what a session says about its teaching."""

    def __init__(self, session):
        self.session, self._changed = session, threading.Condition()
        self.phases, self.messages = [], []
        session.teaching_changed.connect(self._hear)
        session.message.connect(lambda message: self.messages.append(message.text))

    def _hear(self, view):
        with self._changed:
            if not self.phases or self.phases[-1] is not view.phase:
                self.phases.append(view.phase)
            self._changed.notify_all()

    def until(self, phase, timeout=60):
        with self._changed:
            assert self._changed.wait_for(lambda: self.session.teaching.view.phase is phase, timeout), self.phases


@contextmanager
def bench(training, *, model=None, slide=None):
    analyses = []

    def analyse(slide, model, on_report):
        analyses.append(FakeAnalysis(slide, model, on_report, talk=False))
        return analyses[-1]

    session = Session(store=FakeStore(), analyse=analyse)
    session.analyses = analyses
    session.teaching.tools = training.tools()
    session.attach_slide(slide or FakeSlide())
    session.set_model(model or parent_model())
    session.settle(20)
    try:
        yield session, Ears(session)
    finally:
        session.close()
    assert not FakeAnalysis.alive
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("mtlpath-teaching")] == []


def test_a_training_runs_to_its_end_and_draws_its_curves():
    with bench(FakeTraining(steps=7)) as (session, ears):
        session.teaching.start(CONFIG)
        ears.until(TeachingPhase.DONE)
        view = session.teaching.view
        assert [point.step for point in view.points] == [1, 2, 3, 4, 5, 6, 7, 7]
        assert view.points[0].losses[NEW_TASK.name] > view.points[-1].losses[NEW_TASK.name]
        assert view.floors == {NEW_TASK.name: 0.5}
        assert view.tasks == (NEW_TASK,)
        assert view.origins == {"tile": 40, "region": 12}
        assert view.guard.identical
        assert ears.phases[0] is TeachingPhase.PREPARING


def test_the_new_task_is_painted_while_it_is_learned_and_the_old_ones_stay():
    with bench(FakeTraining(steps=3, models_every=1)) as (session, ears):
        parent = session.model
        session.teaching.start(CONFIG)
        ears.until(TeachingPhase.DONE)
        assert session.model is parent
        assert session.tasks == (*parent.tasks, NEW_TASK)
        assert session.overlay.task == NEW_TASK.name
        previews = [call[1] for call in session.analyses[-1].calls if call[0] == "preview"]
        assert len([model for model in previews if model is not None]) == 4
        assert len(session.analyses) == 1  # the analysis was never started anew


def test_the_view_stays_on_an_old_task_that_the_user_chose_during_training():
    with bench(FakeTraining(steps=400, seconds=0.001, models_every=1)) as (session, ears):
        shown = threading.Event()
        session.tasks_changed.connect(shown.set)
        session.teaching.start(CONFIG)
        assert shown.wait(30)
        session.set_overlay(task=session.model.tasks[0].name)
        ears.until(TeachingPhase.DONE)
        assert session.overlay.task == session.model.tasks[0].name


def test_a_paused_training_takes_no_step_and_goes_on_where_it_was():
    training = FakeTraining(steps=1000, seconds=0.001)
    with bench(training) as (session, ears):
        session.teaching.start(CONFIG)
        ears.until(TeachingPhase.RUNNING)
        session.teaching.pause()
        ears.until(TeachingPhase.PAUSED)
        step = training.step
        assert step < training.steps
        session.teaching.go_on()
        ears.until(TeachingPhase.DONE)
        assert training.started == 1


@pytest.mark.parametrize("held", [False, True])
def test_cancelling_keeps_a_checkpoint_and_the_training_can_go_on(held):
    training = FakeTraining(steps=3000, seconds=0.001)
    with bench(training) as (session, ears):
        session.teaching.start(CONFIG)
        ears.until(TeachingPhase.RUNNING)
        if held:
            session.teaching.pause()
            ears.until(TeachingPhase.PAUSED)
        session.teaching.cancel()
        ears.until(TeachingPhase.STOPPED)
        assert training.closed == 1
        assert session.tasks == session.model.tasks
        training.steps = training.step + 3
        session.teaching.go_on()
        ears.until(TeachingPhase.DONE)
        assert training.resumed == [True, True]


def test_the_first_start_goes_on_where_an_earlier_program_was_stopped_and_the_next_begins_anew():
    training = FakeTraining(steps=3)
    with bench(training) as (session, ears):
        session.teaching.start(CONFIG)
        ears.until(TeachingPhase.DONE)
        session.teaching.start(CONFIG)
        session.teaching.settle(60)
        assert training.resumed == [True, False]


def test_finishing_early_keeps_what_was_learned():
    training = FakeTraining(steps=100_000, seconds=0.001)
    with bench(training) as (session, ears):
        session.teaching.start(CONFIG)
        ears.until(TeachingPhase.RUNNING)
        session.teaching.finish()
        ears.until(TeachingPhase.DONE)
        assert training.step < training.steps
        assert session.teaching.view.suggested == "parent-eosinophils"
        assert session.teaching.view.can_be_saved


def test_a_failure_is_one_sentence_and_the_next_start_works():
    training = FakeTraining(steps=5, fails_at=3)
    with bench(training) as (session, ears):
        session.teaching.start(CONFIG)
        ears.until(TeachingPhase.FAILED)
        assert session.teaching.view.problem == "The loss is not finite. Lower the learning rate."
        assert session.teaching.view.problem in ears.messages
        assert session.tasks == session.model.tasks
        training.fails_at = None
        session.teaching.start(CONFIG)
        ears.until(TeachingPhase.DONE)


def test_labels_that_cannot_teach_are_told_before_anything_is_trained():
    training = FakeTraining()
    with bench(training) as (session, ears):

        def refuse(session, tasks):
            raise ValueError("Mark at least one tile without eosinophils.")

        session.teaching.tools = type(session.teaching.tools)(**{**vars(training.tools()), "lessons": refuse})
        session.teaching.start(CONFIG)
        ears.until(TeachingPhase.FAILED)
        assert session.teaching.view.problem == "Mark at least one tile without eosinophils."
        assert training.started == 0


def test_a_stopped_training_goes_on_with_its_tasks_whatever_is_labelled_by_then():
    training = FakeTraining(steps=3000, seconds=0.001)
    with bench(training) as (session, ears):
        session.teaching.start(CONFIG, tasks=["b", "a"])
        ears.until(TeachingPhase.RUNNING)
        session.teaching.cancel()
        ears.until(TeachingPhase.STOPPED)
        training.steps = training.step + 2
        session.teaching.go_on()
        ears.until(TeachingPhase.DONE)
        assert training.wanted == [("b", "a"), ("b", "a")]


def test_two_trainings_at_once_are_refused():
    with bench(FakeTraining(steps=2000, seconds=0.001)) as (session, ears):
        session.teaching.start(CONFIG)
        with pytest.raises(ValueError, match="being taught already"):
            session.teaching.start(CONFIG)
        ears.until(TeachingPhase.RUNNING)


def test_without_a_model_there_is_nothing_to_teach():
    with bench(FakeTraining()) as (session, _):
        session.set_model(None)
        with pytest.raises(ValueError, match="Load a model first"):
            session.teaching.start(CONFIG)


def test_switching_the_slide_does_not_stop_it_and_the_new_slide_is_painted():
    training = FakeTraining(steps=3000, seconds=0.001)
    with bench(training) as (session, ears):
        session.teaching.start(CONFIG)
        ears.until(TeachingPhase.RUNNING)
        while session.tasks == session.model.tasks:
            threading.Event().wait(0.001)
        session.attach_slide(FakeSlide("b" * 64, name="b.svs"))
        session.settle(20)
        assert session.teaching.view.phase is TeachingPhase.RUNNING
        assert [call[0] for call in session.analyses[-1].calls if isinstance(call, tuple)].count("preview") >= 1
        session.teaching.cancel()
        ears.until(TeachingPhase.STOPPED)
        assert training.closed == 1


def test_another_model_hides_the_preview_and_its_parent_brings_it_back():
    with bench(FakeTraining(steps=3)) as (session, ears):
        parent, other = session.model, parent_model("other")
        session.teaching.start(CONFIG)
        ears.until(TeachingPhase.DONE)
        session.set_model(other)
        assert session.tasks == other.tasks
        session.set_model(parent)
        assert session.tasks == (*parent.tasks, NEW_TASK)


@pytest.fixture
def loadable(monkeypatch):
    """Loading a model of any name gives a grown fake."""

    def load(name, *, device="auto", **_):
        return grown(parent_model(name))

    monkeypatch.setattr("napari_mtlpath.zoo.any_model.load_any", load)


def test_saving_uses_the_new_model_and_undo_returns_to_its_parent(loadable):
    training = FakeTraining()
    with bench(training) as (session, ears):
        parent, told = session.model, []
        session.models_changed.connect(lambda: told.append(True))
        session.teaching.start(CONFIG)
        ears.until(TeachingPhase.DONE)
        session.teaching.save("parent-eosinophils")
        ears.until(TeachingPhase.SAVED)
        assert [folder.name for folder in training.saved] == ["parent-eosinophils"]
        assert session.model.card.name == "parent-eosinophils"
        assert told
        session.teaching.undo()
        assert session.model is parent
        assert session.tasks == parent.tasks
        assert session.teaching.view.phase is TeachingPhase.IDLE


def test_what_changed_an_old_task_is_not_saved_and_can_be_discarded(loadable):
    training = FakeTraining(guard=fake_guard(identical=False))
    with bench(training) as (session, ears):
        parent = session.model
        session.teaching.start(CONFIG)
        ears.until(TeachingPhase.DONE)
        session.teaching.save("wrong")
        session.teaching.settle(20)
        assert session.teaching.view.phase is TeachingPhase.DONE
        assert "nothing was saved" in session.teaching.view.problem
        assert training.saved == []
        session.teaching.discard()
        assert session.model is parent
        assert session.tasks == parent.tasks


@pytest.mark.parametrize("name", ["../escape", "", "smear-mecds", "-rf"])
def test_a_name_that_is_none_or_taken_is_told(loadable, name):
    training = FakeTraining()
    with bench(training) as (session, ears):
        session.teaching.start(CONFIG)
        ears.until(TeachingPhase.DONE)
        session.teaching.save(name)
        session.teaching.settle(20)
        assert session.teaching.view.phase is TeachingPhase.DONE
        assert "name" in session.teaching.view.problem
        assert training.saved == []


def test_nothing_is_saved_before_it_was_taught():
    with bench(FakeTraining()) as (session, _), pytest.raises(ValueError, match="nothing to save"):
        session.teaching.save("early")


def test_a_task_is_removed_into_a_model_of_its_own(loadable):
    training = FakeTraining()
    with bench(training, model=grown(parent_model())) as (session, ears):
        session.teaching.remove_task(NEW_TASK.name)
        ears.until(TeachingPhase.SAVED)
        assert [(task, folder.name) for task, folder in training.removed] == [
            (NEW_TASK.name, "parent-without-eosinophils")
        ]


@pytest.mark.parametrize("moment", [TeachingPhase.PREPARING, TeachingPhase.RUNNING, TeachingPhase.PAUSED])
def test_closing_stops_it_at_once_and_keeps_the_checkpoint(moment):
    training = FakeTraining(steps=100_000, seconds=0.001)
    with bench(training) as (session, ears):
        session.teaching.start(CONFIG)
        if moment is not TeachingPhase.PREPARING:
            ears.until(TeachingPhase.RUNNING)
        if moment is TeachingPhase.PAUSED:
            session.teaching.pause()
            ears.until(TeachingPhase.PAUSED)
    assert training.ended == 0
    assert training.closed == training.started


def test_closing_lets_it_finish_and_save_where_the_user_chose_so(loadable):
    training = FakeTraining(steps=200, seconds=0.001)
    with pytest.MonkeyPatch.context():
        session = Session(store=FakeStore(), analyse=lambda *a: FakeAnalysis(*a, talk=False))
        session.teaching.tools = training.tools()
        session.teaching.when_closed = WhenClosed.FINISH
        session.set_model(parent_model())
        ears = Ears(session)
        session.teaching.start(CONFIG)
        ears.until(TeachingPhase.RUNNING)
        session.close()
        for thread in [t for t in threading.enumerate() if t.name.startswith("mtlpath-teaching")]:
            thread.join(60)
    assert training.ended == 1
    assert [folder.name for folder in training.saved] == ["parent-eosinophils"]


def test_a_preview_of_a_model_that_is_not_in_use_is_left_out():
    with bench(FakeTraining()) as (session, _):
        assert not session.preview(fake_model("x"), of=fake_model("y"))
        assert session.tasks == session.model.tasks
