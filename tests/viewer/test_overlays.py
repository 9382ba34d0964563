"""Heatmaps on the slide: where they lie, what they hide, and whose wishes they follow."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from napari_mtlpath.inference.heatmap import Heatmap, HeatmapKind, placement
from napari_mtlpath.session.overlay import OverlayChoice
from napari_mtlpath.tasks import Classification
from napari_mtlpath.tiles.grid import TileGrid
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.units import Microns, TilePixels
from napari_mtlpath.viewer.layers.heatmap_layer import HEATMAP_KEY
from napari_mtlpath.viewer.layers.hover import HoverWords
from napari_mtlpath.viewer.layers.outline import fineness, outline_image
from napari_mtlpath.viewer.layers.overlay_layer import OverlayLayers
from napari_mtlpath.viewer.layers.slide_layer import slide_layer_data

BASOPHILS = Classification(name="basophils", title="Basophils")
NEUTROPHILS = Classification(name="neutrophils", title="Neutrophils")


@dataclass
class Result:
    heatmaps: dict[Any, Any]
    selected: dict[str, Any] = field(default_factory=dict)


class Session:
    """What the overlays see of a session."""

    def __init__(self, slide):
        self.slide = slide
        self.result = None
        self.tasks = (BASOPHILS, NEUTROPHILS)
        self.overlay = OverlayChoice(task="basophils", threshold=0.0, opacity=1.0)

    def set_overlay(self, **changes):
        self.overlay = replace(self.overlay, **changes)


def grid_of(slide, tile_um):
    spec = TileSpec(tile_um=Microns(tile_um), tile_px=TilePixels(64))
    return TileGrid.for_slide(height=slide.height, width=slide.width, mpp=slide.resolution.mpp, spec=spec)


def heatmap(grid, values, task="basophils"):
    return Heatmap(task=task, kind=HeatmapKind.ROUTING, values=values.astype(np.float32), grid=grid)


def result_of(*heatmaps, selected=None):
    return Result({(one.task, one.kind): one for one in heatmaps}, selected or {})


@pytest.fixture
def stage(make_napari_viewer, until, make_slide):
    """A viewer with a slide, a session and its overlays."""
    opened = []

    def make(**options):
        viewer = make_napari_viewer(show=True)
        slide = make_slide(**({"height": 2000, "width": 3000} | options))
        levels, arguments, _ = slide_layer_data(slide)
        layer = viewer.add_image(levels, **arguments)
        display = layer.metadata["mtlpath_display"]
        display.show_in(layer)
        session = Session(slide)
        overlays = OverlayLayers(viewer, session)
        opened.append((display, overlays))
        return viewer, session, overlays

    yield make
    for display, overlays in opened:
        overlays.close()
        display.close(timeout=5.0)


def layers_of_tasks(viewer):
    return {layer.metadata[HEATMAP_KEY]: layer for layer in viewer.layers if HEATMAP_KEY in layer.metadata}


def canvas(viewer):
    return viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)


@pytest.mark.parametrize(
    ("mpp", "tile_um", "zoom", "centre_px"),
    [(0.5, 64.0, 1.3, (900, 1400)), (0.25, 30.0, 3.1, (500, 800)), (0.499, 100.3, 0.9, (1100, 1700))],
)
def test_heatmap_lies_on_its_tiles(stage, until, mpp, tile_um, zoom, centre_px):
    """Squares painted on the slide and a heatmap of just these tiles agree on the screen to one pixel."""
    side = round(tile_um / mpp)

    def paint(y, x):
        chosen = ((y // side + 2 * (x // side)) % 3 == 0) & (y + x >= 0)
        return np.where(chosen[..., None], np.array([250, 40, 40]), np.array([40, 40, 250]))

    viewer, session, overlays = stage(paint=paint, mpp=mpp)
    grid = grid_of(session.slide, tile_um)
    assert grid.side == side
    rows, columns = np.indices(grid.shape)
    chosen = (rows + 2 * columns) % 3 == 0
    viewer.scene.camera.zoom = zoom
    viewer.scene.camera.center = (0, centre_px[0] * mpp, centre_px[1] * mpp)
    session.result = result_of(heatmap(grid, np.where(chosen, 5.0, np.nan)))
    overlays.update()
    layer = layers_of_tasks(viewer)["basophils"]
    canvas(viewer)
    display = viewer.layers[0].metadata["mtlpath_display"]
    until(lambda: display.settled)
    layer.visible = False
    before = canvas(viewer)
    layer.visible = True
    after = canvas(viewer)
    painted = np.abs(after - before).sum(-1) > 0
    red = (before[..., 0] > 200) & (before[..., 2] < 100)
    blue = (before[..., 2] > 200) & (before[..., 0] < 100)
    assert painted.mean() > 0.1
    assert (painted & _eroded(blue)).sum() == 0
    assert (~painted & _eroded(red)).sum() == 0


def _eroded(mask):
    """Pixels whose eight neighbours are in the mask too: all but a border of one pixel."""
    inner = mask.copy()
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            inner &= np.roll(mask, (dy, dx), (0, 1))
    inner[[0, -1]] = inner[:, [0, -1]] = False
    return inner


def test_unknown_tiles_and_those_below_the_threshold_show_the_slide(stage, until):
    viewer, session, overlays = stage(paint=lambda y, x: np.full((*np.broadcast(y, x).shape, 3), 200))
    grid = grid_of(session.slide, 250.0)  # 500 px: 4 x 6 tiles
    values = np.full(grid.shape, np.nan)
    values[:, :2], values[:, 2:4] = 1.0, 4.0
    session.result = result_of(heatmap(grid, values))
    session.overlay = replace(session.overlay, threshold=2.0)
    overlays.update()
    until(lambda: (canvas(viewer) == 200).all(-1).any())
    shown = canvas(viewer)
    layer = viewer.layers[0]

    def colour(row, column):
        world = np.array([(row + 0.5) * 500, (column + 0.5) * 500]) * 0.5
        centre, half = np.array(viewer.scene.camera.center[-2:]), np.array(viewer.canvas.size) / 2
        y, x = np.round((world - centre) * viewer.scene.camera.zoom + half).astype(int)
        return tuple(shown[y, x])

    assert layer.visible
    assert colour(1, 0) == (200, 200, 200)
    assert colour(1, 5) == (200, 200, 200)
    assert colour(1, 2) != (200, 200, 200)


def test_values_change_in_place(stage):
    viewer, session, overlays = stage()
    grid = grid_of(session.slide, 100.0)
    session.result = result_of(heatmap(grid, np.zeros(grid.shape)))
    overlays.update()
    layer, data = layers_of_tasks(viewer)["basophils"], layers_of_tasks(viewer)["basophils"].data
    session.result = result_of(heatmap(grid, np.ones(grid.shape)))
    overlays.update()
    assert layers_of_tasks(viewer)["basophils"] is layer
    assert layer.data is data
    assert (layer.data == 1).all()


def test_what_the_user_changes_in_naparis_controls_stays(stage):
    viewer, session, overlays = stage()
    grid = grid_of(session.slide, 100.0)
    session.result = result_of(heatmap(grid, np.zeros(grid.shape)))
    overlays.update()
    layer = layers_of_tasks(viewer)["basophils"]
    layer.opacity = 0.3
    assert session.overlay.opacity == pytest.approx(0.3)
    layer.colormap = "gray"
    session.result = result_of(heatmap(grid, np.ones(grid.shape)))
    overlays.update()
    assert layer.opacity == pytest.approx(0.3)
    assert layer.colormap.name == "gray"
    layer.visible = False
    assert not session.overlay.visible
    overlays.update()
    assert not layer.visible
    session.set_overlay(visible=True)
    overlays.update()
    assert layer.visible


def test_a_deleted_layer_stays_away_until_the_overlay_is_switched_on_again(stage, until):
    viewer, session, overlays = stage()
    grid = grid_of(session.slide, 100.0)
    session.result = result_of(heatmap(grid, np.zeros(grid.shape)))
    overlays.update()
    viewer.layers.remove(layers_of_tasks(viewer)["basophils"])
    until(lambda: not session.overlay.visible)
    session.result = result_of(heatmap(grid, np.ones(grid.shape)))
    overlays.update()
    assert not layers_of_tasks(viewer)
    session.set_overlay(visible=True)
    overlays.update()
    assert (layers_of_tasks(viewer)["basophils"].data == 1).all()


def test_deleting_all_layers_is_not_a_wish_about_the_next_slide(stage, until):
    viewer, session, overlays = stage()
    grid = grid_of(session.slide, 100.0)
    session.result = result_of(heatmap(grid, np.zeros(grid.shape)))
    overlays.update()
    slide_layer = viewer.layers[0]
    viewer.layers.clear()
    session.slide = session.result = None
    until(lambda: not overlays.bereft)
    assert session.overlay.visible
    slide_layer.metadata["mtlpath_display"].close(timeout=5.0)


def test_only_the_chosen_task_is_shown(stage):
    viewer, session, overlays = stage()
    grid = grid_of(session.slide, 100.0)
    both = [heatmap(grid, np.zeros(grid.shape)), heatmap(grid, np.ones(grid.shape), task="neutrophils")]
    session.result = result_of(*both)
    overlays.update()
    session.set_overlay(task="neutrophils")
    overlays.update()
    shown = {task: layer.visible for task, layer in layers_of_tasks(viewer).items()}
    assert shown == {"basophils": False, "neutrophils": True}
    session.set_overlay(task="basophils")
    overlays.update()
    shown = {task: layer.visible for task, layer in layers_of_tasks(viewer).items()}
    assert shown == {"basophils": True, "neutrophils": False}


def test_layer_of_a_task_that_is_being_learned_waits_hidden_for_its_first_answer(stage):
    viewer, session, overlays = stage()
    eosinophils = Classification(name="eosinophils", title="Eosinophils")
    overlays.prepare(eosinophils)
    assert list(layers_of_tasks(viewer)) == []  # nothing is known of the slide: there is no place for it
    grid = grid_of(session.slide, 64.0)
    session.result = result_of(heatmap(grid, np.ones(grid.shape)))
    overlays.update()
    overlays.prepare(eosinophils)
    overlays.prepare(eosinophils)
    waiting = layers_of_tasks(viewer)["eosinophils"]
    assert not waiting.visible
    assert np.isnan(waiting.data).all()
    assert layers_of_tasks(viewer)["basophils"].visible
    assert session.overlay.visible
    before = list(viewer.layers)
    session.tasks = (*session.tasks, eosinophils)
    session.overlay = replace(session.overlay, task="eosinophils")
    session.result = result_of(
        heatmap(grid, np.ones(grid.shape)), heatmap(grid, np.full(grid.shape, 0.5), task="eosinophils")
    )
    overlays.update()
    assert list(viewer.layers) == before
    assert waiting.visible
    assert (waiting.data == 0.5).all()
    assert not layers_of_tasks(viewer)["basophils"].visible


def test_layer_of_a_task_that_was_dropped_before_its_first_answer_goes(stage):
    viewer, session, overlays = stage()
    grid = grid_of(session.slide, 64.0)
    session.result = result_of(heatmap(grid, np.ones(grid.shape)))
    overlays.update()
    overlays.prepare(Classification(name="eosinophils", title="Eosinophils"))
    assert set(layers_of_tasks(viewer)) == {"basophils", "eosinophils"}
    overlays.forget_unknown()
    assert set(layers_of_tasks(viewer)) == {"basophils"}
    assert session.overlay.visible  # it was not the user who deleted it


def test_nothing_is_left_of_a_result_that_no_longer_holds(stage):
    viewer, session, overlays = stage()
    grid = grid_of(session.slide, 100.0)
    mask = np.ones(grid.shape, bool)
    session.result = result_of(heatmap(grid, np.zeros(grid.shape)), selected={"basophils": mask})
    session.set_overlay(outline=True)
    overlays.update()
    assert len(viewer.layers) == 3
    session.result = None
    overlays.update()
    assert len(viewer.layers) == 1
    assert session.overlay.visible
    assert session.overlay.outline


def test_layers_wait_hidden_while_the_answers_of_the_chosen_task_are_to_come(stage):
    """Removing them would stop the window for half a second: napari collects garbage with each layer removed."""
    viewer, session, overlays = stage()
    grid = grid_of(session.slide, 64.0)
    ones, chosen = np.ones(grid.shape), np.ones(grid.shape, bool)
    session.overlay = replace(session.overlay, outline=True)
    session.result = result_of(heatmap(grid, ones), selected={"basophils": chosen})
    overlays.update()
    before = list(viewer.layers)
    assert len(before) == 3  # slide, heatmap, outline
    session.overlay = replace(session.overlay, task="neutrophils")
    session.tasks = (replace(BASOPHILS), replace(NEUTROPHILS))  # equal: those of the model while it is being taught
    overlays.update()
    assert list(viewer.layers) == before
    assert [layer.visible for layer in before] == [True, False, False]
    session.result = result_of(
        heatmap(grid, ones), heatmap(grid, ones, task="neutrophils"), selected={"neutrophils": chosen}
    )
    overlays.update()
    shown = layers_of_tasks(viewer)
    assert (shown["basophils"].visible, shown["neutrophils"].visible) == (False, True)
    assert before[2].visible
    session.overlay = replace(session.overlay, task="basophils")
    overlays.update()
    assert (shown["basophils"].visible, shown["neutrophils"].visible) == (True, False)


def test_a_new_layer_leaves_the_users_selection_alone(stage):
    viewer, session, overlays = stage()
    slide_layer = viewer.layers[0]
    grid = grid_of(session.slide, 100.0)
    session.result = result_of(heatmap(grid, np.zeros(grid.shape)))
    overlays.update()
    assert viewer.layers.selection.active is slide_layer
    assert len({layer.units for layer in viewer.layers}) == 1


def test_all_layers_share_units_and_axes(stage):
    viewer, session, overlays = stage()
    grid = grid_of(session.slide, 100.0)
    session.result = result_of(heatmap(grid, np.zeros(grid.shape)), selected={"basophils": np.ones(grid.shape, bool)})
    session.set_overlay(outline=True)
    overlays.update()
    assert len({layer.units for layer in viewer.layers}) == 1
    assert len({layer.axis_labels for layer in viewer.layers}) == 1


def test_the_status_bar_tells_the_raw_value_in_words(stage):
    viewer, session, overlays = stage()
    hover = HoverWords(viewer, overlays)
    grid = grid_of(session.slide, 100.0)
    values = np.full(grid.shape, np.nan)
    values[2, 3] = 4.25
    session.result = result_of(heatmap(grid, values))
    overlays.update()
    viewer.mouse_over_canvas = True
    viewer.cursor.position = (250.0, 350.0)
    viewer.update_status_from_cursor()
    assert "Basophils: routing: 4.25 x the average tile" in str(viewer.status)
    viewer.cursor.position = (50.0, 50.0)
    viewer.update_status_from_cursor()
    assert "Basophils: routing: not analysed" in str(viewer.status)
    hover.close()


def test_the_outline_runs_exactly_inside_the_chosen_tiles():
    """Filling from the chosen tiles' outline gives the mask back, and no line lies between two chosen tiles."""
    mask = np.random.default_rng(0).random((20, 30)) < 0.5
    image = outline_image(mask, 8)
    tiles = image.reshape(20, 8, 30, 8)
    np.testing.assert_array_equal(tiles.any(axis=(1, 3)) & ~mask, False)
    around = np.pad(mask, 1)
    sides = {
        "above": (tiles[:, 0, :, 1:-1].all(-1), around[:-2, 1:-1]),
        "below": (tiles[:, -1, :, 1:-1].all(-1), around[2:, 1:-1]),
        "left": (tiles[:, 1:-1, :, 0].all(1), around[1:-1, :-2]),
        "right": (tiles[:, 1:-1, :, -1].all(1), around[1:-1, 2:]),
    }
    for line, neighbour in sides.values():
        np.testing.assert_array_equal(line, mask & ~neighbour)


@pytest.mark.parametrize("shape", [(5, 7), (90, 90), (250, 200)])
def test_the_outline_of_any_grid_stays_small(shape):
    assert outline_image(np.ones(shape, bool), fineness(shape)).nbytes < 2 * 2**20


def test_the_outline_covers_the_same_ground_as_the_heatmap(stage):
    viewer, session, overlays = stage(mpp=0.25)
    grid = grid_of(session.slide, 37.0)
    session.result = result_of(heatmap(grid, np.zeros(grid.shape)), selected={"basophils": np.ones(grid.shape, bool)})
    session.set_overlay(outline=True)
    overlays.update()
    heat, line = (layer.extent.world + np.array([[-0.5], [0.5]]) * layer.scale for layer in viewer.layers[1:])
    np.testing.assert_allclose(heat, line, atol=1e-9)
    session.result = result_of(heatmap(grid, np.zeros(grid.shape)), selected={"basophils": np.zeros(grid.shape, bool)})
    overlays.update()
    assert not viewer.layers["Selected tiles"].data.any()


def test_placement_and_layer_agree(stage):
    viewer, session, overlays = stage(mpp=0.25)
    grid = grid_of(session.slide, 37.0)
    session.result = result_of(heatmap(grid, np.zeros(grid.shape)))
    overlays.update()
    where = placement(grid, (0.25, 0.25))
    layer = layers_of_tasks(viewer)["basophils"]
    np.testing.assert_allclose(layer.scale, where.scale)
    np.testing.assert_allclose(layer.translate, where.translate)


def test_several_new_layers_leave_several_selected_ones_selected(stage):
    viewer, session, overlays = stage()
    slide_layer = viewer.layers[0]
    mine = viewer.add_points(np.zeros((1, 2)), scale=slide_layer.scale, units=slide_layer.units, axis_labels=("y", "x"))
    viewer.layers.selection = {slide_layer, mine}
    grid = grid_of(session.slide, 100.0)
    mask = np.ones(grid.shape, bool)
    session.result = result_of(heatmap(grid, np.zeros(grid.shape)), selected={"basophils": mask})
    session.set_overlay(outline=True)
    overlays.update()
    assert len(viewer.layers) == 4
    assert set(viewer.layers.selection) == {slide_layer, mine}
    viewer.layers.selection.active = viewer.layers[-1]
    assert viewer.layers.selection.active is viewer.layers[-1]
