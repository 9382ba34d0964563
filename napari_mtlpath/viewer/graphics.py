"""Asks the system for an OpenGL context as napari will: `python -m napari_mtlpath.viewer.graphics` prints JSON.

Run it as a process of its own: a broken driver ends the process that asks.
"""

import json
import sys


def opengl_facts() -> dict[str, str]:
    """Return the Qt binding and the OpenGL vendor, renderer and version that a window gets here.

    Raises
    ------
    RuntimeError
        If no context can be made.
    """
    from qtpy import API_NAME, QT_VERSION
    from qtpy.QtGui import QGuiApplication, QOffscreenSurface, QOpenGLContext

    application = QGuiApplication.instance() or QGuiApplication([])
    context, surface = QOpenGLContext(), QOffscreenSurface()
    surface.create()
    if not context.create() or not context.makeCurrent(surface):
        raise RuntimeError("Qt could not make an OpenGL context. Install a graphics driver or Mesa's libgl1-mesa-dri.")
    from vispy.gloo import gl

    named = {"vendor": gl.GL_VENDOR, "renderer": gl.GL_RENDERER, "version": gl.GL_VERSION}
    facts = {"qt": f"{API_NAME} {QT_VERSION}", "platform": application.platformName()}
    facts |= {name: str(gl.glGetParameter(value)) for name, value in named.items()}
    context.doneCurrent()
    return facts


if __name__ == "__main__":
    sys.stdout.write(json.dumps(opengl_facts()) + "\n")
