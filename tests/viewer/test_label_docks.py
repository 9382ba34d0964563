"""The Tasks section: what it shows, what its buttons and keys do, and what it says."""

import json

import pytest
from label_fakes import SIDE, LabelSlide, label_model, put_features
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QComboBox, QDoubleSpinBox, QLabel, QLineEdit, QPushButton, QWidget
from session_fakes import FakeAnalysis

from napari_mtlpath.features.store import FeatureStore
from napari_mtlpath.review.events import Origin
from napari_mtlpath.review.task_draft import TaskDraft, TaskKind
from napari_mtlpath.session.session import Session
from napari_mtlpath.viewer.docks.label_exchange import LabelExchange
from napari_mtlpath.viewer.docks.label_gallery import SHOWN, LabelGallery
from napari_mtlpath.viewer.docks.tasks_section import TasksForm
from napari_mtlpath.viewer.docks.thumbnails import Thumbnail

pytestmark = pytest.mark.gui

DRAFT = TaskDraft.made(title="Eosinophils", kind=TaskKind.BINARY)
CELLS = TaskDraft.made(title="Cell", kind=TaskKind.CLASSES, classes=("Blast", "Monocyte", "Other"))


class Bench:
    """A session on a slide that is not there, and the Tasks section on it."""

    def __init__(self, qtbot):
        self.qtbot = qtbot
        self.store = FeatureStore(None)
        self.session = Session(store=self.store, analyse=lambda *a: FakeAnalysis(*a, talk=False))
        self.labels = self.session.labels
        self.said = []
        self.session.message.connect(lambda message: self.said.append(message.text))
        self.form = TasksForm(self.session)
        qtbot.addWidget(self.form)
        self.form.resize(320, 900)
        self.form.show()

    def ready(self, draft=DRAFT):
        self.session.set_model(label_model())
        self.session.attach_slide(LabelSlide())
        self.until(lambda: self.labels.place is not None and self.labels.ready)
        if draft is not None:
            self.labels.define(draft)
            self.until(lambda: self.child("label-tools").isVisible())
        return self.labels.place

    def child(self, name, kind=QWidget):
        found = self.form.findChild(kind, name)
        assert found is not None, f"no {name}"
        return found

    def text(self, name):
        return self.child(name, QLabel).text()

    def click(self, name):
        self.qtbot.mouseClick(self.child(name), Qt.MouseButton.LeftButton)

    def until(self, condition):
        self.qtbot.waitUntil(condition, timeout=60_000)


@pytest.fixture
def bench(qtbot):
    bench = Bench(qtbot)
    yield bench
    bench.session.close()


def test_a_beginner_is_led_from_an_open_slide_to_the_first_label(bench):
    assert bench.text("tasks-next").startswith("Open a slide")
    bench.ready(draft=None)
    bench.until(lambda: "New task" in bench.text("tasks-next"))
    bench.click("task-new")
    bench.child("task-title", QLineEdit).setText("Eosinophils")
    bench.click("task-make")
    bench.until(lambda: "click tiles" in bench.text("tasks-next"))
    assert bench.labels.task == DRAFT
    assert not bench.child("task-form").isVisible()
    assert bench.child("task-list", QComboBox).currentText() == "Eosinophils"
    bench.labels.label_tiles([3], 1.0)
    bench.until(lambda: "'absent' too" in bench.text("tasks-next"))
    assert bench.text("label-count") == "Tiles clicked: 1 present"
    assert "No label is 'absent' yet" in bench.text("label-warnings")


def test_every_kind_of_task_can_be_described(bench):
    bench.ready(draft=None)
    bench.click("task-new")
    bench.child("task-title", QLineEdit).setText("Cell type")
    bench.child("task-kind", QComboBox).setCurrentIndex(1)
    bench.click("task-add-class")
    for number, name in enumerate(("Blast", "Monocyte", "", "Other")):
        bench.child(f"task-class-{number}", QLineEdit).setText(name)
    bench.click("task-make")
    assert bench.labels.task.classes == ("Blast", "Monocyte", "Other")
    bench.click("task-new")
    bench.child("task-title", QLineEdit).setText("Share of blasts")
    bench.child("task-kind", QComboBox).setCurrentIndex(2)
    bench.child("task-high", QDoubleSpinBox).setValue(100.0)
    bench.child("task-unit", QLineEdit).setText("%")
    bench.click("task-make")
    bench.until(lambda: bench.child("label-number").isVisible())
    assert (bench.labels.task.kind, bench.labels.task.unit) == (TaskKind.REGRESSION, "%")
    assert [draft.name for draft in bench.labels.drafts] == ["cell-type", "share-of-blasts"]


@pytest.mark.parametrize(
    ("title", "kind", "said"),
    [
        ("", 0, "Type a title"),
        ("Basophils", 0, "has a task 'Basophils' already"),
        ("Cell", 1, "3 to 9 classes"),
    ],
)
def test_a_task_that_cannot_be_is_refused_beside_its_fields(bench, title, kind, said):
    bench.ready(draft=None)
    bench.click("task-new")
    bench.child("task-title", QLineEdit).setText(title)
    bench.child("task-kind", QComboBox).setCurrentIndex(kind)
    bench.click("task-make")
    assert said in bench.text("task-error")
    assert bench.labels.task is None


def test_a_task_of_the_model_can_be_chosen_and_its_card_read(bench):
    bench.ready(draft=None)
    tasks = bench.child("task-list", QComboBox)
    bench.until(lambda: tasks.count() == 3)
    tasks.setCurrentIndex(1)
    tasks.activated.emit(1)
    assert bench.labels.task.name == "basophils"
    bench.click("task-about")
    assert "Are there basophils?" in bench.text("task-cards")


def test_answers_and_undo_follow_the_task(bench):
    bench.ready(CELLS)
    assert [bench.child(f"label-answer-{n}", QPushButton).text() for n in range(3)] == [
        "1  Blast",
        "2  Monocyte",
        "3  Other",
    ]
    assert not bench.child("label-undo").isEnabled()
    bench.labels.label_tiles([3], 2.0)
    bench.until(lambda: bench.child("label-undo").isEnabled())
    bench.click("label-undo")
    bench.until(lambda: bench.child("label-redo").isEnabled())
    assert bench.labels.labels.tiles == {}


def test_the_whole_slide_gets_a_label_and_loses_it(bench):
    bench.ready()
    box = bench.child("label-slide", QComboBox)
    box.activated.emit(2)
    assert bench.labels.labels.slide == 1.0
    bench.until(lambda: box.currentText() == "present")
    assert bench.text("label-count") == "Whole slides: 1 present"
    box.activated.emit(0)
    assert bench.labels.labels.slide is None


def test_suggested_tiles_are_shown_and_answered_with_one_key_each(bench):
    place = bench.ready()
    put_features(bench.store, place)
    bench.labels.label_tiles([0, 1], 1.0)
    gallery = bench.child("label-gallery", LabelGallery)
    bench.click("gallery-suggest")
    bench.until(lambda: len(gallery.indices) == SHOWN)
    assert not {0, 1} & set(gallery.indices)
    first, second, third = gallery.indices[:3]
    bench.qtbot.keyClick(gallery, Qt.Key.Key_2)
    bench.qtbot.keyClick(gallery, Qt.Key.Key_Space)
    bench.qtbot.keyClick(gallery, Qt.Key.Key_1)
    known = bench.labels.labels.tiles
    assert (known[first].value, second in known, known[third].value) == (1.0, False, 0.0)
    assert known[first].origin is Origin.GALLERY
    for _ in range(SHOWN - 3):
        bench.qtbot.keyClick(gallery, Qt.Key.Key_Space)
    bench.until(lambda: "All answered" in bench.text("gallery-help"))
    bench.qtbot.keyClick(gallery, Qt.Key.Key_1)
    assert len(bench.labels.labels.tiles) == 4


def test_a_clicked_thumbnail_is_asked_about_and_delete_takes_its_label_back(bench):
    place = bench.ready()
    put_features(bench.store, place)
    bench.labels.label_tiles([5, 6, 7], 1.0)
    gallery = bench.child("label-gallery", LabelGallery)
    bench.until(lambda: bench.child("gallery-marked").isEnabled())
    bench.click("gallery-marked")
    assert gallery.indices == (5, 6, 7)
    bench.click("gallery-tile-1")
    assert gallery.asked == 6
    bench.qtbot.keyClick(gallery, Qt.Key.Key_Delete)
    assert list(bench.labels.labels.tiles) == [5, 7]
    bench.until(lambda: "Not labelled" in bench.child("gallery-tile-1", Thumbnail).toolTip())
    bench.until(lambda: len(place.slide.reads) == 3)
    assert place.slide.reads == [(0, 5 * SIDE), (0, 6 * SIDE), (0, 7 * SIDE)]


def test_without_analysed_tiles_nothing_is_suggested_and_it_is_said(bench):
    bench.ready()
    bench.click("gallery-suggest")
    bench.until(lambda: any("No tile of this slide was analysed yet" in text for text in bench.said))
    assert bench.child("gallery-suggest", QPushButton).isEnabled()


def test_the_gallery_of_a_slide_goes_with_it(bench):
    bench.ready()
    bench.labels.label_tiles([5], 1.0)
    gallery = bench.child("label-gallery", LabelGallery)
    bench.until(lambda: bench.child("gallery-marked").isEnabled())
    bench.click("gallery-marked")
    bench.session.attach_slide(LabelSlide("b" * 64, name="b.svs"))
    bench.until(lambda: gallery.indices == ())
    gallery.answer(1.0)
    assert bench.labels.labels.tiles == {}


def test_labels_go_to_a_file_and_come_back(bench, tmp_path):
    bench.ready()
    bench.labels.label_tiles([5, 6], 1.0)
    exchange = bench.child("label-exchange", LabelExchange)
    path = tmp_path / "labels.geojson"
    exchange.export_file(path)
    bench.until(lambda: any("2 labelled tiles written to labels.geojson" in text for text in bench.said))
    assert len(json.loads(path.read_text())["features"]) == 2
    bench.labels.undo()
    exchange.import_file(path)
    bench.until(lambda: any("2 single tiles imported" in text for text in bench.said))
    assert list(bench.labels.labels.tiles) == [5, 6]
    path.write_text("nonsense")
    exchange.import_file(path)
    bench.until(lambda: any("labels.geojson is no GeoJSON" in text for text in bench.said))


def test_nothing_in_the_section_is_wider_than_the_narrowest_panel(bench):
    put_features(bench.store, bench.ready(CELLS))
    bench.labels.label_tiles([5], 1.0)
    bench.click("gallery-suggest")
    bench.until(lambda: bench.child("gallery-tile-0").isVisible())
    bench.click("task-new")
    bench.child("task-kind", QComboBox).setCurrentIndex(2)
    QApplication.processEvents()
    wide = {w.objectName(): w.minimumSizeHint().width() for w in bench.form.findChildren(QWidget) if w.isVisible()}
    assert bench.form.minimumSizeHint().width() <= 284, {name: width for name, width in wide.items() if width > 100}


def test_everything_has_a_name_and_a_tooltip(bench):
    bench.ready(CELLS)
    bench.click("task-new")
    bench.child("task-kind", QComboBox).setCurrentIndex(1)
    kinds = (QPushButton, QComboBox, QLineEdit, QDoubleSpinBox, Thumbnail)
    named = [w for kind in kinds for w in bench.form.findChildren(kind) if w.objectName() != "qt_spinbox_lineedit"]
    assert not [widget for widget in named if not widget.objectName() or not widget.toolTip()]
