"""The colours of heatmaps let the slide through where values are low, and grow evenly on any tissue."""

import numpy as np
import pytest
from skimage.color import rgb2lab

from napari_mtlpath.session.overlay import COLORMAPS
from napari_mtlpath.viewer.heat_colours import PARTS, TISSUE, USUAL_OPACITY, first_shown, heat_colours, lab, over
from napari_mtlpath.viewer.layers.heatmap_layer import threshold_colormap

pytestmark = pytest.mark.gui

BACKGROUNDS = {
    "glass": (0.95, 0.95, 0.95),
    "smear": (0.9, 0.8, 0.75),
    "stroma": (0.85, 0.5, 0.65),
    "nuclei": (0.45, 0.3, 0.55),
    "fluorescence": (0.05, 0.05, 0.1),
}


def test_every_colour_map_that_can_be_chosen_has_its_colours():
    assert set(COLORMAPS) == set(PARTS)


def test_distances_are_measured_as_the_library_does():
    colours = np.random.default_rng(0).random((200, 3))
    np.testing.assert_allclose(lab(colours), rgb2lab(colours[None])[0], atol=0.05)


@pytest.mark.parametrize("name", COLORMAPS)
def test_the_lowest_value_leaves_the_slide_as_it_is(name):
    for background in BACKGROUNDS.values():
        np.testing.assert_allclose(over(heat_colours(name), background)[0], background)


@pytest.mark.parametrize("name", COLORMAPS)
def test_equal_steps_look_equal_on_stained_tissue(name):
    seen = lab(over(heat_colours(name, count=33), TISSUE, opacity=USUAL_OPACITY))
    steps = np.linalg.norm(np.diff(seen, axis=0), axis=1)
    assert steps.max() / steps.min() < 1.15


@pytest.mark.parametrize("name", COLORMAPS)
@pytest.mark.parametrize("background", BACKGROUNDS)
def test_a_higher_value_is_never_fainter(name, background):
    plain = np.array(BACKGROUNDS[background])
    seen = over(heat_colours(name, count=33), plain, opacity=USUAL_OPACITY)
    away = np.linalg.norm(lab(seen) - lab(plain), axis=1)
    assert (np.diff(away) > 0).all()
    assert away[-1] > 35  # a difference of 2.3 is just noticeable


@pytest.mark.parametrize("hidden", [0.0, 0.01, 0.3, 0.7, 1.0])
def test_what_stays_above_a_threshold_keeps_its_colours_nearly(hidden):
    start = first_shown(hidden)
    assert hidden <= start <= hidden + 1 / 8
    values = np.linspace(hidden, 1, 9)
    whole = heat_colours("viridis", count=1025)[np.round(values * 1024).astype(int)]
    part = heat_colours("viridis", start=start, count=9)
    assert np.abs(whole - part).max() < 0.3
    assert hidden == 0 or part[0, 3] > 0.05


def test_few_colour_maps_serve_all_thresholds():
    names = {threshold_colormap("viridis", start=first_shown(share)).name for share in np.linspace(0, 1, 201)}
    assert len(names) == 9
