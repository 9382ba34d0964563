"""The Fine-tune section shows what the teaching says, and does what its buttons say."""

from collections import Counter
from types import SimpleNamespace

import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QPalette
from qtpy.QtWidgets import QAbstractButton, QCheckBox, QComboBox, QLabel, QLineEdit, QWidget
from session_fakes import FakeAnalysis, FakeSlide, FakeStore
from teaching_fakes import NEW_TASK, FakeTraining, fake_guard, grown, parent_model

from napari_mtlpath.review.task_draft import TaskDraft, TaskKind
from napari_mtlpath.session.session import Session
from napari_mtlpath.session.teaching import WhenClosed
from napari_mtlpath.session.teaching_view import TeachingPhase, TeachingView
from napari_mtlpath.session.teaching_words import delta_rows
from napari_mtlpath.training.teaching.guard import Delta, GuardResult
from napari_mtlpath.viewer.docks.teach_section import TeachForm

pytestmark = pytest.mark.gui


class FakeLabels:
    """What the section asks of the session's labels."""

    def __init__(self, labels):
        self.task = SimpleNamespace(task=NEW_TASK) if labels else None
        self.other_tasks = ()
        self._counts = SimpleNamespace(total=labels, tiles=Counter())

    def counts(self):
        return self._counts

    def others(self):
        return self.other_tasks

    def close(self):
        pass


class Bench:
    def __init__(self, qtbot, training, *, labels=52, model=None):
        self.qtbot, self.training = qtbot, training
        self.session = Session(store=FakeStore(), analyse=lambda *a: FakeAnalysis(*a, talk=False))
        self.session.labels.close()
        self.session.labels = FakeLabels(labels)
        self.session.teaching.tools = training.tools()
        self.session.attach_slide(FakeSlide())
        self.session.set_model(model or parent_model())
        self.form = TeachForm(self.session)
        qtbot.addWidget(self.form)
        self.form.resize(340, 800)
        self.form.show()

    def child(self, name, kind=QWidget):
        found = self.form.findChild(kind, name)
        assert found is not None, f"no {name}"
        return found

    def click(self, name):
        button = self.child(name, QAbstractButton)
        assert button.isEnabled(), f"{name} is not enabled"
        self.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    def text(self, name):
        return self.child(name, QLabel).text()

    def until(self, condition):
        self.qtbot.waitUntil(condition, timeout=60_000)

    def until_phase(self, phase):
        self.until(lambda: self.session.teaching.view.phase is phase)


@pytest.fixture
def bench(qtbot, monkeypatch):
    made = []

    def make(training=None, **options):
        made.append(Bench(qtbot, training or FakeTraining(steps=30), **options))
        return made[-1]

    monkeypatch.setattr("napari_mtlpath.zoo.any_model.load_any", lambda name, **_: grown(parent_model(name)))
    yield make
    for each in made:
        each.session.close()


def test_without_labels_the_user_reads_what_to_do_and_start_waits(bench):
    shown = bench(labels=0)
    assert "Make a new task in the Tasks section" in shown.text("teach-hint")
    assert not shown.child("teach-start").isEnabled()
    shown.session.set_model(None)
    shown.until(lambda: "Load a model first" in shown.text("teach-hint"))


def test_a_training_draws_curves_and_ends_with_a_green_line(bench):
    shown = bench()
    assert shown.text("teach-hint") == "Ready to teach 'Eosinophils' from 52 labels."
    shown.click("teach-start")
    shown.until_phase(TeachingPhase.DONE)
    shown.until(lambda: shown.child("teach-curves").drawn == 31)
    shown.until(lambda: shown.child("teach-guard-verdict").isVisible())
    assert shown.text("teach-guard-verdict").startswith("✔ Old tasks unchanged, bit by bit")
    assert "a" * 64 in shown.child("teach-guard-verdict").toolTip()
    assert "trivial answer 0.50" in shown.text("teach-scores-words")
    assert shown.text("teach-origins") == "Learns from 40 clicked tiles, 12 tiles in regions."
    assert not shown.child("teach-guard-table").isVisible()
    shown.until(shown.child("teach-losses").isVisible)
    assert shown.child("taught-name", QLineEdit).text() == "parent-eosinophils"


def test_plots_are_there_before_there_is_anything_to_draw(bench):
    shown = bench()
    shown.until(lambda: shown.form.findChild(QWidget, "teach-scores") is not None)
    assert shown.form.findChild(QWidget, "teach-losses") is not None
    assert not shown.child("teach-curves").isVisible()
    assert shown.child("teach-curves").drawn == 0


def test_pause_resume_cancel_and_resume_again_by_clicks(bench):
    shown = bench(FakeTraining(steps=100_000, seconds=0.001))
    shown.click("teach-start")
    shown.until_phase(TeachingPhase.RUNNING)
    shown.until(lambda: shown.child("teach-pause").isEnabled())
    shown.click("teach-pause")
    shown.until(lambda: shown.child("teach-pause", QAbstractButton).text() == "Resume")
    assert "paused" in shown.text("teach-status")
    shown.click("teach-pause")
    shown.until(lambda: shown.child("teach-pause", QAbstractButton).text() == "Pause")
    shown.click("teach-cancel")
    shown.until(lambda: "Resume goes on from there" in shown.text("teach-status"))
    assert shown.child("teach-start").isEnabled()
    shown.click("teach-pause")
    shown.until_phase(TeachingPhase.RUNNING)
    shown.until(lambda: shown.child("teach-finish").isEnabled())
    shown.click("teach-finish")
    shown.until_phase(TeachingPhase.DONE)
    assert shown.training.resumed == [True, True]


def test_what_was_taught_is_saved_under_the_typed_name_and_undone(bench):
    shown = bench()
    parent = shown.session.model
    shown.click("teach-start")
    shown.until(lambda: shown.child("taught-save").isVisible())
    shown.child("taught-name", QLineEdit).setText("my-model")
    shown.click("taught-save")
    shown.until(lambda: shown.child("taught-undo").isVisible())
    assert [folder.name for folder in shown.training.saved] == ["my-model"]
    assert "Saved as 'my-model'" in shown.text("teach-status")
    assert shown.child("taught-undo", QAbstractButton).text() == "Undo: back to parent"
    shown.click("taught-undo")
    shown.until(lambda: shown.session.model is parent)
    shown.until(lambda: not shown.child("taught-undo").isVisible())


def test_changed_old_answers_are_red_and_cannot_be_saved_in_isolation(bench):
    delta = Delta(mean=0.01, low=0.005, high=0.02, largest=0.04)
    shown = bench(FakeTraining(guard=fake_guard(identical=False, deltas={"basophils": delta})))
    shown.click("teach-start")
    shown.until(lambda: shown.child("taught-discard").isVisible())
    assert shown.text("teach-guard-verdict").startswith("✖ Old tasks' answers changed")
    assert not shown.child("taught-save").isEnabled()
    shown.click("taught-discard")
    shown.until(lambda: not shown.child("teach-guard").isVisible())
    assert shown.session.tasks == shown.session.model.tasks


def test_the_shared_mode_shows_how_far_each_old_task_moved_and_rolls_back_in_one_click(bench):
    delta = Delta(mean=0.0123, low=0.005, high=0.02, largest=0.04)
    shown = bench(FakeTraining(guard=fake_guard(identical=False, deltas={"basophils": delta})))
    shown.click("teach-advanced")
    shown.until(lambda: shown.form.findChild(QComboBox, "teach-setting-mode") is not None)
    shown.child("teach-setting-mode", QComboBox).setCurrentText("shared")
    shown.click("teach-start")
    shown.until(lambda: shown.child("taught-save").isVisible())
    assert shown.child("taught-save").isEnabled()
    shown.until(lambda: shown.child("teach-guard-table").isVisible())
    row = [shown.text(f"teach-delta-1-{column}") for column in range(3)]
    assert row == ["Basophils", "0.012 (0.005 to 0.02)", "0.04"]
    shown.click("taught-discard")
    shown.until(lambda: not shown.child("teach-guard").isVisible())


def test_how_far_a_task_moved_on_one_slide_has_no_interval():
    delta = Delta(mean=0.0123, low=None, high=None, largest=0.0123)
    guard = GuardResult(
        identical=False, before="a", after="b", weights_before="a", weights_after="b", bags=1, deltas={"x": delta}
    )
    (row,) = delta_rows(TeachingView(guard=guard))
    assert row.mean == "0.012 (one slide)"


def test_old_tasks_stand_by_their_titles_in_the_key_of_the_curves(bench):
    shown = bench(FakeTraining(steps=4, distances={"basophils": 0.1, "neutrophils": 0.2}))
    shown.click("teach-start")
    shown.until_phase(TeachingPhase.DONE)
    shown.until(lambda: shown.child("teach-curves-tasks").isVisible())
    key = shown.text("teach-curves-tasks")
    assert [title in key for title in ("Eosinophils", "Basophils", "Neutrophils")] == [True] * 3
    assert "basophils" not in key


def test_the_advanced_settings_are_those_of_the_command_line(bench):
    from napari_mtlpath.training.teaching.config import TeachConfig, parse_teach_config

    shown = bench()
    heard = []
    shown.session.teaching.start = lambda settings, tasks: heard.append(settings)
    shown.click("teach-advanced")
    shown.until(lambda: shown.form.findChild(QWidget, "teach-setting-form") is not None)
    for name in TeachConfig.model_fields:
        assert shown.child(f"teach-setting-{name}").toolTip(), name
    shown.child("teach-setting-steps").setValue(77)
    shown.child("teach-setting-mode", QComboBox).setCurrentText("shared")
    shown.click("teach-start")
    assert heard == [{"steps": 77, "mode": "shared"}]
    assert parse_teach_config(heard[0]).steps == 77
    shown.click("teach-setting-defaults")
    shown.click("teach-start")
    assert heard[1] == {}


def test_other_labelled_tasks_are_ticked_to_learn_in_the_same_run(bench):
    shown = bench()
    assert not shown.child("teach-together").isVisible()
    other = TaskDraft.made(title="Blasts", kind=TaskKind.BINARY)
    own = TaskDraft.of(shown.session.model.tasks[0])
    shown.session.labels.other_tasks = ((other, 8), (own, 1))
    shown.session.labels_changed.emit()
    shown.until(lambda: shown.child("teach-together").isVisible())
    box = shown.child("teach-together-blasts", QCheckBox)
    assert box.text() == "Blasts (8 labels; new)"
    assert "(1 label; the model's own, taught further)" in shown.child(f"teach-together-{own.name}", QCheckBox).text()
    box.click()
    assert shown.text("teach-hint") == "Ready to teach 'Eosinophils' together with 'Blasts', from 60 labels."
    shown.click("teach-start")
    shown.until_phase(TeachingPhase.DONE)
    assert shown.training.wanted == [(NEW_TASK.name, "blasts")]
    shown.session.labels.other_tasks = ()
    shown.session.labels_changed.emit()
    shown.until(lambda: not shown.child("teach-together").isVisible())


def test_settings_show_where_they_matter(bench):
    from napari_mtlpath.balancing.balancer import names

    shown = bench()
    heard = []
    shown.session.teaching.start = lambda settings, tasks: heard.append(settings)
    shown.click("teach-advanced")
    shown.until(lambda: shown.form.findChild(QComboBox, "teach-setting-balancer") is not None)
    balancer, mode = shown.child("teach-setting-balancer", QComboBox), shown.child("teach-setting-mode", QComboBox)
    assert [balancer.itemText(index) for index in range(balancer.count())] == list(names())
    assert not balancer.isVisible()
    assert not shown.child("teach-setting-distillation").isVisible()
    mode.setCurrentText("shared")
    shown.until(balancer.isVisible)
    assert "all tasks change" in shown.text("teach-hint")
    balancer.setCurrentText("uncert+cagrad")
    shown.click("teach-start")
    mode.setCurrentText("isolated")
    shown.until(lambda: not balancer.isVisible())
    shown.click("teach-start")
    assert heard == [{"mode": "shared", "balancer": "uncert+cagrad"}, {}]


def test_a_wrong_setting_is_told_in_one_sentence(bench):
    from napari_mtlpath.session.teaching_tools import TeachingTools, training

    shown = bench()
    fakes = vars(shown.training.tools())
    shown.session.teaching.tools = TeachingTools(**{**fakes, "teach": training})
    shown.click("teach-advanced")
    shown.until(lambda: shown.form.findChild(QWidget, "teach-setting-form") is not None)
    shown.child("teach-setting-smallest_bag").setValue(900)
    shown.session.model.digest = "0" * 64
    shown.click("teach-start")
    shown.until_phase(TeachingPhase.FAILED)
    shown.until(lambda: "must not exceed" in shown.text("teach-status"))


def test_the_end_at_closing_is_the_users_choice(bench):
    shown = bench()
    shown.click("teach-advanced")
    box = shown.child("teach-when-closed", QAbstractButton)
    box.setChecked(True)
    assert shown.session.teaching.when_closed is WhenClosed.FINISH
    box.setChecked(False)
    assert shown.session.teaching.when_closed is WhenClosed.STOP


def test_a_taught_task_can_be_removed_again(bench):
    model = grown(parent_model("grown"))
    model.card.provenance = {"taught": NEW_TASK.name, "parent_provenance": {"taught": None}}
    shown = bench(model=model)
    tasks = shown.child("taught-tasks", QComboBox)
    assert [tasks.itemText(index) for index in range(tasks.count())] == ["Eosinophils"]
    shown.click("taught-remove")
    shown.until_phase(TeachingPhase.SAVED)
    assert [(task, folder.name) for task, folder in shown.training.removed] == [
        (NEW_TASK.name, "grown-without-eosinophils")
    ]


@pytest.mark.parametrize("dark", [True, False])
def test_lines_and_verdicts_can_be_read_in_both_themes(bench, dark):
    shown = bench()
    palette = QPalette()
    text, ground = (QColor("#f0f1f2"), QColor("#262930")) if dark else (QColor("#3b3a39"), QColor("#efebe9"))
    palette.setColor(QPalette.ColorRole.WindowText, text)
    shown.form.setPalette(palette)
    from napari_mtlpath.viewer.docks.theme import line_colour, verdict_colour

    colours = [line_colour(shown.form, number) for number in range(6)]
    colours += [verdict_colour(shown.form, good) for good in (True, False)]
    assert min(contrast(QColor(colour), ground) for colour in colours) >= 4.0


def contrast(first, second):
    """The contrast of two colours (WCAG 2.2, relative luminance)."""

    def luminance(colour):
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour.getRgbF()[:3]]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_a_whole_model_is_trained_from_a_config_and_tried_by_clicks(bench, tmp_path):
    from napari_mtlpath.training.loop.report import Phase, TrainingReport

    plain = {"epochs": 4, "steps": 4, "learning_rate": 0.1, "best_epoch": 1, "best_score": 0.9, "seconds": 1.0}

    def reports(config):
        for epoch in range(1, 5):
            metrics = {"tumour auc": 0.6 + 0.1 * epoch}
            yield TrainingReport(
                phase=Phase.EPOCH, epoch=epoch, step=epoch, loss=1 / epoch, score=0.5, metrics=metrics, **plain
            )
        yield TrainingReport(phase=Phase.DONE, epoch=4, step=4, loss=0.2, score=0.9, output=tmp_path / "mine", **plain)

    shown = bench()
    shown.session.training.train = reports
    shown.click("train-whole")
    shown.child("train-config", QLineEdit).setText(str(tmp_path / "config.toml"))
    shown.click("train-start")
    shown.until(lambda: shown.child("train-use").isVisible())
    assert "Saved as 'mine' among your models." in shown.text("train-status")
    shown.until(lambda: shown.child("train-curves").drawn == 5)
    assert "AUC of tumour on held-out labels: 1.00 (trivial answer 0.50)" in shown.text("train-scores-words")
    shown.click("train-use")
    shown.until(lambda: shown.session.model.card.name == str(tmp_path / "mine"))
