"""One session per viewer; layers and threads come and go with it."""

import gc
import threading
from weakref import ref

import numpy as np
import pytest

from napari_mtlpath.slides.resolution import Resolution, ResolutionSource
from napari_mtlpath.viewer.binding import binding_of, session_of
from napari_mtlpath.viewer.layers.slide_layer import slide_layer_data
from napari_mtlpath.viewer.viewport import visible_rect

pytestmark = pytest.mark.gui


@pytest.fixture
def viewer(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    yield viewer
    binding_of(viewer).close()


def add(viewer, slide):
    levels, options, _ = slide_layer_data(slide)
    return viewer.add_image(levels, **options)


def ours():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("mtlpath")]


def test_a_viewer_has_one_session(viewer, make_napari_viewer):
    other = make_napari_viewer()
    assert session_of(viewer) is session_of(viewer)
    assert session_of(viewer) is not session_of(other)
    binding_of(other).close()


def test_a_plugins_proxy_of_the_viewer_has_the_same_session(make_napari_viewer_proxy):
    proxy = make_napari_viewer_proxy()
    session = session_of(proxy)
    assert session is session_of(proxy.__wrapped__)
    binding_of(proxy).close()


def test_a_slide_opened_before_the_session_was_asked_for_is_adopted(viewer, make_slide):
    slide = make_slide()
    add(viewer, slide)
    assert session_of(viewer).slide is slide


def test_a_slide_opened_by_the_session_gets_a_layer(viewer, until, make_slide):
    slide = make_slide()
    session_of(viewer).attach_slide(slide)
    until(lambda: len(viewer.layers) == 1)
    assert viewer.layers[0].metadata["slide"] is slide


def test_removing_the_layer_closes_the_slide_and_ends_its_threads(viewer, until, make_slide):
    session, slide = session_of(viewer), make_slide()
    before = ours()
    layer = add(viewer, slide)
    viewer.layers.remove(layer)
    until(lambda: slide.closed)
    assert session.slide is None
    until(lambda: set(ours()) <= {*before, "mtlpath-session_0"})


def test_a_removed_layer_holds_neither_pixels_nor_slide(viewer, until, make_slide):
    """napari keeps removed layers; twenty closed slides must not stay in memory."""
    session_of(viewer)
    layer = add(viewer, make_slide())
    display = ref(layer.metadata["mtlpath_display"])
    until(lambda: display().settled)
    viewer.layers.remove(layer)
    until(lambda: not layer.metadata)
    assert max(level.strides[0] for level in layer.data) == 0
    until(lambda: gc.collect() >= 0 and display() is None)


def test_a_duplicated_layer_keeps_the_slide_open(viewer, until, make_slide):
    session_of(viewer)
    slide = make_slide()
    levels, options, _ = slide_layer_data(slide)
    first, second = viewer.add_image(levels, **options), viewer.add_image(levels, **options)
    viewer.layers.remove(first)
    assert session_of(viewer).slide is slide
    viewer.layers.remove(second)
    until(lambda: slide.closed)


def test_switching_slides_shows_only_the_last(viewer, until, make_slide):
    session = session_of(viewer)
    slides = [make_slide(name=f"slide-{i}.svs") for i in range(4)]
    for slide in slides:
        session.attach_slide(slide)
    until(lambda: [layer.name for layer in viewer.layers] == ["slide-3.svs"])
    until(lambda: all(slide.closed for slide in slides[:3]))
    assert not slides[3].closed


def test_closing_the_viewer_leaves_no_thread(make_napari_viewer, until, make_slide):
    before = ours()
    viewer = make_napari_viewer(show=True)
    session, slide = session_of(viewer), make_slide(delay=0.02)
    add(viewer, slide)
    viewer.scene.camera.zoom *= 6
    viewer.screenshot(flash=False)
    viewer.close()
    until(lambda: session.closed)
    until(lambda: ours() == before)
    assert slide.closed


def test_the_view_is_told_to_the_session_when_it_rests(viewer, until, make_slide, monkeypatch):
    session, slide = session_of(viewer), make_slide()
    told = []
    monkeypatch.setattr(session, "look_at", told.append)
    add(viewer, slide)
    camera = viewer.scene.camera
    until(lambda: bool(told))
    told.clear()
    for step in range(5):
        camera.zoom = 2.0
        camera.center = (0, 700 + step, 900)
    until(lambda: bool(told))
    assert len(told) == 1
    height, width = viewer.canvas.size
    expected = (704 / 0.5 - height / 2 + 0.5, 900 / 0.5 - width / 2 + 0.5)
    np.testing.assert_allclose(told[0][:2], expected, atol=1e-6)
    np.testing.assert_allclose(np.subtract(told[0][2:], told[0][:2]), (height, width), atol=1e-6)


def test_the_visible_rectangle_ends_at_the_slide(viewer, make_slide):
    slide = make_slide()
    layer = add(viewer, slide)
    viewer.scene.camera.zoom = 0.01
    assert visible_rect(viewer, layer) == (0, 0, slide.height, slide.width)
    viewer.scene.camera.center = (0, -1e6, -1e6)
    top, left, bottom, right = visible_rect(viewer, layer)
    assert (bottom - top) * (right - left) == 0


def test_a_resolution_typed_later_turns_pixels_into_microns_and_keeps_the_view(viewer, until, make_slide):
    session, slide = session_of(viewer), make_slide(mpp=None)
    layer = add(viewer, slide)
    assert {str(unit) for unit in layer.units} == {"pixel"}
    viewer.scene.camera.zoom = 0.5
    viewer.scene.camera.center = (0, 2000, 3000)
    seen = visible_rect(viewer, layer)
    session.set_mpp(0.25, remember=False)
    until(lambda: {str(unit) for unit in layer.units} == {"micrometer"})
    np.testing.assert_allclose(layer.scale, (0.25, 0.25))
    np.testing.assert_allclose(visible_rect(viewer, layer), seen, atol=1e-6)
    assert slide.resolution == Resolution(
        mpp=(0.25, 0.25), source=ResolutionSource.USER, detail=slide.resolution.detail
    )
