"""The Gallery section: which tiles it shows, how one walks through them, what it says, and what it writes."""

import csv
from dataclasses import dataclass, field

import numpy as np
import pytest
from label_fakes import LabelSlide, label_model
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QLabel, QSpinBox, QWidget
from session_fakes import FakeAnalysis, fake_report

from napari_mtlpath.features.store import FeatureStore
from napari_mtlpath.session.gallery import GalleryOrder, rank
from napari_mtlpath.session.session import Session
from napari_mtlpath.tiles.grid import TileGrid
from napari_mtlpath.viewer.docks.gallery_section import PAGE, GalleryForm
from napari_mtlpath.viewer.docks.thumbnails import Thumbnail

pytestmark = pytest.mark.gui

ROWS, COLUMNS = 20, 30


@dataclass
class TileMap:
    """A heatmap of values that a test chose."""

    task: str
    kind: str
    values: np.ndarray
    grid: TileGrid = field(repr=False)


class Bench:
    """A session on a slide that is not there, and the Gallery section on it."""

    def __init__(self, qtbot):
        self.qtbot = qtbot
        self.analyses = []
        self.session = Session(store=FeatureStore(None), analyse=self._analyse)
        self.said = []
        self.session.message.connect(lambda message: self.said.append(message.text))
        self.model, self.slide = label_model(), LabelSlide()
        self.form = GalleryForm(self.session)
        self.centres = []
        self.form._view.centre_on = lambda y, x: self.centres.append((y, x))
        qtbot.addWidget(self.form)
        self.form.resize(320, 700)
        self.form.show()

    def _analyse(self, *arguments):
        self.analyses.append(FakeAnalysis(*arguments, talk=False))
        return self.analyses[-1]

    def ready(self, values=None, *, known=None):
        """Open slide and model, and report values for the first task."""
        self.session.set_model(self.model)
        self.session.attach_slide(self.slide)
        self.until(lambda: self.session.live is not None)
        self.report(np.arange(ROWS * COLUMNS, dtype=np.float32) if values is None else values, known=known)

    def report(self, values, *, known=None, kinds=("attention",)):
        spec = self.model.card.tile
        grid = TileGrid.for_slide(height=self.slide.height, width=self.slide.width, mpp=(0.5, 0.5), spec=spec)
        values = np.asarray(values, np.float32).reshape(grid.shape)
        count = int(np.isfinite(values).sum()) if known is None else known
        report = fake_report(self.slide, self.model, known=count, total=ROWS * COLUMNS)
        task = self.model.tasks[0].name
        report.result.heatmaps = {(task, kind): TileMap(task, kind, values, grid) for kind in kinds}
        report.result.offered = frozenset(report.result.heatmaps)
        before = self.session.report
        self.session.live.on_report(report)
        self.until(lambda: self.session.report is not before)

    def child(self, name, kind=QWidget):
        found = self.form.findChild(kind, name)
        assert found is not None, f"no {name}"
        return found

    def text(self, name):
        return self.child(name, QLabel).text()

    def key(self, key):
        self.qtbot.keyClick(self.form, key)

    def shown(self):
        thumbnails = [self.child(f"ranked-tile-{number}", Thumbnail) for number in range(PAGE)]
        return [each.index for each in thumbnails if each.isVisible()]

    def until(self, condition):
        self.qtbot.waitUntil(condition, timeout=60_000)


@pytest.fixture
def bench(qtbot):
    bench = Bench(qtbot)
    yield bench
    bench.session.close()


def test_the_highest_tiles_come_first_and_their_pictures_are_read(bench):
    bench.ready()
    last = ROWS * COLUMNS - 1
    bench.until(lambda: bench.shown() == [last - n for n in range(PAGE)])
    bench.until(lambda: all(bench.child(f"ranked-tile-{n}", Thumbnail).picture is not None for n in range(PAGE)))
    assert len(bench.slide.reads) == PAGE  # the page, and not all 48


def test_before_there_is_a_result_a_sentence_says_what_has_to_happen(bench):
    assert "once a model has looked at a slide" in bench.text("gallery-hint")
    assert not bench.child("gallery-controls").isVisible()


def test_it_says_of_how_many_tiles_the_order_is_and_that_it_is_no_finding(bench):
    values = np.full(ROWS * COLUMNS, np.nan)
    values[100:140] = np.arange(40)
    bench.ready(values)
    bench.until(lambda: "40 of 600 tissue tiles: region-level (partial)" in bench.text("gallery-words"))
    assert bench.text("gallery-words").startswith("The 40 highest")
    assert "no finding" in bench.text("gallery-words")


def test_direction_count_and_kind_change_the_order(bench):
    bench.ready()
    bench.until(lambda: len(bench.shown()) == PAGE)
    bench.child("gallery-direction", QComboBox).setCurrentIndex(1)
    bench.child("gallery-direction", QComboBox).activated.emit(1)
    assert bench.shown() == list(range(PAGE))
    bench.child("gallery-count", QSpinBox).setValue(5)
    assert bench.shown() == [0, 1, 2, 3, 4]
    bench.report(-np.arange(600.0), kinds=("attention", "routing"))
    kinds = bench.child("gallery-kind", QComboBox)
    bench.until(lambda: kinds.count() == 2)
    assert [kinds.itemText(row) for row in range(2)] == ["Routing", "Attention"]
    assert kinds.currentText() == "Attention"  # what was chosen stays chosen
    bench.until(lambda: bench.shown() == [599, 598, 597, 596, 595])


def test_a_click_before_any_picture_has_come_is_not_taken_back_by_late_news(bench):
    bench.ready()  # the news of slide, model and tasks may still be on their way when the first order is there
    bench.until(lambda: bench.form.ranking is not None)
    bench.qtbot.mouseClick(bench.child("ranked-tile-2"), Qt.MouseButton.LeftButton)
    assert bench.form.marked == 2
    heard = []
    for news in ("slide_changed", "model_changed", "tasks_changed", "resolution_changed"):
        getattr(bench.form._bridge, news).connect(lambda *_, news=news: heard.append(news))
    bench.session.slide_changed.emit(bench.session.slide)
    bench.session.resolution_changed.emit(bench.session.slide.resolution)
    bench.session.model_changed.emit(bench.session.model)
    bench.session.tasks_changed.emit()
    bench.until(lambda: len(heard) >= 4)
    assert bench.form.marked == 2


def test_only_the_tasks_that_order_tiles_are_offered_once_there_is_an_answer(bench):
    assert len(bench.model.tasks) > 1
    bench.ready()  # heatmaps of the first task alone
    tasks = bench.child("gallery-task", QComboBox)
    first = bench.model.tasks[0].name
    bench.until(lambda: [tasks.itemData(row) for row in range(tasks.count())] == [first])


def test_a_click_pans_to_the_tile_and_the_arrow_keys_walk_on(bench):
    bench.ready()
    bench.until(lambda: len(bench.shown()) == PAGE)
    bench.qtbot.mouseClick(bench.child("ranked-tile-1"), Qt.MouseButton.LeftButton)
    side = 96
    assert bench.centres[-1] == (19 * side + side / 2, 28 * side + side / 2)
    bench.key(Qt.Key.Key_Right)
    bench.key(Qt.Key.Key_Down)
    assert bench.form.marked == 6
    bench.key(Qt.Key.Key_Left)
    bench.key(Qt.Key.Key_Up)
    assert bench.form.marked == 1
    assert "Number 2 of 48" in bench.text("gallery-place")
    bench.key(Qt.Key.Key_End)
    assert (bench.form.marked, bench.shown()[-1]) == (47, 599 - 47)
    bench.key(Qt.Key.Key_Right)
    assert bench.form.marked == 47  # there is no next one
    bench.key(Qt.Key.Key_Home)
    assert (bench.form.marked, bench.shown()[0]) == (0, 599)


def test_pages_turn_by_button_and_key(bench):
    bench.ready()
    bench.until(lambda: bench.text("gallery-place") == "1 to 16 of 48")
    assert not bench.child("gallery-back").isEnabled()
    bench.qtbot.mouseClick(bench.child("gallery-on"), Qt.MouseButton.LeftButton)
    assert bench.text("gallery-place") == "17 to 32 of 48"
    bench.key(Qt.Key.Key_PageDown)  # frames the first tile, as every key does at first
    bench.key(Qt.Key.Key_PageDown)
    assert bench.form.marked == 16
    assert not any("Traceback" in said for said in bench.said)


def test_the_order_stands_still_while_a_tile_is_framed_and_follows_again_after_esc(bench):
    bench.ready()
    bench.until(lambda: len(bench.shown()) == PAGE)
    bench.key(Qt.Key.Key_Right)
    before = bench.shown()
    bench.report(-np.arange(600.0))
    assert bench.shown() == before
    assert "stands still" in bench.text("gallery-keys")
    bench.key(Qt.Key.Key_Escape)
    assert bench.shown() == list(range(PAGE))
    assert bench.form.marked is None


def test_another_slide_starts_over(bench):
    bench.ready()
    bench.until(lambda: len(bench.shown()) == PAGE)
    bench.session.close_slide()
    bench.until(lambda: not bench.child("gallery-controls").isVisible())
    assert bench.form.ranking is None


def test_table_and_sheet_hold_the_tiles_with_their_places_and_values(bench, tmp_path):
    bench.ready()
    bench.until(lambda: len(bench.shown()) == PAGE)
    bench.child("gallery-count", QSpinBox).setValue(20)
    bench.form.export_to(tmp_path / "found.csv")
    bench.until(lambda: any("20 tiles written to found.csv" in said for said in bench.said))
    with (tmp_path / "found.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["tile"]) for row in rows] == [599 - n for n in range(20)]
    assert (rows[0]["rank"], rows[0]["value"], rows[0]["kind"]) == ("1", "599", "attention")
    assert rows[0]["tiles_known"] == "600 of 600"
    assert "Not for diagnosis" in rows[0]["use"]
    with Image.open(tmp_path / "found.png") as sheet:
        pixels = np.asarray(sheet)
    assert (pixels == (200, 120, 170)).all(axis=2).sum() >= 20 * 100 * 100  # twenty tiles of the slide's colour


def test_exporting_the_gallery_of_a_slide_that_was_closed_is_refused_in_words(bench, tmp_path):
    bench.ready()
    bench.until(lambda: len(bench.shown()) == PAGE)
    ranking = bench.form.ranking
    bench.session.attach_slide(LabelSlide("b" * 64, name="b.svs"))
    bench.form._ranking = ranking
    bench.form.export_to(tmp_path / "found.csv")
    bench.until(lambda: any("a slide that is closed" in said for said in bench.said))
    assert not list(tmp_path.iterdir())


def test_tiles_that_cannot_be_read_are_said_and_grey(bench, tmp_path):
    bench.ready()
    bench.until(lambda: len(bench.shown()) == PAGE)
    whole = bench.slide.read_square

    def partly(y, x, side, *, tile_px, resampling):
        found = whole(y, x, side, tile_px=tile_px, resampling=resampling)
        found.complete = x != 29 * side
        return found

    bench.slide.read_square = partly
    bench.form.export_to(tmp_path / "found.csv")
    bench.until(lambda: any("2 could not be read" in said for said in bench.said))  # 599 and 569 of the 48


def test_equal_values_keep_the_reading_order_and_unknown_tiles_are_left_out(bench):
    values = np.full(ROWS * COLUMNS, np.nan)
    values[[7, 3, 50]] = 1.0
    bench.ready(values)
    ranking = rank(bench.session.result, GalleryOrder(task="basophils", kind="attention"), bench.session.tasks)
    assert ranking.indices.tolist() == [3, 7, 50]
    assert ranking.ranked == 3


def test_every_control_has_a_name_and_a_help_text(bench):
    bench.ready()
    bench.until(lambda: len(bench.shown()) == PAGE)
    names = ("gallery-task", "gallery-kind", "gallery-direction", "gallery-count", "gallery-back", "gallery-on")
    for name in (*names, "gallery-export", "ranked-tile-0", "gallery-words", "gallery-keys", "gallery-place"):
        assert bench.child(name).toolTip(), name


def test_more_tiles_than_a_gallery_holds_are_refused_in_words():
    with pytest.raises(ValueError, match="1 to 400 tiles; found 401"):
        GalleryOrder(task="basophils", kind="attention", count=401)
