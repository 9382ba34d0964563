"""What is freed when a layer goes is freed in its own window's OpenGL context."""

from collections.abc import Callable

import napari
import numpy as np
import pytest
from qtpy.QtCore import QEvent
from qtpy.QtGui import QOpenGLContext
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QApplication

from napari_mtlpath.cli.display import has_display
from napari_mtlpath.viewer.compilers import keep_compilers_apart
from napari_mtlpath.viewer.drawing_context import DrawingContext

pytestmark = [pytest.mark.gui, pytest.mark.skipif(not has_display(), reason="no display: run under xvfb-run")]


@pytest.fixture
def windows(make_napari_viewer: Callable[..., napari.Viewer]) -> tuple[napari.Viewer, napari.Viewer]:
    keep_compilers_apart()  # as the plugin does before it is drawn: torch may be loaded by a later test
    both = make_napari_viewer(show=True), make_napari_viewer(show=True)
    for viewer in both:
        viewer.add_image(np.zeros((8, 8)))
        viewer.add_image(np.ones((8, 8)))
    QApplication.processEvents()
    return both


def canvas(viewer: napari.Viewer) -> QOpenGLWidget:
    return viewer.window.main_menu.window().centralWidget().findChild(QOpenGLWidget)


def current_is(viewer: napari.Viewer) -> bool:
    return QOpenGLContext.currentContext() is canvas(viewer).context()


@pytest.mark.parametrize("act", [lambda layers: layers.pop(), lambda layers: layers.clear()], ids=["pop", "clear"])
def test_removing_layers_makes_the_windows_own_context_current(windows, act) -> None:
    first, second = windows
    keep = DrawingContext(second)
    canvas(first).makeCurrent()
    assert not current_is(second)
    act(second.layers)
    assert current_is(second)
    del keep


def test_without_it_napari_frees_in_the_other_windows_context(windows) -> None:
    """When this fails napari does it itself, and `viewer/drawing_context.py` can go."""
    first, second = windows
    canvas(first).makeCurrent()
    second.layers.pop()
    assert current_is(first)


def test_a_viewer_without_a_window_is_left_alone() -> None:
    viewer = napari.components.ViewerModel()
    viewer.add_image(np.zeros((8, 8)))
    keep = DrawingContext(viewer)
    viewer.layers.clear()
    del keep


def test_a_viewer_that_outlives_its_window_is_left_alone(make_napari_viewer) -> None:
    keep_compilers_apart()
    viewer = make_napari_viewer(show=True)
    keep = DrawingContext(viewer)
    viewer.close()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    QApplication.processEvents()
    keep.make_current()
