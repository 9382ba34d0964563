import threading

import numpy as np
import pytest
import torch
from analysis_fakes import FakeModel, FakeResolution, FakeSlide

from napari_mtlpath.features.store import FeatureStore
from napari_mtlpath.inference import stream
from napari_mtlpath.inference.lanes import LanePlan
from napari_mtlpath.inference.live import LiveAnalysis, LiveState
from napari_mtlpath.inference.plan import SlideChangedError, plan_for
from napari_mtlpath.inference.results import SlideResult
from napari_mtlpath.inference.stream import Progress, analyse_slide


@pytest.fixture
def store(tmp_path):
    store = FeatureStore(tmp_path / "features.sqlite")
    yield store
    store.close()


def reader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("mtlpath-reader")]


def test_reports_count_up_to_one_complete_result(store):
    reports = list(analyse_slide(FakeSlide(), FakeModel(), store=store, batch=16))
    known = [report.tiles_known for report in reports[:-1]]
    assert known == [0, 16, 32, 48, 64, 80]
    assert all(isinstance(report, Progress) for report in reports[:-1])
    result = reports[-1]
    assert isinstance(result, SlideResult)
    assert result.complete
    assert result.tiles_known == result.tiles_total == 80


def test_stopped_run_goes_on_where_it_ended(store):
    slide = FakeSlide()
    run = analyse_slide(slide, FakeModel(), store=store, batch=16)
    for report in run:
        if report.tiles_known >= 32:
            break
    run.close()
    assert reader_threads() == []
    slide.reads.clear()
    first, *_, result = analyse_slide(slide, FakeModel(), store=store, batch=16)
    assert first.tiles_known == 32
    assert len(slide.reads) == 48
    assert result.complete


def test_closing_stops_reading(store):
    slide = FakeSlide(rows=100, columns=100)
    run = analyse_slide(slide, FakeModel(), store=store, batch=8, readers=2)
    next(run)
    next(run)
    run.close()
    count = len(slide.reads)
    assert count <= (2 * LanePlan.on(FakeModel().device).lanes + 2) * 8 + 2 * 2  # of 10,000
    assert reader_threads() == []


def test_unreadable_tiles_are_counted_and_left_out(store):
    slide, model = FakeSlide(unreadable=frozenset({(0, 1), (3, 3)})), FakeModel()
    result = list(analyse_slide(slide, model, store=store))[-1]
    assert result.unreadable == 2
    assert result.complete
    assert result.tiles_known == 78
    assert store.unreadable(plan_for(slide, model).key).tolist() == [1, 33]


def test_slide_without_one_readable_tile_has_no_result(store):
    slide = FakeSlide(rows=1, columns=2, unreadable=frozenset({(0, 0), (0, 1)}))
    reports = list(analyse_slide(slide, FakeModel(), store=store))
    assert not any(isinstance(report, SlideResult) for report in reports)
    assert reports[-1].unreadable == 2


def test_slide_that_changes_on_disk_stops_the_run_and_keeps_nothing_of_it(store):
    slide, model = FakeSlide(), FakeModel()
    run = analyse_slide(slide, model, store=store, batch=16)
    assert [next(run).tiles_known for _ in range(3)] == [0, 16, 32]
    slide.changed = "The slide changed on disk."
    with pytest.raises(SlideChangedError, match="changed on disk"):
        next(run)
    assert store.count(plan_for(slide, model).key) == 32
    assert reader_threads() == []


def test_lack_of_memory_halves_the_batch_and_says_so_once(store):
    model = FakeModel()

    def refuse(tiles):
        if len(tiles) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")

    model.encoder.before = refuse
    reports = list(analyse_slide(FakeSlide(), model, store=store, batch=16))
    assert reports[-1].complete
    assert max(model.encoder.batches) <= 4
    assert sum("Memory" in report.message for report in reports[:-1]) == 1


def test_failure_that_is_not_lack_of_memory_is_raised(store):
    model = FakeModel()

    def fail(tiles):
        raise RuntimeError("shape mismatch")

    model.encoder.before = fail
    with pytest.raises(RuntimeError, match="shape mismatch"):
        list(analyse_slide(FakeSlide(), model, store=store))
    assert reader_threads() == []


def test_silent_storage_is_reported_while_waiting(store, monkeypatch):
    monkeypatch.setattr(stream, "SILENT_STORAGE_SECONDS", 0.05)
    slide = FakeSlide(gate=threading.Event())
    run = analyse_slide(slide, FakeModel(), store=store)
    assert next(run).message == ""
    assert "not answering" in next(run).message
    slide.gate.set()
    assert [*run][-1].complete


def test_slide_without_resolution_is_refused(store):
    with pytest.raises(ValueError, match="no known microns per pixel"):
        next(analyse_slide(FakeSlide(resolution=FakeResolution(mpp=None)), FakeModel(), store=store))


def test_encoder_that_gives_nan_is_refused_and_nothing_is_kept(store):
    slide, model = FakeSlide(), FakeModel()
    model.encoder.embed = lambda tiles: torch.full((len(tiles), 3), float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        list(analyse_slide(slide, model, store=store))
    assert store.count(plan_for(slide, model).key) == 0


def test_viewer_and_command_line_give_the_same_numbers(tmp_path):
    done = threading.Event()
    live_results = []

    def on_report(report):
        if report.state is LiveState.COMPLETE:
            live_results.append(report.result)
            done.set()

    unreadable = frozenset({(2, 2)})
    live_store = FeatureStore(tmp_path / "live.sqlite")
    live = LiveAnalysis(
        FakeSlide(unreadable=unreadable), FakeModel(), store=live_store, on_report=on_report, idle_after=0.0
    )
    live.look_at(40.0, 40.0, 200.0, 200.0)
    assert done.wait(20)
    assert live.close()
    live_store.close()
    stream_store = FeatureStore(tmp_path / "stream.sqlite")
    streamed = list(analyse_slide(FakeSlide(unreadable=unreadable), FakeModel(), store=stream_store))[-1]
    stream_store.close()
    seen = live_results[-1]
    assert [task.value for task in seen.tasks] == [task.value for task in streamed.tasks]
    assert seen.heatmaps.keys() == streamed.heatmaps.keys()
    for key, heatmap in seen.heatmaps.items():
        np.testing.assert_array_equal(heatmap.values, streamed.heatmaps[key].values)
    for task, selected in seen.selected.items():
        np.testing.assert_array_equal(selected, streamed.selected[task])


def test_answer_is_computed_on_as_many_threads_as_in_the_viewer(store, tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        streamed, seen = FakeModel(), FakeModel()
        threads: dict[str, set[int]] = {"stream": set(), "live": set()}
        for name, model in (("stream", streamed), ("live", seen)):
            model.aggregator.before = lambda bag, name=name: threads[name].add(torch.get_num_threads())
        list(analyse_slide(FakeSlide(), streamed, store=store))
        done = threading.Event()
        other = FeatureStore(tmp_path / "other.sqlite")
        live = LiveAnalysis(
            FakeSlide(),
            seen,
            store=other,
            on_report=lambda report: done.set() if report.state is LiveState.COMPLETE else None,
            idle_after=0.0,
        )
        assert done.wait(20)
        assert live.close()
        other.close()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert threads["stream"] == threads["live"]
    assert len(threads["live"]) == 1
