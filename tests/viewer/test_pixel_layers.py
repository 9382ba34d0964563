"""Answers pixel by pixel on the slide: where they lie, what is see-through, whose wishes they follow."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pixel_fakes import DARKNESS, PARTS, TASKS, ColourModel, true_parts
from pixel_slides import DrawnSlide, KnownMpp

from napari_mtlpath.inference.pixels.answering import answer, planes_for, read_window
from napari_mtlpath.inference.pixels.maps import PixelMaps
from napari_mtlpath.inference.pixels.painting import PixelPainting
from napari_mtlpath.inference.pixels.plan import pixel_plan
from napari_mtlpath.inference.pixels.planes import Planes
from napari_mtlpath.inference.pixels.window_file import WindowFile
from napari_mtlpath.session.overlay import OverlayChoice
from napari_mtlpath.viewer.class_colours import COLOURS, class_table
from napari_mtlpath.viewer.heat_colours import TISSUE, lab
from napari_mtlpath.viewer.layers.composition import Box
from napari_mtlpath.viewer.layers.hover import HoverWords
from napari_mtlpath.viewer.layers.overlay_layer import OverlayLayers
from napari_mtlpath.viewer.layers.pixel_layer import PIXELS_KEY, PixelLayer
from napari_mtlpath.viewer.layers.pixel_overlay import PixelOverlay
from napari_mtlpath.viewer.layers.pixel_picture import PixelLook, PixelPicture
from napari_mtlpath.viewer.layers.slide_layer import slide_layer_data

CLASSES = OverlayChoice(task="cell_parts", kind="classes", opacity=1.0)


def analysed(slide, folder, *, indices=None, budget=2**28, layout=Planes.answers.fget):
    """Return the maps of a slide, all of it analysed or some tiles: of its answers, or of what `layout` makes."""
    model = ColourModel()
    plan, planes = pixel_plan(slide, model), layout(planes_for(model))
    file = WindowFile.fleeting(folder, key=plan.key, lattice=plan.lattice, planes=planes)
    maps = PixelMaps(plan.lattice, planes, file=file, budget=budget)
    known = plan.indices.tolist() if indices is None else indices
    tiles = [read_window(slide, plan.lattice, index) for index in known]
    said = answer(model, planes, tiles, size=len(tiles))
    maps.add(known, said.windows, said.numbers)
    return maps


def attended(slide, folder, **some):
    """Return the maps of attention of a slide."""
    return analysed(slide, folder, layout=Planes.explanations.fget, **some)


def painting_of(maps, attention=None):
    later = attention.version if attention is not None else 0
    return PixelPainting(maps=maps, attention=attention, version=maps.version + later)


def pixel_layer(maps, mpp, choice=CLASSES, task=PARTS):
    return PixelLayer(task, painting_of(maps), mpp=mpp, units=("um", "um"), choice=choice, dark=True)


@given(y=st.integers(0, 299), x=st.integers(0, 409), mpp=st.sampled_from([0.5, 0.25, 0.37]))
@settings(max_examples=40, deadline=None)
def test_the_colour_at_a_place_is_that_of_the_class_there(tmp_path_factory, y, x, mpp):
    maps = _maps_at(tmp_path_factory, mpp)
    layer = pixel_layer(maps, (mpp, mpp))
    row, column = np.round(layer.layer.world_to_data((y * mpp, x * mpp))).astype(int)
    height, width = maps.lattice.on_slide
    if row >= height or column >= width:
        return  # a pixel whose centre is beyond the slide
    centre = layer.layer.data_to_world((row, column))
    found = np.asarray(layer.layer.data[0][row : row + 1, column : column + 1])[0, 0]
    true = int(true_parts(*np.round(np.asarray(centre) / mpp)))
    near = {int(true_parts(*np.round(np.asarray(centre) / mpp) + step)) for step in np.ndindex(2, 2)}
    colours = class_table(3, dark=True)
    assert found.tolist() in [colours[number].tolist() for number in {true, *near}]
    layer.close()


_kept: dict[float, PixelMaps] = {}


def _maps_at(tmp_path_factory, mpp):
    if mpp not in _kept:
        slide = DrawnSlide(height=300, width=410, resolution=KnownMpp((mpp, mpp)))
        _kept[mpp] = analysed(slide, tmp_path_factory.mktemp("maps"))
    return _kept[mpp]


def test_every_level_shows_the_same_picture_at_half_the_size(tmp_path):
    slide = DrawnSlide(height=640, width=640)
    maps = analysed(slide, tmp_path)
    picture = PixelPicture(PixelLook(maps=maps, plane=maps.planes.first("darkness"), table=_grey()))
    whole = [picture.compose(level, Box(0, height, 0, width)) for level, (height, width) in enumerate(picture.levels)]
    for level, (height, width) in enumerate(picture.levels):
        assert (height << level, width << level) == picture.levels[0]
        block = whole[0][..., 0].reshape(height, 1 << level, width, 1 << level).mean(axis=(1, 3))
        assert np.abs(whole[level][..., 0] - block).max() <= 2  # halving rounds
    part = picture.compose(1, Box(20, 90, 33, 200))
    np.testing.assert_array_equal(part, whole[1][20:90, 33:200])
    maps.close()


def test_nothing_is_painted_beyond_the_slide(tmp_path):
    maps = analysed(DrawnSlide(height=300, width=410), tmp_path)  # cores of 32 pixels, one level-0 pixel each
    picture = PixelPicture(PixelLook(maps=maps, plane=maps.planes.first("darkness"), table=_grey()))
    for level in range(5):
        shown = picture.compose(level, Box(0, picture.levels[level][0], 0, picture.levels[level][1]))[..., 3] > 0
        rows, columns = -(-300 // 2**level), -(-410 // 2**level)
        assert shown[:rows, :columns].all()
        assert not shown[rows:].any()
        assert not shown[:, columns:].any()
    maps.close()


def _grey():
    table = np.arange(256, dtype=np.uint8)[:, None].repeat(4, axis=1)
    table[:, 3] = 255
    return table


def test_what_is_not_analysed_is_see_through_at_every_level(tmp_path):
    maps = analysed(DrawnSlide(), tmp_path, indices=[24, 25, 46])
    picture = PixelPicture(PixelLook(maps=maps, plane=maps.planes.first("darkness"), table=_grey()))
    for level, (height, width) in enumerate(picture.levels):
        shown = picture.compose(level, Box(0, height, 0, width))[..., 3] > 0
        side = maps.lattice.core_px >> level
        rows, columns = maps.lattice.grid.shape
        cores = shown[: rows * side, : columns * side].reshape(rows, side, columns, side).mean(axis=(1, 3))
        np.testing.assert_array_equal(cores, maps.known)
    maps.close()


def test_an_overview_stands_in_for_a_core_that_memory_let_go_of_until_it_is_back(tmp_path):
    import threading

    maps = analysed(DrawnSlide(), tmp_path, budget=600_000)
    picture = PixelPicture(
        PixelLook(maps=maps, plane=maps.planes.labels("cell_parts"), table=class_table(3, dark=True))
    )
    gone = next(index for index in range(len(maps.lattice.grid)) if maps.core(index, 0) is None)
    side = maps.lattice.core_px
    row, column = maps.lattice.grid.row_column(gone)
    box = Box(row * side, (row + 1) * side, column * side, (column + 1) * side)
    back = threading.Event()
    maps.on_restored = back.set
    coarse = picture.compose(0, box)
    assert back.wait(30)
    sharp = picture.compose(0, box)
    assert (coarse != sharp).any()
    labels = maps.blended(gone)[maps.planes.labels("cell_parts")]
    np.testing.assert_array_equal(sharp, class_table(3, dark=True)[labels])
    maps.close()


def test_contours_run_along_the_inside_of_regions_and_nowhere_else(tmp_path):
    maps = analysed(DrawnSlide(height=320, width=320), tmp_path)
    look = PixelLook(maps=maps, plane=maps.planes.labels("cell_parts"), table=class_table(3, dark=True), contours=True)
    picture = PixelPicture(look)
    height, width = picture.levels[0]
    labels = np.block(
        [[maps.blended(row * 10 + column)[look.plane] for column in range(10)] for row in range(10)]
    ).astype(int)
    shown = picture.compose(0, Box(0, height, 0, width))[..., 3] > 0
    around = np.pad(labels, 1, mode="edge")
    rim = np.zeros(labels.shape, bool)
    for down, right in ((0, 1), (2, 1), (1, 0), (1, 2)):
        rim |= around[down : down + height, right : right + width] != labels
    np.testing.assert_array_equal(shown, rim & (labels > 0))
    maps.close()


# Machado, Oliveira and Fernandes (2009): full protanopia and deuteranopia, on linear RGB.
BLIND = (
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    np.eye(3),
)


@pytest.mark.parametrize("dark", [True, False])
def test_the_first_classes_differ_for_the_colour_blind_and_from_stained_tissue(dark):
    encoded = np.array([[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in COLOURS[dark][:4]])
    encoded = np.vstack([encoded, TISSUE])
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    for sight in BLIND:
        seen = np.clip(linear @ np.asarray(sight).T, 0, 1)
        seen = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
        places = lab(seen)
        apart = np.linalg.norm(places[:, None] - places[None], axis=-1)[~np.eye(5, dtype=bool)]
        assert apart.min() > 12  # a just noticeable difference is about 2


@dataclass
class Result:
    painting: Any
    heatmaps: dict[Any, Any] = field(default_factory=dict)
    selected: dict[str, Any] = field(default_factory=dict)


class Session:
    """What the overlays see of a session."""

    def __init__(self, slide):
        self.slide = slide
        self.result = None
        self.tasks = TASKS
        self.overlay = CLASSES

    def set_overlay(self, **changes):
        self.overlay = replace(self.overlay, **changes)


@pytest.fixture
def stage(make_napari_viewer, make_slide, tmp_path):
    """A viewer with a slide, a session, its overlays, and answers for the slide."""
    viewer = make_napari_viewer(show=True)
    slide = make_slide(height=500, width=700)
    levels, arguments, _ = slide_layer_data(slide)
    layer = viewer.add_image(levels, **arguments)
    display = layer.metadata["mtlpath_display"]
    session = Session(slide)
    tiles, pixels = OverlayLayers(viewer, session), PixelOverlay(viewer, session)
    maps = analysed(DrawnSlide(), tmp_path)
    yield viewer, session, tiles, pixels, maps
    pixels.close()
    tiles.close()
    display.close(timeout=5.0)
    maps.close()


def layers_of_pixels(viewer):
    return [layer for layer in viewer.layers if PIXELS_KEY in layer.metadata]


@pytest.mark.gui
def test_one_layer_follows_task_kind_class_and_theme(stage, tmp_path):
    viewer, session, _, pixels, maps = stage
    attention = attended(DrawnSlide(), tmp_path, indices=[0])
    session.result = Result(painting_of(maps, attention))
    pixels.update()
    (layer,) = layers_of_pixels(viewer)
    assert (layer.name, layer.rgb, tuple(layer.units)) == ("Cell parts: classes", True, tuple(viewer.layers[0].units))
    first = np.asarray(layer.data[0][31:32, 31:32])[0, 0].tolist()
    assert first == class_table(3, dark=True)[2].tolist()

    viewer.theme = "light"
    pixels.update()
    assert np.asarray(layer.data[0][31:32, 31:32])[0, 0].tolist() == class_table(3, dark=False)[2].tolist()

    session.set_overlay(kind="probability", shown_class="nucleus")
    pixels.update()
    assert layer.name == "Cell parts: probability of nucleus"
    assert np.asarray(layer.data[0][31:32, 31:32])[0, 0, 3] > 200 > np.asarray(layer.data[0][:1, :1])[0, 0, 3]

    session.set_overlay(task="darkness", kind="prediction")
    pixels.update()
    assert layers_of_pixels(viewer) == [layer]
    assert layer.name == "Darkness: prediction"

    session.set_overlay(task="has_nucleus", kind="prediction")  # painted tile by tile
    pixels.update()
    assert not layer.visible
    session.set_overlay(task="cell_parts", kind="cross-task")
    pixels.update()
    assert (layer.visible, layer.name) == (True, "Cell parts: cross-task")
    side = maps.lattice.core_px
    shown = np.asarray(layer.data[0][: 2 * side, : 2 * side])[..., 3] > 0
    assert shown[:side, :side].mean() > 0.9  # what is lightest is clear
    assert not shown[side:].any()
    assert not shown[:, side:].any()  # answered, but nobody has looked at its attention yet
    dark = round(maps.lattice.step * 31 * 0.5, 3)
    assert pixels.shown.words_at((dark, dark)).startswith("Cell parts: cross-task: 0.")
    assert pixels.shown.words_at((dark, 4 * dark)) == "Cell parts: cross-task: not analysed"
    attention.close()


@pytest.mark.gui
def test_the_layer_goes_with_its_answers_and_comes_with_others(stage, tmp_path):
    viewer, session, _, pixels, maps = stage
    session.result = Result(painting_of(maps))
    pixels.update()
    (layer,) = layers_of_pixels(viewer)
    session.result = None
    pixels.update()
    assert layers_of_pixels(viewer) == []

    other = analysed(DrawnSlide(), tmp_path, indices=[3])
    session.result = Result(painting_of(other))
    pixels.update()
    (newer,) = layers_of_pixels(viewer)
    assert newer is not layer
    other.close()  # the analysis ends while its picture is still on screen
    assert np.asarray(newer.data[0][:64, :64]).shape == (64, 64, 4)
    newer.refresh()


@pytest.mark.gui
def test_a_deleted_layer_switches_the_overlay_off_and_napari_has_its_say(stage, until):
    viewer, session, _, pixels, maps = stage
    session.result = Result(painting_of(maps))
    pixels.update()
    (layer,) = layers_of_pixels(viewer)
    layer.opacity = 0.3
    assert session.overlay.opacity == pytest.approx(0.3)
    viewer.layers.remove(layer)
    until(lambda: not session.overlay.visible)
    pixels.update()
    assert layers_of_pixels(viewer) == []
    session.set_overlay(visible=True)
    pixels.update()
    assert len(layers_of_pixels(viewer)) == 1


@pytest.mark.gui
def test_the_status_bar_says_class_and_probability(stage):
    viewer, session, tiles, pixels, maps = stage
    session.result = Result(painting_of(maps))
    pixels.update()
    hover = HoverWords(viewer, tiles, pixels)
    viewer.cursor.position = (31 * 0.5, 31 * 0.5)
    viewer.status = "ready"
    assert "Cell parts: classes: nucleus, probability 1.0" in str(viewer.status)
    assert pixels.shown.words_at((-50.0, 3.0)) == ""
    hover.close()


def test_pixels_of_a_number_are_said_with_their_unit(tmp_path):
    maps = analysed(DrawnSlide(), tmp_path)
    layer = pixel_layer(maps, (0.5, 0.5), OverlayChoice(task="darkness", kind="prediction"), DARKNESS)
    assert layer.words_at((31 * 0.5, 31 * 0.5)) == "Darkness: prediction: 0.843 share"
    layer.close()
    maps.close()
