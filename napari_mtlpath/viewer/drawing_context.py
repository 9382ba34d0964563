"""Keeps the graphics of two windows apart when layers are removed.

napari (0.9) frees a removed layer's textures and buffers at once, in whichever OpenGL context is current: that of the
window drawn last. With two windows it may be the other one: objects of the same number are changed or deleted there,
its layers vanish, or the driver crashes. Here the context of the viewer's own canvas is made current before.
"""

from typing import TYPE_CHECKING
from weakref import ref

from qtpy.QtOpenGLWidgets import QOpenGLWidget

if TYPE_CHECKING:
    from napari.components import ViewerModel


class DrawingContext:
    """Makes a viewer's own OpenGL context current whenever layers are about to be removed from it.

    Keep the object as long as the viewer lives. A viewer without a window has nothing to keep apart.

    Parameters
    ----------
    viewer
        The viewer.
    """

    def __init__(self, viewer: "ViewerModel") -> None:
        self._viewer = ref(viewer)
        viewer.layers.events.removing.connect(self.make_current)
        viewer.layers.events.begin_batch.connect(self.make_current)

    def make_current(self) -> None:
        """Make it current now; nothing happens before the window was first shown."""
        window = getattr(self._viewer(), "window", None)
        if window is None:
            return
        try:
            canvas = window.main_menu.window().centralWidget().findChild(QOpenGLWidget)
        except RuntimeError:  # The window is gone; the viewer may outlive it.
            return
        if canvas is not None:
            canvas.makeCurrent()
