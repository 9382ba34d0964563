"""Live analysis pixel by pixel: the view first, then the rest; ended at any instant; what goes wrong is said."""

import errno
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from pixel_fakes import KIND, ColourModel
from pixel_slides import DrawnSlide

from napari_mtlpath.folders import cache_folder
from napari_mtlpath.inference.live_report import LiveReport, LiveState
from napari_mtlpath.inference.pixels.live import WINDOWS_FOLDER, PixelAnalysis
from napari_mtlpath.inference.pixels.painting import PaintKind
from napari_mtlpath.inference.pixels.shelf import MapsShelf
from napari_mtlpath.inference.pixels.window_file import WindowFile
from napari_mtlpath.inference.results import Scope, ValueWord

PATIENCE = 120.0


class Listener:
    """Keeps the reports, and waits until one of them is as wanted."""

    def __init__(self) -> None:
        self.reports: list[LiveReport] = []
        self._came = threading.Condition()

    def __call__(self, report: LiveReport) -> None:
        with self._came:
            self.reports.append(report)
            self._came.notify_all()

    def until(self, holds: Callable[[LiveReport], bool]) -> LiveReport:
        with self._came:
            assert self._came.wait_for(lambda: any(holds(report) for report in self.reports), PATIENCE)
            return next(report for report in self.reports if holds(report))


def complete(report: LiveReport) -> bool:
    return report.state is LiveState.COMPLETE


def seen(report: LiveReport) -> bool:
    return report.visible_total > 0 and report.visible_known == report.visible_total


def our_threads() -> list[str]:
    names = ("mtlpath-inference", "mtlpath-reader", "mtlpath-pixels")
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(names)]


def test_the_view_comes_first_and_the_rest_of_the_tissue_after_it() -> None:
    slide, model, listener = DrawnSlide(), ColourModel(), Listener()
    live = PixelAnalysis(slide, model, on_report=listener, idle_after=0.5)
    live.look_at(200, 300, 300, 420)
    seen = listener.until(lambda report: report.visible_total > 0 and report.visible_known == report.visible_total)
    assert seen.visible_total == 4 * 5  # cores of 32 pixels that share area with the view
    whole = listener.until(complete)
    assert whole.tiles_known == whole.tiles_total == len(live.grid)
    first = [live.grid.index(round((y + 4) // 32), round((x + 4) // 32)) for y, x in slide.reads[: seen.visible_total]]
    assert set(first) == set(live.grid.tiles_in(200, 300, 300, 420).tolist())
    assert live.close()
    assert our_threads() == []


def test_a_part_is_called_a_part_and_no_answer_a_prediction_for_the_slide() -> None:
    slide, model, listener = DrawnSlide(), ColourModel(), Listener()
    live = PixelAnalysis(slide, model, on_report=listener, idle_after=1e9)
    live.look_at(0, 0, 100, 100)
    report = listener.until(lambda report: report.result is not None and report.result.tiles_known >= 16)
    assert report.result is not None
    assert report.result.region_level
    assert {answer.scope for answer in report.result.tasks} == {Scope.PIXELS, Scope.TILES}
    assert {answer.word for answer in report.result.tasks} == {ValueWord.SHARE, ValueWord.VALUE, ValueWord.SCORE}
    assert ("cell_parts", "classes") in report.result.offered
    assert ("has_nucleus", "prediction") in report.result.offered
    assert live.close()


def test_a_rerun_answers_everything_again_and_says_the_same() -> None:
    slide, model, listener = DrawnSlide(height=200, width=200), ColourModel(), Listener()
    live = PixelAnalysis(slide, model, on_report=listener, idle_after=0.0)
    before = listener.until(complete).result
    answered = model.tiles_answered
    generation = listener.reports[-1].generation
    live.rerun()
    again = listener.until(lambda report: complete(report) and report.generation > generation).result
    assert model.tiles_answered >= 2 * answered - 2
    assert before is not None
    assert again is not None
    assert [answer.class_values for answer in again.tasks] == [answer.class_values for answer in before.tasks]
    assert live.close()


@pytest.mark.parametrize("instant", [0.0, 0.01, 0.05, 0.2])
def test_closing_at_any_instant_leaves_no_thread_and_no_file(instant: float) -> None:
    listener = Listener()
    live = PixelAnalysis(DrawnSlide(), ColourModel(delay=0.002), on_report=listener, idle_after=0.0)
    live.look_at(0, 0, 500, 700)
    time.sleep(instant)
    assert live.close()
    said = len(listener.reports)
    assert our_threads() == []
    assert list((cache_folder() / WINDOWS_FOLDER).glob("*")) == []
    assert len(listener.reports) == said


def test_an_unreadable_tile_is_left_out_and_counted() -> None:
    slide, listener = DrawnSlide(height=200, width=200, unreadable=((28.0, 60.0),)), Listener()
    live = PixelAnalysis(slide, ColourModel(), on_report=listener, idle_after=0.0)
    report = listener.until(complete)
    assert (report.unreadable, report.tiles_known) == (1, report.tiles_total - 1)
    assert report.result is not None
    assert report.result.painting is not None
    assert not report.result.painting.maps.known[1, 2]
    assert np.isnan(report.result.heatmaps[next(iter(report.result.heatmaps))].values[1, 2])
    assert live.close()


def test_a_model_that_gives_no_numbers_is_said_in_one_sentence() -> None:
    class Broken(ColourModel):
        def answer(self, tiles, **asked):
            said = super().answer(tiles, **asked)
            if self.tiles_answered > 2:  # the blank tiles at the beginning are answered
                said.pixels["cell_parts"][0, 0, 0, 0] = np.nan
            return said

    listener = Listener()
    live = PixelAnalysis(DrawnSlide(), Broken(), on_report=listener, idle_after=0.0)
    report = listener.until(lambda report: report.state is LiveState.FAILED)
    assert report.message == "The model's answers to task 'cell_parts' are not finite. Check its weights."
    assert live.close()


def test_a_full_disk_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self, *_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(WindowFile, "_append", full)
    listener = Listener()
    live = PixelAnalysis(DrawnSlide(), ColourModel(), on_report=listener, idle_after=0.0)
    report = listener.until(lambda report: report.state is LiveState.FAILED)
    assert "No space left on device. Free some space" in report.message
    assert live.close()


def analysed(
    slide: DrawnSlide, model: ColourModel, shelf: MapsShelf, *, explained: bool = False
) -> tuple[PixelAnalysis, LiveReport]:
    listener = Listener()
    live = PixelAnalysis(slide, model, on_report=listener, idle_after=0.0, shelf=shelf)
    if not explained:
        return live, listener.until(complete)
    live.explain(True)
    return live, listener.until(lambda report: complete(report) and _attended(report))


def _attended(report: LiveReport) -> bool:
    painting = report.result.painting if report.result is not None else None
    return painting is not None and painting.attention is not None and bool(painting.attention.known.any())


def test_coming_back_to_a_model_computes_nothing_and_says_the_same() -> None:
    slide, first, second, shelf = (
        DrawnSlide(height=200, width=200),
        ColourModel(),
        ColourModel(name="other"),
        MapsShelf(),
    )
    live, before = analysed(slide, first, shelf)
    assert live.close()
    assert our_threads() == []
    answered = first.tiles_answered
    other, _ = analysed(slide, second, shelf)
    assert other.close()
    assert len(shelf) == 2

    read = len(slide.reads)
    again, after = analysed(slide, first, shelf)
    assert (first.tiles_answered, len(slide.reads)) == (answered, read)
    assert before.result is not None
    assert after.result is not None
    assert [each.class_values for each in after.result.tasks] == [each.class_values for each in before.result.tasks]
    painting = after.result.painting
    assert painting is not None
    assert painting.maps.core(5, 0) is None  # let go of while it was on the shelf
    back = threading.Event()
    painting.maps.on_restored = back.set
    painting.maps.want([5])
    assert back.wait(PATIENCE)
    assert painting.maps.core(5, 0) is not None
    assert again.close()
    shelf.close()
    assert our_threads() == []


def test_attention_is_asked_for_when_it_is_looked_at_where_one_looks_first_and_kept() -> None:
    slide, model, listener = DrawnSlide(), ColourModel(delay=0.01), Listener()
    live = PixelAnalysis(slide, model, on_report=listener, idle_after=0.5)
    live.look_at(200, 300, 300, 420)
    whole = listener.until(complete)
    assert whole.result is not None
    painting = whole.result.painting
    assert painting is not None
    assert painting.attention is not None
    assert ("cell_parts", "cross-task") in whole.result.offered
    assert [size for size, _, attention in model.asked if attention] == [2]  # the blank tiles at the beginning
    assert painting.words_at("cell_parts", PaintKind.CROSS_TASK, 250, 350) == "not analysed"

    answered, version = len(model.asked), painting.maps.version
    read = len(slide.reads)
    live.explain(True)
    first = listener.until(lambda report: seen(report) and report.generation > whole.generation)
    assert first.tiles_known < first.tiles_total == whole.tiles_known
    corners = [live.grid.index(round((y + 4) // 32), round((x + 4) // 32)) for y, x in slide.reads[read:]]
    assert set(corners[: first.visible_total]) == set(live.grid.tiles_in(200, 300, 300, 420).tolist())
    again = listener.until(lambda report: complete(report) and report.generation > whole.generation)
    assert all(asked[1:] == (False, True) for asked in model.asked[answered:])  # no task is answered a second time
    assert sum(size for size, *_ in model.asked[answered:]) == again.tiles_total
    assert again.result is not None
    assert again.result.painting is not None
    assert again.result.painting.version > painting.version
    assert painting.maps.version == version
    assert painting.attention.known.all()
    darkness = painting.words_at("darkness", PaintKind.PREDICTION, 250, 350)
    said = painting.words_at("cell_parts", PaintKind.CROSS_TASK, 250, 350)
    assert float(said) == pytest.approx(float(darkness.split()[0]), abs=0.01)

    asked = len(model.asked)
    for wanted in (False, True):
        generation = listener.reports[-1].generation
        live.explain(wanted)
        listener.until(lambda report, since=generation: complete(report) and report.generation > since)
    assert len(model.asked) == asked
    assert live.close()
    assert our_threads() == []


def test_while_attention_is_looked_at_new_tiles_are_asked_once_for_everything() -> None:
    model, listener = ColourModel(), Listener()
    live = PixelAnalysis(DrawnSlide(height=200, width=200), model, on_report=listener, idle_after=0.0)
    live.explain(True)
    report = listener.until(complete)
    assert report.result is not None
    painting = report.result.painting
    assert painting is not None
    assert painting.attention is not None
    assert painting.maps.known.all()
    assert painting.attention.known.all()
    assert painting.attention.unfinished(range(report.tiles_total)) == 0
    assert sum(size for size, *_ in model.asked) <= 2 + 2 * report.tiles_total
    assert sum(size for size, tasks, attention in model.asked if tasks and attention) > 2
    assert live.close()


def test_attention_that_was_looked_at_is_there_when_the_model_comes_back() -> None:
    slide, model, shelf = DrawnSlide(height=200, width=200), ColourModel(), MapsShelf()
    live, before = analysed(slide, model, shelf, explained=True)
    assert live.close()
    assert our_threads() == []
    asked = len(model.asked)
    again, after = analysed(slide, model, shelf, explained=True)
    assert len(model.asked) == asked
    assert before.result is not None
    assert after.result is not None
    painting = after.result.painting
    assert painting is not None
    assert painting.words_at("cell_parts", PaintKind.CROSS_TASK, 31, 31) != "not analysed"
    assert again.close()
    shelf.close()


def test_a_tile_that_cannot_be_read_is_none_the_less_settled_when_attention_is_looked_at() -> None:
    slide, model, listener = DrawnSlide(height=200, width=200, unreadable=((28.0, 60.0),)), ColourModel(), Listener()
    live = PixelAnalysis(slide, model, on_report=listener, idle_after=0.0)
    first = listener.until(complete)
    live.explain(True)
    report = listener.until(lambda report: complete(report) and report.generation > first.generation)
    assert (report.unreadable, report.tiles_known) == (1, report.tiles_total - 1)
    assert slide.reads.count((28.0, 60.0)) == 1  # it is not tried again for that
    assert report.result is not None
    assert report.result.complete
    assert live.close()


def test_attention_comes_and_goes_at_any_instant_and_nothing_is_left() -> None:
    random, listener = np.random.default_rng(0), Listener()
    live = PixelAnalysis(DrawnSlide(), ColourModel(delay=0.001), on_report=listener, idle_after=0.0)
    for _ in range(12):
        live.explain(bool(random.integers(2)))
        live.look_at(0, 0, 100 + 300 * random.random(), 400)
        if random.random() < 0.2:
            live.rerun()
        time.sleep(0.05 * random.random())
    generation = listener.reports[-1].generation
    live.explain(True)
    live.rerun()
    report = listener.until(lambda report: complete(report) and report.generation > generation)
    assert report.result is not None
    assert report.result.complete
    assert live.close()
    assert our_threads() == []
    assert list((cache_folder() / WINDOWS_FOLDER).glob("*")) == []


def test_a_model_without_tasks_of_pixels_is_analysed_too() -> None:
    listener = Listener()
    live = PixelAnalysis(DrawnSlide(height=200, width=200), ColourModel((KIND,)), on_report=listener, idle_after=0.0)
    report = listener.until(complete)
    assert report.result is not None
    assert report.result.offered == {("has_nucleus", "prediction")}
    assert live.close()


def test_an_analysis_that_was_left_in_its_middle_goes_on_there() -> None:
    slide, model, shelf, listener = DrawnSlide(), ColourModel(), MapsShelf(), Listener()
    live = PixelAnalysis(slide, model, on_report=listener, idle_after=1e9, shelf=shelf)
    live.look_at(0, 0, 100, 100)
    seen = listener.until(lambda report: report.visible_total > 0 and report.visible_known == report.visible_total)
    assert live.close()
    answered = model.tiles_answered
    again, whole = analysed(slide, model, shelf)
    assert model.tiles_answered - answered <= whole.tiles_total - seen.tiles_known
    assert again.close()
    shelf.close()


def test_the_shelf_keeps_what_was_left_last_within_its_bounds() -> None:
    slide, shelf = DrawnSlide(height=100, width=100), MapsShelf(most=1)
    models = [ColourModel(name=name) for name in ("a", "b")]
    for model in models:
        live, _ = analysed(slide, model, shelf)
        assert live.close()
    assert len(shelf) == 1
    gone, kept = (model.tiles_answered for model in models)
    for model in reversed(models):
        live, _ = analysed(slide, model, shelf)
        assert live.close()
    assert models[1].tiles_answered == kept
    assert models[0].tiles_answered > gone
    shelf.drop("another slide")
    assert len(shelf) == 1
    shelf.drop(slide.fingerprint)
    assert len(shelf) == 0
    shelf.close()
    narrow = MapsShelf(most_bytes=10)
    live, _ = analysed(slide, models[0], narrow)
    assert live.close()
    assert len(narrow) == 0
