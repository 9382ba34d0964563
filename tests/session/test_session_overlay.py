"""The choice of overlay is checked, remembered per task, and drawn on a scale that its legend shares."""

from types import SimpleNamespace

import numpy as np
import pytest
from session_fakes import TASKS

from napari_mtlpath.session.overlay import (
    OverlayChoice,
    OverlayKind,
    OverlayMemory,
    colour_scale,
    unavailable_reason,
)
from napari_mtlpath.tasks import Classification


@pytest.mark.parametrize(
    "wrong", [{"opacity": 1.5}, {"opacity": -0.1}, {"threshold": float("nan")}, {"colormap": "jet"}, {"kind": "magic"}]
)
def test_a_wrong_choice_is_refused(wrong):
    with pytest.raises(ValueError):  # noqa: PT011 - the enumeration's own words for a wrong kind
        OverlayChoice(**wrong)


def test_each_task_keeps_its_kind_threshold_and_colours():
    memory = OverlayMemory()
    a = memory.changed(OverlayChoice(), {"task": "a"})
    a = memory.changed(a, {"kind": OverlayKind.ATTENTION, "threshold": 1.5, "colormap": "viridis", "outline": True})
    b = memory.changed(a, {"task": "b"})
    b = memory.changed(b, {"colormap": "cividis", "threshold": 0.25, "outline": False})
    back = memory.changed(b, {"task": "a"})
    assert (back.kind, back.threshold, back.colormap, back.outline) == (OverlayKind.ATTENTION, 1.5, "viridis", True)


def test_a_new_task_starts_with_nothing_hidden():
    memory = OverlayMemory()
    a = memory.changed(OverlayChoice(), {"task": "a", "threshold": 1.5})
    assert memory.changed(a, {"task": "b"}).threshold == 0.0


def test_each_kind_keeps_its_threshold_because_the_units_differ():
    memory = OverlayMemory()
    routing = memory.changed(OverlayChoice(), {"task": "a", "threshold": 3.0})
    prediction = memory.changed(routing, {"kind": "prediction"})
    assert prediction.threshold == 0.0
    assert memory.changed(prediction, {"kind": "routing"}).threshold == 3.0


def test_opacity_and_visibility_stay_across_tasks():
    memory = OverlayMemory()
    a = memory.changed(OverlayChoice(), {"task": "a"})
    b = memory.changed(a, {"task": "b", "opacity": 0.2, "visible": False})
    back = memory.changed(b, {"task": "a"})
    assert (back.opacity, back.visible) == (0.2, False)


def _heatmap(*values):
    return SimpleNamespace(values=np.array([values], np.float32))


@pytest.mark.parametrize(
    ("values", "top"),
    [
        ((np.nan,), 2),
        ((0.9, 1.1), 1.25),
        ((0.5, 1.5), 1.5),
        ((0.5, 1.9), 2),
        ((0, 4.9), 5),
        ((0, 60.0), 100),
        ((0, 9e9), 1000),
    ],
)
def test_relative_scales_end_at_a_round_number_above_the_values(values, top):
    scale = colour_scale(OverlayKind.ROUTING, TASKS[0], _heatmap(*values))
    assert (scale.low, scale.high) == (1.0, top)
    assert "Up to the average, 1, it is clear" in scale.words


def test_prediction_scales_are_those_of_the_task():
    binary = colour_scale(OverlayKind.PREDICTION, TASKS[0])
    assert (binary.low, binary.high) == (0.0, 1.0)
    assert "present" in binary.words
    regression = colour_scale(OverlayKind.PREDICTION, TASKS[1])
    assert (regression.low, regression.high, regression.unit) == (0.0, 1.0, "share")


def test_the_legend_names_the_class_whose_score_is_shown():
    stains = Classification(name="stain", classes=("H&E", "IHC", "Giemsa"))
    heatmap = SimpleNamespace(values=np.zeros((1, 1), np.float32), shown_class=1)
    assert colour_scale(OverlayKind.PREDICTION, stains, heatmap).words.startswith("The score of IHC for each tile")


@pytest.mark.parametrize(("values", "top"), [((np.nan,), 1.0), ((0.0, 0.04), 0.1), ((0.02, 0.31), 0.5), ((0.9,), 1.0)])
def test_what_is_rare_in_a_measured_task_has_colour_too(values, top):
    scale = colour_scale(OverlayKind.PREDICTION, TASKS[1], _heatmap(*values))
    assert (scale.low, scale.high) == (0.0, top)
    assert ("1 is possible" in scale.words) == (top < 1)


def test_overlays_and_heatmaps_have_the_same_kinds():
    from napari_mtlpath.inference.heatmap import HeatmapKind
    from napari_mtlpath.inference.pixels.painting import PaintKind

    assert {kind.value for kind in OverlayKind} == {kind.value for kind in (*HeatmapKind, *PaintKind)}


def test_a_missing_kind_has_a_reason():
    there = {("a", "routing"): _heatmap(1.0)}
    assert unavailable_reason(OverlayKind.ROUTING, "a", there) == ""
    assert "attention" in unavailable_reason(OverlayKind.ATTENTION, "a", there)
    assert unavailable_reason(OverlayKind.ROUTING, "a", {}) == "No tile has been analysed yet."
