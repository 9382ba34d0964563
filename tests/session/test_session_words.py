"""What is said on screen, and what is remembered about the panel."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from session_fakes import FakeSlide, fake_model, fake_result

from napari_mtlpath.inference.results import Scope, TaskResult, ValueWord
from napari_mtlpath.session.card_words import card_words, kind_words
from napari_mtlpath.session.overlay import OverlayKind, colour_scale
from napari_mtlpath.session.pointing import value_at
from napari_mtlpath.session.preferences import PanelPreferences
from napari_mtlpath.session.wording import (
    RESEARCH_USE,
    class_bars,
    end_words,
    fraction,
    over_words,
    possible_words,
    scope_words,
    size_words,
    threshold_words,
    unreadable_words,
    value_words,
)
from napari_mtlpath.tasks import Classification, Regression, Segmentation


def answer(task, value, class_values=(), word="score"):
    return SimpleNamespace(
        task=task, value=value, class_values=class_values, word=word, calibrated=word != "score", possible=None
    )


def test_the_word_probability_appears_only_where_the_result_allows_it():
    task = Classification(name="a")
    assert value_words(answer(task, 0.874)) == "score 0.87"
    assert value_words(answer(task, 0.874, word="probability")) == "probability 0.87"


def test_what_remains_possible_is_said_only_where_the_card_promises_a_coverage():
    given = answer(Classification(name="a"), 0.5)
    assert possible_words(given) == ""
    given.possible = SimpleNamespace(names=("absent", "present"), coverage=0.9)
    assert possible_words(given) == "At 90 % coverage: absent or present, so undecided"


def test_a_regression_has_its_unit_and_no_word_of_chance():
    task = Regression(name="n", unit="1/mm2", low=0, high=400)
    assert value_words(answer(task, 123.4, word="value")) == "123 1/mm2"
    assert fraction(answer(task, 100.0)) == 0.25


def test_a_share_is_read_as_per_cent_and_never_lies_beyond_its_range():
    task = Regression(name="dab", unit="share of area")
    assert value_words(answer(task, 0.131, word="value")) == "13% of area"
    assert value_words(answer(task, -0.0284, word="value")) == "0% of area"
    assert value_words(answer(task, 1.2, word="value")) == "100% of area"
    assert end_words(task) == ("0%", "100%")


def test_a_measure_beyond_its_range_is_not_shown_as_a_number():
    task = Regression(name="n", unit="mitoses", low=0, high=40)
    assert value_words(answer(task, -2.0, word="value")) == "0 mitoses or less"
    assert value_words(answer(task, 41.0, word="value")) == "40 mitoses or more"


@pytest.mark.parametrize(("value", "filled"), [(-1.0, 0.0), (2.0, 1.0), (None, 0.0)])
def test_a_bar_never_leaves_its_frame(value, filled):
    assert fraction(answer(Regression(name="n"), value)) == filled


def test_a_part_of_the_tissue_is_never_called_the_slide():
    slide, model = FakeSlide(), fake_model()
    part, whole = fake_result(slide, model, known=3, total=12), fake_result(slide, model, known=12, total=12)
    assert "region-level (partial)" in scope_words(part)
    assert "slide-level" not in scope_words(part)
    assert scope_words(whole) == "12 of 12 tissue tiles: slide-level"
    whole.unreadable = 2
    assert scope_words(whole).endswith("2 unreadable")


def test_sizes_have_millimetres_only_where_the_scale_is_known():
    assert size_words(FakeSlide(shape=(1000, 2000), mpp=None)) == "2,000 x 1,000 px"
    assert size_words(FakeSlide(shape=(1000, 2000), mpp=(0.5, 0.25))) == "2,000 x 1,000 px (0.5 x 0.5 mm)"


def test_unreadable_tiles_are_counted_in_words():
    assert unreadable_words(0) == ""
    assert unreadable_words(1).startswith("1 tile of the file was")
    assert "kept from the model" in unreadable_words(3)


def test_thresholds_are_said_in_the_units_of_the_heatmap():
    task = Classification(name="a")
    routing, prediction = (colour_scale(kind, task) for kind in (OverlayKind.ROUTING, OverlayKind.PREDICTION))
    assert threshold_words(0.0, OverlayKind.ROUTING, routing) == "Tiles above the average are coloured."
    assert "No tile is hidden" in threshold_words(0.0, OverlayKind.PREDICTION, prediction)
    assert "1.5 times the average" in threshold_words(1.5, OverlayKind.ROUTING, routing)
    assert "at least 0.50" in threshold_words(0.5, OverlayKind.PREDICTION, prediction)


def test_a_card_puts_every_figure_beside_its_floor():
    card = fake_model(made_for="smears").card
    card.attribution = "Cells of a public data set."
    card.metrics = {"basophils": {"auc": 0.931, "auc_floor": 0.5, "auc_low": 0.9, "auc_high": 0.96}}
    words = card_words(card)
    assert "Basophils: auc 0.931 (95 % 0.9 to 0.96); the trivial answer reaches 0.5" in words
    assert "Made for: smears." in words
    assert "CC0-1.0. Cells of a public data set." in words
    assert words.endswith(RESEARCH_USE)


def test_the_value_under_a_place_is_that_of_its_tile():
    import numpy as np

    values = np.array([[1.0, 2.0], [np.nan, 4.0]], np.float32)
    heatmap = SimpleNamespace(values=values, grid=SimpleNamespace(side=100))
    assert value_at(heatmap, 0, 99.4) == 1.0
    assert value_at(heatmap, 0, 99.6) == 2.0
    assert value_at(heatmap, 150, 150) == 4.0
    assert value_at(heatmap, 150, 50) is None
    assert value_at(heatmap, -0.6, 50) is None
    assert value_at(heatmap, 50, 250) is None


def test_the_panel_is_remembered_and_a_broken_file_is_left_out(tmp_path):
    kept = PanelPreferences(tmp_path / "panel.json")
    assert kept.read() == {}
    kept.write({"slide": False, "model": True})
    assert PanelPreferences(tmp_path / "panel.json").read() == {"slide": False, "model": True}
    for broken in ("{", "[]", '{"open": 3}', '{"open": {"slide": "yes"}}', "[" * 50_000):
        (tmp_path / "panel.json").write_text(broken, encoding="utf-8")
        assert kept.read() == {}


def test_means_over_tiles_and_areas_are_called_what_they_are():
    parts = Segmentation(name="parts", classes=("background", "cytoplasm", "nucleus"))
    shared = TaskResult(
        task=parts,
        value=None,
        class_values=(0.7, 0.2, 0.1),
        calibrated=False,
        word=ValueWord.SHARE,
        scope=Scope.PIXELS,
        areas_mm2=(1.4, 0.4, 0.2),
    )
    kind = Classification(name="kind")
    mean = TaskResult(
        task=kind, value=0.25, class_values=(0.75, 0.25), calibrated=False, word=ValueWord.SCORE, scope=Scope.TILES
    )
    result = SimpleNamespace(tiles_known=12, tiles_total=40, complete=False, unreadable=0, tasks=(shared, mean))
    assert over_words(shared, result) == "Of 2 mm² in 12 of 40 tiles"
    assert over_words(mean, result) == "Mean over 12 of 40 tiles"
    assert over_words(replace(mean, scope=Scope.SLIDE), result) == ""
    assert value_words(shared) == "30.0% of area"
    assert class_bars(shared) == [
        ("background 70.0%, 1.4 mm²", 0.7),
        ("cytoplasm 20.0%, 0.4 mm²", 0.2),
        ("nucleus 10.0%, 0.2 mm²", 0.1),
    ]
    assert scope_words(result) == "12 of 40 tissue tiles: a part of the tissue"
    result.complete = True
    assert "slide-level" not in scope_words(result)
    result.tasks = (replace(mean, scope=Scope.SLIDE),)
    assert scope_words(result) == "12 of 40 tissue tiles: slide-level"


def test_a_card_says_how_its_model_answers():
    whole = fake_model().card
    assert kind_words(whole) == "whole slides"
    whole.tile_tasks = tuple(task.name for task in whole.tasks)
    assert kind_words(whole) == "tile by tile"
    pixels = fake_model().card
    pixels.network, pixels.masks, pixels.attribution = "ctan", "derived, not annotated", ""
    assert kind_words(pixels) == "pixel by pixel"
    words = card_words(pixels)
    assert "Answers pixel by pixel." in words
    assert "Masks: derived, not annotated" in words
    assert "with the network ctan" in words
