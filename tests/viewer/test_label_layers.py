"""Labelling on the canvas: clicks, keys and drawn regions become labels of the right tiles of the right slide."""

from types import SimpleNamespace

import numpy as np
import pytest
from label_fakes import SIDE, label_model
from napari.components import ViewerModel
from session_fakes import FakeAnalysis
from synthetic import write_aperio_like

from napari_mtlpath.review.events import Origin
from napari_mtlpath.review.task_draft import TaskDraft, TaskKind
from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.viewer.binding import binding_of, session_of
from napari_mtlpath.viewer.layers.label_markers import rgb_of
from napari_mtlpath.viewer.layers.tile_clicks import Tool

pytestmark = pytest.mark.gui

DRAFT = TaskDraft.made(title="Eosinophils", kind=TaskKind.BINARY)
ROWS, COLUMNS = 10, 15


@pytest.fixture(scope="module")
def slide_paths(tmp_path_factory):
    """Two slides of 10 x 15 tiles; the right third is glass."""
    folder = tmp_path_factory.mktemp("slides")
    pixels = np.full((ROWS * SIDE, COLUMNS * SIDE, 3), 245, np.uint8)
    pixels[:, : 10 * SIDE] = (200, 120, 170)
    paths = []
    for number, name in enumerate(("first.svs", "second.svs")):
        pixels[0, 0] = number
        paths.append(write_aperio_like(folder / name, pixels, mpp=0.5))
    return paths


class Stand:
    """A viewer with a slide on which a task is labelled."""

    def __init__(self, viewer, until, path):
        self.viewer, self._until = viewer, until
        self.binding, self.session = binding_of(viewer), session_of(viewer)
        self.labels, self.layers = self.session.labels, self.binding.label_layers
        self.said = []
        self.session.message.connect(lambda message: self.said.append(message.text))
        self.session.set_model(label_model())
        self.labels.wake()
        self.open(path)
        self.labels.define(DRAFT)
        until(lambda: self.labels.ready)

    def until(self, condition):
        try:
            self._until(condition)
        except Exception as error:
            known = (self.labels.labels, self.layers.tool, self.said, list(self.viewer.layers))
            raise AssertionError(f"It did not happen. There are {known}") from error

    def open(self, path):
        slide = open_slide(path, cache=self.session.cache)
        self.session.attach_slide(slide)
        self.until(lambda: self.labels.place is not None and self.labels.place.slide is slide)
        self.until(lambda: self.binding.slide_layer() is not None)
        return slide

    def use(self, tool):
        self.layers.use(tool)
        holder = "markers" if tool is Tool.TILES else "regions"
        self.until(lambda: getattr(self.layers, holder) is not None)
        return getattr(self.layers, holder)

    def world(self, row, column, *, at=(0.5, 0.5)):
        """The world position of a place inside a tile, from the slide's own layer."""
        inside = ((row + at[0]) * SIDE - 0.5, (column + at[1]) * SIDE - 0.5)
        return tuple(self.binding.slide_layer().data_to_world(inside))[-2:]

    def click(self, row, column, *, drag=0.0, at=(0.5, 0.5)):
        """Press and release the mouse over a tile, as napari tells its callbacks."""
        layer = self.viewer.layers.selection.active
        event = SimpleNamespace(
            type="mouse_press", button=1, position=self.world(row, column, at=at), pos=np.array([5.0, 5.0])
        )
        for callback in layer.mouse_drag_callbacks:
            steps = callback(layer, event)
            if steps is None:
                continue
            next(steps, None)
            event.type, event.pos = "mouse_move", np.array([5.0 + drag, 5.0])
            next(steps, None)
            event.type = "mouse_release"
            next(steps, None)

    def hover(self, row, column):
        event = SimpleNamespace(position=self.world(row, column))
        self.viewer.cursor.position = event.position
        for callback in self.viewer.mouse_move_callbacks:
            callback(self.viewer, event)

    def press(self, key):
        """Press a key while our layer is the active one."""
        layer = self.viewer.layers.selection.active
        layer.keymap[next(bound for bound in layer.keymap if str(bound) == key)](layer)

    def tiles(self):
        return {divmod(i, COLUMNS): label.value for i, label in self.labels.labels.tiles.items()}


@pytest.fixture
def viewer(qtbot):
    viewer = ViewerModel()  # without a window: the journeys click on a real canvas
    session_of(viewer)._keeper._make = lambda *a: FakeAnalysis(*a, talk=False)
    yield viewer
    binding_of(viewer).close()


@pytest.fixture
def stand(viewer, until, slide_paths):
    return Stand(viewer, until, slide_paths[0])


def test_a_click_anywhere_in_a_tile_labels_it(stand):
    stand.use(Tool.TILES)
    for number, at in enumerate([(0.02, 0.02), (0.98, 0.98), (0.5, 0.5)]):
        stand.click(3, 2 * number, at=at)
    assert stand.tiles() == {(3, 0): 1.0, (3, 2): 1.0, (3, 4): 1.0}
    stand.layers.hold(0.0)
    stand.click(9, 9)
    assert stand.tiles()[9, 9] == 0.0
    assert {label.origin for label in stand.labels.labels.tiles.values()} == {Origin.TILE}


def test_a_second_click_takes_the_label_back_and_a_drag_labels_nothing(stand):
    stand.use(Tool.TILES)
    stand.click(3, 4)
    stand.click(3, 4)
    stand.click(5, 5, drag=40.0)
    assert stand.tiles() == {}


def test_number_keys_answer_for_the_tile_under_the_mouse(stand):
    stand.use(Tool.TILES)
    stand.hover(2, 6)
    stand.press("1")
    assert stand.tiles() == {(2, 6): 0.0}
    stand.press("2")
    assert stand.tiles() == {(2, 6): 1.0}
    stand.press("7")
    assert stand.tiles() == {(2, 6): 1.0}
    stand.press("Delete")
    assert stand.tiles() == {}


def test_the_tile_under_the_mouse_is_framed_where_it_lies(stand):
    markers = stand.use(Tool.TILES)
    stand.hover(2, 6)
    assert markers.hover.visible
    low, high = (np.asarray(markers.hover.data_to_world(corner))[-2:] for corner in ((-0.5, -0.5), (23.5, 23.5)))
    np.testing.assert_allclose(low, stand.world(2, 6, at=(0, 0)), atol=1e-6)
    np.testing.assert_allclose(high, stand.world(2, 6, at=(1, 1)), atol=1e-6)
    stand.layers.use(Tool.NONE)
    assert not markers.hover.visible


def test_markers_lie_on_their_tiles_in_the_colour_of_the_answer(stand):
    stand.labels.label_tiles([3 * COLUMNS + 4], 1.0)
    stand.labels.label_tiles([0], 0.0)
    markers = stand.use(Tool.TILES)
    for row, column, value in ((3, 4, 1.0), (0, 0, 0.0)):
        y, x = np.round(markers.layer.world_to_data(stand.world(row, column, at=(0.01, 0.5)))[-2:]).astype(int)
        assert tuple(markers.layer.data[y, x, :3]) == rgb_of(DRAFT.colour(value))
        assert markers.layer.data[y, x, 3] == 255
    assert int((markers.layer.data[..., 3] > 0).sum()) == 2 * (markers.layer.data.shape[0] // ROWS) ** 2
    stand.labels.undo()
    stand.until(lambda: int((markers.layer.data[..., 3] > 0).sum()) == (markers.layer.data.shape[0] // ROWS) ** 2)


def test_a_click_on_glass_is_refused_in_a_sentence(stand):
    stand.use(Tool.TILES)
    stand.click(3, 14)
    assert stand.tiles() == {}
    assert any("no tissue on this tile" in text for text in stand.said)


def _rectangle(top, left, bottom, right):
    """Corners of a rectangle over whole tiles, in pixel centres as napari draws."""
    corners = [(top, left), (top, right), (bottom, right), (bottom, left)]
    return np.array([(y * SIDE - 0.5, x * SIDE - 0.5) for y, x in corners])


def test_a_drawn_region_labels_the_tiles_inside(stand):
    regions = stand.use(Tool.POLYGON)
    regions.layer.add_polygons(_rectangle(1, 2, 3, 5))
    stand.until(lambda: len(stand.tiles()) == 6)
    assert stand.tiles() == {(row, column): 1.0 for row in (1, 2) for column in (2, 3, 4)}
    assert len(regions.layer.data) == 1


def test_a_region_that_is_changed_or_deleted_changes_its_labels(stand):
    regions = stand.use(Tool.RECTANGLE)
    regions.layer.add_rectangles(_rectangle(1, 2, 3, 5))
    stand.until(lambda: len(stand.tiles()) == 6)
    regions.layer.data = [_rectangle(1, 2, 2, 5)]
    stand.until(lambda: len(stand.tiles()) == 3)
    regions.layer.selected_data = {0}
    regions.layer.remove_selected()
    stand.until(lambda: stand.tiles() == {})
    stand.labels.undo()
    stand.until(lambda: len(regions.layer.data) == 1)
    assert len(stand.tiles()) == 3


def test_undo_takes_a_region_off_the_slide_even_while_another_is_drawn(stand):
    regions = stand.use(Tool.POLYGON)
    regions.layer.add_polygons(_rectangle(1, 2, 3, 5))
    stand.until(lambda: len(stand.tiles()) == 6)
    stand.labels.undo()
    stand.until(lambda: len(regions.layer.data) == 0)
    assert regions.layer.mode == "add_polygon"
    stand.labels.redo()
    stand.until(lambda: len(regions.layer.data) == 1)


def test_a_region_that_labels_nothing_is_taken_back_and_said(stand):
    regions = stand.use(Tool.POLYGON)
    for outline, said in ((_rectangle(1, 11, 3, 14), "holds no tissue"), (_rectangle(1, 2, 1.2, 2.2), "no centre")):
        regions.layer.add_polygons(outline)
        stand.until(lambda said=said: any(said in text for text in stand.said))
        stand.until(lambda: len(regions.layer.data) == 0)
    assert stand.tiles() == {}


def test_a_line_is_refused_and_an_ellipse_is_taken(stand):
    regions = stand.use(Tool.POLYGON)
    regions.layer.add_lines(_rectangle(1, 2, 3, 5)[:2])
    stand.until(lambda: any("A line has no inside" in text for text in stand.said))
    regions.layer.add_ellipses(_rectangle(1, 1, 6, 6))
    stand.until(lambda: len(stand.tiles()) > 10)
    assert (1, 1) not in stand.tiles()


def test_layers_of_a_slide_go_with_it_and_labels_stay(stand, slide_paths):
    stand.use(Tool.TILES)
    stand.click(3, 4)
    stand.use(Tool.POLYGON)
    first = set(stand.viewer.layers)
    stand.open(slide_paths[1])
    stand.until(lambda: not first & set(stand.viewer.layers))
    assert stand.layers.tool is Tool.NONE
    assert stand.tiles() == {}
    stand.open(slide_paths[0])
    stand.until(lambda: stand.layers.markers is not None)
    assert stand.tiles() == {(3, 4): 1.0}


def test_a_deleted_layer_takes_no_label_with_it_and_a_tool_brings_it_back(stand):
    markers = stand.use(Tool.TILES)
    stand.click(3, 4)
    stand.viewer.layers.remove(markers.layer)
    stand.until(lambda: stand.layers.tool is Tool.NONE)
    assert stand.tiles() == {(3, 4): 1.0}
    stand.labels.label_tiles([0], 1.0)
    assert stand.layers.markers is None
    assert stand.use(Tool.TILES).layer in stand.viewer.layers
    regions = stand.use(Tool.LASSO)
    regions.layer.add_polygons(_rectangle(1, 2, 3, 5))
    stand.until(lambda: len(stand.tiles()) == 8)
    stand.viewer.layers.remove(regions.layer)
    stand.until(lambda: stand.layers.tool is Tool.NONE)
    assert len(stand.tiles()) == 8


def test_all_layers_deleted_at_once_is_no_error(stand):
    stand.use(Tool.TILES)
    stand.use(Tool.POLYGON)
    stand.viewer.layers.clear()
    stand.until(lambda: stand.session.slide is None and stand.labels.place is None)
    stand.until(lambda: stand.layers.tool is Tool.NONE)
    assert len(stand.viewer.layers) == 0


def test_turning_to_another_layer_puts_the_tool_away(stand):
    stand.use(Tool.TILES)
    stand.viewer.layers.selection.active = stand.binding.slide_layer()
    assert stand.layers.tool is Tool.NONE


def test_closing_the_viewer_in_the_middle_of_labelling_loses_nothing(viewer, until, slide_paths):
    stand = Stand(viewer, until, slide_paths[0])
    stand.use(Tool.TILES)
    stand.click(3, 4)
    stand.use(Tool.POLYGON).layer.add_polygons(_rectangle(1, 2, 3, 5))
    binding_of(viewer).close()

    other = ViewerModel()
    session_of(other)._keeper._make = lambda *a: FakeAnalysis(*a, talk=False)
    again = Stand(other, until, slide_paths[0])
    assert len(again.tiles()) == 7
    assert (3, 4) in again.tiles()
    binding_of(other).close()
