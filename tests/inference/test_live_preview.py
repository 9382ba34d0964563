"""Another model of the same encoder judges the tiles in memory: nothing is read or encoded again."""

import math
import threading
from dataclasses import replace

import pytest
import torch
from analysis_fakes import FakeModel, FakeSlide, MeanColour
from test_live_analysis import Listener

from napari_mtlpath.features.store import FeatureStore
from napari_mtlpath.inference.live import LiveAnalysis, LiveState
from napari_mtlpath.tasks import Classification

NEW = Classification(name="new")


@pytest.fixture
def listener():
    return Listener()


@pytest.fixture
def analyse(tmp_path, listener):
    store, started = FeatureStore(tmp_path / "features.sqlite"), []

    def start(slide, model, **options):
        started.append(LiveAnalysis(slide, model, store=store, on_report=listener, **{"idle_after": 0.0, **options}))
        return started[-1]

    yield start
    for live in started:
        assert live.close()
    store.close()


def grown(model, *, digest="2" * 64):
    child = FakeModel()
    child.encoder, child.digest = model.encoder, digest
    child.tasks = child.aggregator.tasks = (*model.tasks, NEW)
    return child


def _digest(report):
    return None if report.result is None else report.result.model_digest


def answers(report):
    return [] if report.result is None else [answer.task.name for answer in report.result.tasks]


@pytest.mark.parametrize("paused", [False, True])
def test_a_preview_judges_what_is_known_without_reading_or_encoding(analyse, listener, paused):
    slide, model = FakeSlide(), FakeModel()
    live = analyse(slide, model)
    listener.wait_for_state(LiveState.COMPLETE)
    reads, batches = len(slide.reads), len(model.encoder.batches)
    if paused:
        live.pause()
    live.preview(grown(model))
    report = listener.wait_for(lambda report: "new" in answers(report))
    assert answers(report) == ["witness", "share", "new"]
    assert report.result.model_digest == "2" * 64
    assert report.result.tiles_known == 80
    assert (len(slide.reads), len(model.encoder.batches)) == (reads, batches)


def test_the_analysis_own_model_judges_again_after_the_preview(analyse, listener):
    model = FakeModel()
    live = analyse(FakeSlide(), model)
    live.preview(grown(model))
    listener.wait_for(lambda report: report.state is LiveState.COMPLETE and "new" in answers(report))
    live.preview(None)
    listener.wait_for(lambda report: report is listener.reports[-1] and answers(report) == ["witness", "share"])


def test_each_snapshot_of_a_training_is_painted_anew(analyse, listener):
    model = FakeModel()
    live = analyse(FakeSlide(), model)
    listener.wait_for_state(LiveState.COMPLETE)
    for number in range(3):
        digest = f"{number}" * 64
        live.preview(grown(model, digest=digest))
        listener.wait_for(lambda report, digest=digest: _digest(report) == digest)


def test_tiles_that_arrive_during_a_preview_are_judged_by_it(analyse, listener):
    slide, model = FakeSlide(gate=threading.Event()), FakeModel()
    live = analyse(slide, model)
    live.preview(grown(model))
    slide.gate.set()
    report = listener.wait_for_state(LiveState.COMPLETE)
    assert answers(report) == ["witness", "share", "new"]
    assert report.result.complete


def test_a_preview_survives_a_re_run(analyse, listener):
    model = FakeModel()
    live = analyse(FakeSlide(), model)
    live.preview(grown(model))
    listener.wait_for(lambda report: report.state is LiveState.COMPLETE and "new" in answers(report))
    count = len(listener.reports)
    live.rerun()
    listener.wait_for(
        lambda report: report in listener.reports[count:] and report.state is LiveState.COMPLETE and answers(report)
    )
    assert "new" in answers(listener.reports[-1])


def test_a_snapshot_without_a_finite_answer_is_left_out_and_the_analysis_goes_on(analyse, listener):
    model = FakeModel()
    live = analyse(FakeSlide(), model)
    listener.wait_for_state(LiveState.COMPLETE)
    broken = grown(model)
    forward = broken.aggregator.forward

    def spoilt(bag, coordinates=None, *, explain=False):
        output = forward(bag, coordinates, explain=explain)
        output.tasks["new"] = replace(output.tasks["new"], logits=torch.full((1,), math.nan))
        return output

    broken.aggregator.forward = spoilt
    live.preview(broken)
    listener.wait_for(lambda report: "The preview is left out" in report.message)
    assert all(report.state is not LiveState.FAILED for report in listener.reports)
    live.preview(grown(model))
    listener.wait_for(lambda report: "new" in answers(report))


def test_a_model_of_another_encoder_cannot_be_previewed(analyse):
    model = FakeModel()
    live = analyse(FakeSlide(), model)
    other = grown(model)
    other.encoder = MeanColour()
    other.encoder.digest = "9" * 64
    with pytest.raises(ValueError, match="Load the model instead"):
        live.preview(other)


def test_tile_answers_are_shown_for_tasks_that_learned_from_tiles(analyse, listener):
    model = FakeModel()
    model.card.slide_labels_only = True
    live = analyse(FakeSlide(), model)
    listener.wait_for_state(LiveState.COMPLETE)
    child = grown(model)
    child.card.slide_labels_only, child.card.tile_labels = True, {"new": 40}
    live.preview(child)
    report = listener.wait_for(lambda report: "new" in answers(report))
    shown = {task for task, kind in report.result.heatmaps if kind == "prediction"}
    assert shown == {"new"}
