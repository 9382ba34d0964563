import threading
import time

import numpy as np
import pytest
import torch
from analysis_fakes import SIDE, FakeClock, FakeModel, FakeResolution, FakeSlide

from napari_mtlpath.features.store import FeatureStore
from napari_mtlpath.inference.live import LiveAnalysis, LiveState


class Listener:
    """Collects reports and lets a test wait for one."""

    def __init__(self) -> None:
        self.reports = []
        self._changed = threading.Condition()

    def __call__(self, report):
        with self._changed:
            self.reports.append(report)
            self._changed.notify_all()

    def wait_for(self, condition, timeout=120.0):
        with self._changed:
            met = self._changed.wait_for(lambda: any(condition(r) for r in self.reports), timeout)
        assert met, f"never came; last report: {self.reports[-1] if self.reports else None}"
        return next(report for report in self.reports if condition(report))

    def wait_for_state(self, state, timeout=120.0):
        return self.wait_for(lambda report: report.state is state, timeout)


@pytest.fixture
def store(tmp_path):
    store = FeatureStore(tmp_path / "features.sqlite")
    yield store
    store.close()


@pytest.fixture
def listener():
    return Listener()


@pytest.fixture
def analyse(store, listener):
    started = []

    def start(slide, model, **options):
        live = LiveAnalysis(slide, model, **{"store": store, "on_report": listener, "idle_after": 0.0, **options})
        started.append(live)
        return live

    yield start
    for live in started:
        assert live.close()


def view_of(row0, column0, row1, column1):
    return row0 * SIDE, column0 * SIDE, row1 * SIDE, column1 * SIDE


def test_whole_slide_is_analysed_when_nobody_looks(analyse, listener):
    analyse(FakeSlide(), FakeModel())
    report = listener.wait_for_state(LiveState.COMPLETE)
    assert report.tiles_known == report.tiles_total == 80
    assert report.result.complete
    assert not report.result.region_level
    assert np.isfinite(report.result.heatmaps["witness", "routing"].values).all()


def test_tiles_in_view_come_first_and_the_rest_waits(analyse, listener):
    slide = FakeSlide()
    live = analyse(slide, FakeModel(), idle_after=1000.0, readers=1)
    live.look_at(*view_of(2, 3, 5, 6))
    report = listener.wait_for(lambda r: r.visible_total == 9 and r.visible_known == 9 and r.state is LiveState.IDLE)
    assert report.result is None or report.result.region_level
    assert {(row, column) for row in range(2, 5) for column in range(3, 6)} == set(slide.reads[:9])
    assert len(slide.reads) == 25  # with one ring


def test_middle_of_the_view_is_read_before_its_edge(analyse, listener):
    slide = FakeSlide(rows=7, columns=7)
    live = analyse(slide, FakeModel(), idle_after=1000.0, readers=1)
    live.look_at(*view_of(1, 1, 2, 6))
    listener.wait_for(lambda r: r.visible_known == r.visible_total == 5)
    fine = [place for place in slide.reads[:5] if place[0] % 2 or place[1] % 2]
    assert fine[0] == (1, 3)


def test_rest_of_the_tissue_follows_after_a_rest(analyse, listener):
    clock = FakeClock(running=True)
    slide = FakeSlide()
    live = analyse(slide, FakeModel(), clock=clock, idle_after=1000.0)
    live.look_at(*view_of(0, 0, 2, 2))
    listener.wait_for(lambda r: r.visible_known == 4 and r.queue == 0 and r.state is LiveState.IDLE)
    assert len(slide.reads) == 9
    clock.advance(1000.0)
    listener.wait_for_state(LiveState.COMPLETE)
    assert len(slide.reads) == 80


def test_tiles_of_a_view_that_was_left_are_not_read(analyse, listener):
    slide = FakeSlide(rows=30, columns=30, gate=threading.Event())
    live = analyse(slide, FakeModel(), idle_after=1000.0, readers=2)
    live.look_at(*view_of(0, 0, 8, 8))
    while len(slide.reads) < 2:
        time.sleep(0.001)
    live.look_at(*view_of(20, 20, 23, 23))
    slide.gate.set()
    listener.wait_for(lambda r: r.visible_total == 9 and r.visible_known == 9)
    in_old_view = [place for place in slide.reads if place[0] < 9 and place[1] < 9]
    assert len(in_old_view) == 2  # the two that were under way


def test_known_tiles_are_never_read_again(analyse, listener, store):
    first = FakeSlide()
    analyse(first, FakeModel())
    whole = listener.wait_for_state(LiveState.COMPLETE).result
    listener.reports.clear()
    again = FakeSlide()
    model = FakeModel()
    analyse(again, model)
    result = listener.wait_for_state(LiveState.COMPLETE).result
    assert again.reads == []
    assert model.encoder.batches == []
    assert [task.value for task in result.tasks] == [task.value for task in whole.tasks]


def test_unreadable_tiles_are_counted_and_kept_from_the_model(analyse, listener, store):
    slide = FakeSlide(unreadable=frozenset({(0, 0), (7, 9)}))
    model = FakeModel()
    live = analyse(slide, model)
    report = listener.wait_for_state(LiveState.COMPLETE)
    assert report.unreadable == report.result.unreadable == 2
    assert report.tiles_known == 78
    assert max(model.aggregator.bags) == 78
    assert np.isnan(report.result.heatmaps["witness", "prediction"].values[0, 0])
    assert live.grid.index(7, 9) in store.unreadable(live_key(slide, model))


def live_key(slide, model):
    from napari_mtlpath.inference.plan import grid_for, key_for

    return key_for(slide, model, grid_for(slide, model))


def test_slide_without_one_readable_tile_ends_without_an_answer(analyse, listener):
    slide = FakeSlide(rows=1, columns=2, unreadable=frozenset({(0, 0), (0, 1)}))
    analyse(slide, FakeModel())
    report = listener.wait_for_state(LiveState.COMPLETE)
    assert report.result is None
    assert report.unreadable == 2


def test_glass_is_not_read(analyse, listener):
    slide = FakeSlide(glass=lambda row, column: column >= 4)
    analyse(slide, FakeModel())
    assert listener.wait_for_state(LiveState.COMPLETE).tiles_total == 32
    assert max(column for _, column in slide.reads) == 3


def test_pausing_stops_reading_until_resumed(analyse, listener):
    slide = FakeSlide(rows=20, columns=20, delay=0.002)
    live = analyse(slide, FakeModel())
    listener.wait_for(lambda r: r.tiles_known > 0)
    live.pause()
    known = listener.wait_for_state(LiveState.PAUSED).tiles_known
    assert known < 400
    listener.reports.clear()
    live.resume()
    assert listener.wait_for_state(LiveState.COMPLETE).tiles_known == 400


def test_rerun_computes_everything_anew(analyse, listener):
    slide = FakeSlide()
    live = analyse(slide, FakeModel())
    first = listener.wait_for_state(LiveState.COMPLETE)
    listener.reports.clear()
    live.rerun()
    second = listener.wait_for_state(LiveState.COMPLETE)
    assert second.generation > first.generation
    assert len(slide.reads) == 160
    assert second.result is not first.result


def test_lack_of_memory_halves_the_batch_and_says_so_once(analyse, listener):
    model = FakeModel()

    def refuse(tiles):
        if len(tiles) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    model.encoder.before = refuse
    analyse(FakeSlide(), model)
    assert listener.wait_for_state(LiveState.COMPLETE).tiles_known == 80
    assert max(model.encoder.batches) <= 2
    said = [report.message for report in listener.reports if "Memory" in report.message]
    assert len(said) == 1


def test_lack_of_memory_for_one_tile_fails_with_a_sentence(analyse, listener):
    model = FakeModel()

    def refuse(tiles):
        raise MemoryError

    model.encoder.before = refuse
    analyse(FakeSlide(), model)
    assert "not enough memory" in listener.wait_for_state(LiveState.FAILED).message


def test_failure_in_the_model_is_reported_and_the_threads_end(analyse, listener):
    model = FakeModel()

    def fail(bag):
        raise KeyError("token")

    model.aggregator.before = fail
    live = analyse(FakeSlide(), model)
    report = listener.wait_for_state(LiveState.FAILED)
    assert "KeyError" in report.message
    assert live.close()


def test_failure_in_a_reader_is_reported(analyse, listener):
    slide = FakeSlide()

    def read_square(*arguments, **options):
        raise RuntimeError("decoder crashed")

    slide.read_square = read_square
    analyse(slide, FakeModel())
    assert "decoder crashed" in listener.wait_for_state(LiveState.FAILED).message


def test_rerun_after_a_failure_goes_on_with_what_is_known(analyse, listener):
    slide = FakeSlide(changed="The slide changed on disk.")
    live = analyse(slide, FakeModel())
    assert listener.wait_for_state(LiveState.FAILED).message == "The slide changed on disk."
    slide.changed = None
    live.rerun()
    assert listener.wait_for_state(LiveState.COMPLETE).tiles_known == 80


def test_slide_that_changes_on_disk_stops_and_keeps_nothing_of_it(analyse, listener, store):
    slide, model = FakeSlide(changed="The slide changed on disk."), FakeModel()
    analyse(slide, model)
    listener.wait_for_state(LiveState.FAILED)
    assert store.count(live_key(slide, model)) == 0


def test_silent_storage_is_said(analyse, listener):
    clock = FakeClock()
    slide = FakeSlide(gate=threading.Event())
    analyse(slide, FakeModel(), clock=clock)
    while not slide.reads:
        time.sleep(0.001)
    clock.advance(11.0)
    listener.wait_for(lambda r: "not answering" in r.message)
    slide.gate.set()
    listener.wait_for(lambda r: "answers again" in r.message)
    listener.wait_for_state(LiveState.COMPLETE)


def test_nothing_is_reported_after_close(analyse, listener):
    live = analyse(FakeSlide(rows=30, columns=30, delay=0.001), FakeModel())
    live.look_at(*view_of(0, 0, 30, 30))
    listener.wait_for(lambda r: r.tiles_known > 0)
    assert live.close()
    count = len(listener.reports)
    live.look_at(*view_of(3, 3, 9, 9))
    live.rerun()
    live.resume()
    assert len(listener.reports) == count
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mtlpath-")]


def test_close_returns_in_time_while_a_read_hangs(store, listener):
    slide = FakeSlide(gate=threading.Event())
    live = LiveAnalysis(slide, FakeModel(), store=store, on_report=listener, idle_after=0.0)
    while not slide.reads:
        time.sleep(0.001)
    began = time.monotonic()
    assert not live.close(timeout=0.2)
    assert time.monotonic() - began < 2.0
    count = len(listener.reports)
    slide.gate.set()
    assert live.close()
    assert len(listener.reports) == count


def test_closing_from_within_a_report_does_not_lock_up(store):
    closed = threading.Event()
    live_box = []

    def on_report(report):
        if live_box and not closed.is_set():
            closed.set()
            live_box[0].close()

    live = LiveAnalysis(FakeSlide(), FakeModel(), store=store, on_report=on_report, idle_after=0.0)
    live_box.append(live)
    assert closed.wait(10)
    assert live.close()


def test_reports_and_answers_come_at_most_ten_times_a_second(analyse, listener):
    clock = FakeClock()
    slide = FakeSlide(rows=20, columns=20)
    model = FakeModel()
    model.encoder.before = lambda tiles: clock.advance(0.01)
    analyse(slide, model, clock=clock)
    listener.wait_for_state(LiveState.COMPLETE)
    duration = clock()
    assert len(listener.reports) <= 10 * duration + 3
    assert len(model.aggregator.bags) <= 10 * duration + 2


def test_dear_aggregation_takes_no_more_than_a_quarter_of_the_time(analyse, listener):
    clock = FakeClock()
    model = FakeModel()
    spent = []

    def dear(bag):
        spent.append(0.5)
        clock.advance(0.5)

    model.aggregator.before = dear
    model.encoder.before = lambda tiles: clock.advance(0.05)
    analyse(FakeSlide(rows=40, columns=40), model, clock=clock)
    listener.wait_for_state(LiveState.COMPLETE, timeout=120)
    assert sum(spent) <= 0.25 * clock() + 2 * 0.5


def test_slide_without_resolution_is_refused_at_once(store, listener):
    slide = FakeSlide(resolution=FakeResolution(mpp=None))
    with pytest.raises(ValueError, match="no known microns per pixel"):
        LiveAnalysis(slide, FakeModel(), store=store, on_report=listener)
    assert listener.reports == []


def test_store_that_fails_costs_only_the_keeping(analyse, listener, store):
    store.close()
    analyse(FakeSlide(), FakeModel())
    assert listener.wait_for_state(LiveState.COMPLETE).tiles_known == 80
    assert any("not kept" in report.message for report in listener.reports)


def test_storm_of_views_keeps_the_queue_short_and_every_view_is_finished_in_the_end(analyse, listener):
    slide = FakeSlide(rows=100, columns=100, delay=0.0005)
    live = analyse(slide, FakeModel(), idle_after=1000.0, readers=4)
    listener.wait_for(lambda r: r.tiles_total == 10_000)
    generator = np.random.default_rng(0)
    for _ in range(400):
        row, column = generator.integers(0, 90, size=2).tolist()
        live.look_at(*view_of(row, column, row + 10, column + 10))
    live.look_at(*view_of(40, 40, 46, 46))
    listener.wait_for(lambda r: r.visible_total == 36 and r.visible_known == 36)
    assert max(report.queue for report in listener.reports) <= 64
    generations = [report.generation for report in listener.reports]
    assert generations == sorted(generations)
    assert generations[-1] == 402  # the beginning, 400 views and the last


@pytest.mark.slow
def test_500_switches_never_show_one_slide_on_the_other(store):
    generator = np.random.default_rng(1)
    slides = [FakeSlide(hue=1), FakeSlide(hue=2, rows=6), FakeSlide(hue=3, columns=4)]
    wrong, lives = [], 0
    for _ in range(500):
        slide = slides[generator.integers(len(slides))]

        def check(report, slide=slide):
            if report.result is not None and (
                report.result.slide_fingerprint != slide.fingerprint
                or report.result.heatmaps["witness", "routing"].values.shape != (slide.rows, slide.columns)
            ):
                wrong.append(report)

        live = LiveAnalysis(slide, FakeModel(), store=store, on_report=check, idle_after=0.0)
        live.look_at(*view_of(0, 0, 4, 4))
        time.sleep(generator.random() * 0.004)  # at any instant of the run
        assert live.close()
        lives += 1
    assert lives == 500
    assert wrong == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mtlpath-")]
    for slide in slides:
        indices, features = store.get(live_key(slide, FakeModel()))
        rows, columns = np.divmod(indices, slide.columns)
        expected = np.stack([rows, columns, np.full(len(rows), slide.hue)], axis=1)
        np.testing.assert_array_equal(features, expected)
