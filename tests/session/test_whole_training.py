"""A whole model is trained in the viewer's process by the generator of the command line, and tried at once."""

import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import tomli_w
from made_cohort import cohort_config, write_cohort
from session_fakes import FakeAnalysis, FakeSlide, FakeStore

from napari_mtlpath.session.session import Session
from napari_mtlpath.session.teaching_view import TeachingPhase
from napari_mtlpath.training.loop.report import Phase, TrainingReport


@pytest.fixture
def config(tmp_path):
    """A config file beside the tables that it names."""
    write_cohort(tmp_path)
    path = tmp_path / "config.toml"
    table = cohort_config("from-tables").model_dump(mode="json", exclude_none=True)
    path.write_text(tomli_w.dumps(table), encoding="utf-8")
    return path


@contextmanager
def session_with_fakes():
    session = Session(store=FakeStore(), analyse=lambda *a: FakeAnalysis(*a, talk=False))
    session.attach_slide(FakeSlide())
    try:
        yield session
    finally:
        session.close()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("mtlpath-training")] == []


def test_a_model_from_a_cohort_table_is_trained_with_curves_and_used_on_the_open_slide(config):
    told = []
    with session_with_fakes() as session:
        session.models_changed.connect(lambda: told.append(True))
        session.training.start(config)
        session.training.settle(120)
        view = session.training.view
        assert view.phase is TeachingPhase.DONE, view.problem
        assert view.saved_as == "from-tables"
        assert told
        assert {task for point in view.points for task in point.losses} == {"tumour", "grade", "score"}
        scored = [point.scores for point in view.points if point.scores]
        assert {task for scores in scored for task in scores} == {"tumour", "grade", "score"}
        assert view.floors == {"tumour": 0.5, "score": 0.0}
        session.training.use()
        assert session.model.card.name == "from-tables"
        assert [task.name for task in session.tasks] == ["tumour", "grade", "score"]


def test_a_cancelled_training_goes_on_to_the_same_model(config):
    with session_with_fakes() as session:
        epochs = threading.Event()
        session.training_changed.connect(lambda view: epochs.set() if view.points else None)
        session.training.start(config)
        assert epochs.wait(120)
        session.training.cancel()
        session.training.settle(120)
        if session.training.view.phase is TeachingPhase.STOPPED:
            session.training.go_on()
            session.training.settle(120)
        assert session.training.view.phase is TeachingPhase.DONE, session.training.view.problem


def test_a_wrong_config_is_one_sentence(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('kind = "bags"\nname = "x"\n', encoding="utf-8")
    said = []
    with session_with_fakes() as session:
        session.message.connect(lambda message: said.append(message.text))
        for config in (path, tmp_path / "absent.toml"):
            session.training.start(config)
            session.training.settle(60)
            assert session.training.view.phase is TeachingPhase.FAILED
        assert "encoder is missing" in said[0]
        assert "absent.toml" in said[1]


def test_closing_in_the_middle_stops_it_after_a_whole_step():
    ended = []

    def endless(config):
        try:
            while True:
                yield report()
        finally:
            ended.append(True)

    with session_with_fakes() as session:
        begun = threading.Event()
        session.training_changed.connect(lambda view: begun.set() if view.report is not None else None)
        session.training.train = endless
        session.training.start(Path("config.toml"))
        assert begun.wait(60)
    assert ended == [True]


def report():
    plain = {"loss": 0.5, "learning_rate": 0.1, "score": 0.5, "best_score": 0.5, "seconds": 9.0}
    return TrainingReport(phase=Phase.STEP, epoch=1, epochs=2, step=5, steps=10, best_epoch=1, **plain)
