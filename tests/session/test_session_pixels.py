"""A session whose model answers pixel by pixel: the same verbs, other pictures, and what is not possible said."""

import threading
import time

import numpy as np
import pytest
from pixel_fakes import TASKS, ColourModel
from session_fakes import FakeAnalysis, FakeSlide, fake_model
from synthetic import tissue, write_aperio_like

from napari_mtlpath.session.overlay import OverlayKind, kinds_to_choose
from napari_mtlpath.session.pointing import words_under
from napari_mtlpath.session.session import Session
from napari_mtlpath.slides.open import open_slide

PATIENCE = 120.0


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_aperio_like(tmp_path_factory.mktemp("slides") / "a.svs", tissue(300, 400), mpp=0.5)


@pytest.fixture
def session():
    made = Session()
    yield made
    made.close()
    ours = ("mtlpath-inference", "mtlpath-reader", "mtlpath-pixels", "mtlpath-session")
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith(ours)] == []


def until(holds):
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def test_a_pixel_model_is_analysed_painted_and_pointed_at(session, path):
    session.attach_slide(open_slide(path))
    session.set_model(ColourModel(tile_px=64))
    session.look_at((0.0, 0.0, 300.0, 400.0))
    until(lambda: session.report is not None and session.report.state == "complete")
    result = session.result
    assert session.overlay.kind is OverlayKind.CLASSES
    assert kinds_to_choose(TASKS[0], result.offered) == (
        OverlayKind.CLASSES,
        OverlayKind.PROBABILITY,
        OverlayKind.CROSS_TASK,
    )
    grid = result.painting.maps.lattice.grid
    y, x = (place + grid.side // 2 for place in grid.corner(int(np.flatnonzero(result.painting.maps.known)[0])))
    assert "probability" in words_under(result, session.overlay, None, y, x)
    session.set_overlay(task="darkness")  # nothing comes any more: the picture that there is must show at once
    assert session.overlay.kind is OverlayKind.PREDICTION
    assert words_under(result, session.overlay, None, y, x).endswith("share")
    shares = result.of("cell_parts").class_values
    assert sum(shares) == pytest.approx(1.0)


def test_attention_is_computed_when_its_overlay_is_chosen_and_shows_its_progress(session, path):
    model = ColourModel(tile_px=64, delay=0.02)
    session.attach_slide(open_slide(path))
    session.set_model(model)
    session.look_at((0.0, 0.0, 300.0, 400.0))
    until(lambda: session.report is not None and session.report.state == "complete")
    assert sum(attention for *_, attention in model.asked) == 1  # the blank tiles at the beginning
    heard, grid = [], session.result.painting.maps.lattice.grid
    y, x = (place + grid.side // 2 for place in grid.corner(int(np.flatnonzero(session.result.painting.maps.known)[0])))
    session.report_changed.connect(heard.append)

    session.set_overlay(kind="cross-task")
    assert words_under(session.result, session.overlay, None, y, x) == "not analysed"
    until(lambda: any(report.state == "running" and report.tiles_known < report.tiles_total for report in heard))
    until(lambda: session.report.state == "complete" and session.report.tiles_known == session.report.tiles_total)
    until(lambda: words_under(session.result, session.overlay, None, y, x).startswith("0."))
    assert session.overlay.kind is OverlayKind.CROSS_TASK

    asked, other = len(model.asked), ColourModel(tile_px=64, name="other")
    session.set_overlay(kind="classes")
    session.set_overlay(kind="cross-task")
    session.set_model(other)  # looked at from its first tile on
    until(lambda: session.result is not None and session.result.complete and session.result.model_name == "other")
    assert all(attention for *_, attention in other.asked)
    session.set_model(model)
    until(lambda: session.result is not None and session.result.complete and session.result.model_name != "other")
    assert len(model.asked) == asked


def test_an_overlay_that_is_not_shown_asks_for_no_attention():
    made = []

    def analyse(slide, model, on_report):
        made.append(FakeAnalysis(slide, model, on_report, talk=False))
        return made[-1]

    session = Session(analyse=analyse)
    session.attach_slide(FakeSlide())
    session.set_model(fake_model())
    session.settle(PATIENCE)
    for changes in ({"kind": "cross-task", "visible": False}, {"visible": True}, {"visible": False}):
        session.set_overlay(**changes)
    asked = [call for call in made[0].calls if call[0] == "explain"]
    session.close()
    assert asked == [("explain", True), ("explain", False)]


def test_nothing_can_be_taught_to_a_pixel_model_and_one_sentence_says_so(session):
    assert session.unteachable == ""
    session.set_model(ColourModel())
    assert session.slide_model is None
    assert session.unteachable.startswith("'Parts by colour' answers pixel by pixel: tasks cannot be labelled")
    slide_model = fake_model()
    session.set_model(slide_model)
    assert session.slide_model is slide_model
    assert session.unteachable == ""


def test_slides_and_models_are_switched_at_any_instant(session, path):
    random = np.random.default_rng(0)
    models = [ColourModel(tile_px=64, name="a"), ColourModel(tile_px=40, name="b", delay=0.003), None]
    for _ in range(12):
        if random.random() < 0.5:
            session.attach_slide(open_slide(path))
        session.set_model(models[random.integers(3)])
        session.look_at((0.0, 0.0, float(random.integers(50, 300)), 200.0))
        time.sleep(float(random.random()) * 0.1)
    session.set_model(models[0])
    session.attach_slide(open_slide(path))
    until(lambda: session.result is not None and session.result.complete)
    assert session.result.model_name == "a"
    assert session.result.painting is not None
