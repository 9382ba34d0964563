import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from analysis_fakes import FakeModel, FakeSlide

from napari_mtlpath.inference.aggregate import aggregate
from napari_mtlpath.inference.calibration import calibrated
from napari_mtlpath.inference.plan import grid_for
from napari_mtlpath.inference.results import ValueWord
from napari_mtlpath.nn.outputs import BagOutput, TaskOutput
from napari_mtlpath.tasks import Classification


def result_of(model, indices, *, total=80, unreadable=0):
    slide = FakeSlide()
    grid = grid_for(slide, model)
    indices = np.asarray(indices)
    rows, columns = np.divmod(indices, grid.columns)
    features = np.stack([rows, columns, np.full(len(rows), 7)], axis=1).astype(np.float32)
    return aggregate(model, indices, features, grid, total, slide=slide, unreadable=unreadable)


def test_order_of_arrival_changes_no_bit():
    shuffled = np.random.default_rng(0).permutation(80)
    one, other = result_of(FakeModel(), np.arange(80)), result_of(FakeModel(), shuffled)
    assert [task.value for task in one.tasks] == [task.value for task in other.tasks]
    for key, heatmap in one.heatmaps.items():
        np.testing.assert_array_equal(heatmap.values, other.heatmaps[key].values)


def test_part_of_the_tissue_is_a_region_and_all_of_it_a_slide():
    assert result_of(FakeModel(), np.arange(79)).region_level
    assert not result_of(FakeModel(), np.arange(80)).region_level
    assert result_of(FakeModel(), np.arange(79), unreadable=1).complete


def test_result_names_its_model_and_its_slide():
    result = result_of(FakeModel(), np.arange(5))
    assert (result.model_digest, result.model_name) == ("1" * 64, "fake")
    assert (result.slide_fingerprint, result.slide_name) == (FakeSlide().fingerprint, "fake-7.svs")


def test_selected_tiles_lie_on_the_grid():
    selected = result_of(FakeModel(), np.arange(20)).selected["witness"]
    assert selected.shape == (8, 10)
    assert not selected[2:].any()
    assert selected[:2].any()


def test_uncalibrated_answer_is_a_score_and_a_regression_a_value():
    result = result_of(FakeModel(), np.arange(80))
    witness, share = result.of("witness"), result.of("share")
    assert (witness.word, witness.calibrated) == (ValueWord.SCORE, False)
    assert witness.value == pytest.approx(1 / (1 + math.exp(-0.5)))  # mean row 3.5, minus 3
    assert witness.class_values == pytest.approx((1 - witness.value, witness.value))
    assert (share.word, share.class_values) == (ValueWord.VALUE, ())
    assert share.value == pytest.approx(1.0)


def test_calibrated_answer_is_a_probability_only_over_the_whole_slide():
    model = FakeModel(calibration={"witness": {"temperature": 2.0}})
    whole, part = result_of(model, np.arange(80)).of("witness"), result_of(model, np.arange(70)).of("witness")
    assert (whole.word, whole.calibrated) == (ValueWord.PROBABILITY, True)
    assert (part.word, part.calibrated) == (ValueWord.SCORE, True)
    assert whole.value == pytest.approx(1 / (1 + math.exp(-0.25)))


@pytest.mark.parametrize(
    ("thresholds", "possible"),
    [
        ([0.3, 0.7], ("present",)),  # 1 - shares are .622 and .378
        ([0.7, 0.7], ("absent", "present")),
        ([math.inf, 0.3], ("absent",)),
        ([0.3, 0.3], ()),
    ],
)
def test_thresholds_of_the_card_leave_the_classes_that_remain_possible(thresholds, possible):
    model = FakeModel()
    model.card = replace(model.card, conformal={"witness": {"coverage": 0.9, "thresholds": thresholds}})
    answer = result_of(model, np.arange(80)).of("witness")
    assert (answer.possible.names, answer.possible.coverage) == (possible, 0.9)
    assert answer.possible.decided == (len(possible) == 1)
    assert result_of(model, np.arange(80)).of("share").possible is None


def test_a_part_of_a_slide_has_no_set_of_classes():
    model = FakeModel()
    model.card = replace(model.card, conformal={"witness": {"coverage": 0.9, "thresholds": [0.3, 0.7]}})
    assert result_of(model, np.arange(70)).of("witness").possible is None
    assert result_of(FakeModel(), np.arange(80)).of("witness").possible is None


def test_thresholds_that_do_not_fit_the_classes_are_refused():
    model = FakeModel()
    model.card = replace(model.card, conformal={"witness": {"coverage": 0.9, "thresholds": [0.3]}})
    with pytest.raises(ValueError, match="needs 'coverage' and 2 'thresholds'"):
        result_of(model, np.arange(80))


def test_task_with_classes_has_a_value_for_each():
    model = FakeModel()
    model.tasks = (Classification(name="kind", classes=("a", "b", "c")),)
    logits = torch.tensor([0.0, 1.0, 2.0])
    output = BagOutput(tasks={"kind": TaskOutput(logits=logits, embedding=torch.zeros(3))})
    model.aggregator.forward = lambda *arguments, **options: output
    answer = result_of(model, np.arange(4)).of("kind")
    assert answer.value is None
    assert answer.class_values == pytest.approx(torch.softmax(logits, 0).tolist())


def test_no_tile_is_refused():
    with pytest.raises(ValueError, match="at least one tile"):
        result_of(FakeModel(), np.arange(0))


def test_answer_that_is_not_finite_is_refused():
    model = FakeModel()
    output = TaskOutput(logits=torch.tensor([float("nan")]), embedding=torch.zeros(3))
    model.aggregator.forward = lambda *arguments, **options: BagOutput(tasks={"witness": output, "share": output})
    with pytest.raises(ValueError, match="no finite answer to task 'witness'"):
        result_of(model, np.arange(4))


def test_unknown_task_is_refused():
    with pytest.raises(KeyError, match="witness, share"):
        result_of(FakeModel(), np.arange(4)).of("other")


def test_temperature_and_platt_scaling_follow_their_formulas():
    logits = np.array([1.0, -2.0])
    assert calibrated(logits, None) is logits
    np.testing.assert_allclose(calibrated(logits, {"temperature": 2.0, "error": 0.01}), logits / 2)
    np.testing.assert_allclose(calibrated(logits, {"slope": 0.5, "intercept": 1}), 0.5 * logits + 1)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"temperature": 0.0}, "positive"),
        ({"temperature": math.nan}, "finite number"),
        ({"temperature": "1"}, "finite number"),
        ({"slope": 1.0}, "'slope' and 'intercept'"),
        ({"slope": True, "intercept": 0.0}, "finite number"),
    ],
)
def test_senseless_calibration_is_refused(parameters, words):
    with pytest.raises(ValueError, match=words):
        calibrated(np.zeros(1), parameters)
