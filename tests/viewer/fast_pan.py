"""Pans fast over a slow slide in a viewer of its own and prints how much of the canvas was ever black, as JSON.

Run by test_slicing_modes.py in a process of its own, because napari reads its slicing mode when it starts.
"""

import json
import time

import napari
import numpy as np
from conftest import FakeSlide, gradient
from napari.settings import get_settings
from qtpy.QtWidgets import QApplication

from napari_mtlpath.viewer.binding import binding_of
from napari_mtlpath.viewer.layers.slide_layer import slide_layer_data


def pump(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.002)


def pump_until(condition, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        pump(0.02)


def main() -> None:
    viewer = napari.Viewer(show=True)
    binding_of(viewer)
    slide = FakeSlide(height=16384, width=16384, paint=gradient, levels=5, delay=0.06, mpp=0.5)
    levels, options, _ = slide_layer_data(slide)
    layer = viewer.add_image(levels, **options)
    display = layer.metadata["mtlpath_display"]
    viewer.canvas.overlays.scale_bar.visible = False
    pump_until(lambda: display.settled)
    camera = viewer.scene.camera
    camera.zoom = 2.0
    camera.center = (0, 2000, 2000)
    pump(1.0)
    black = []
    for step in range(20):
        camera.center = (0, 2000 + 100 * step, 2000 + 100 * step)
        pump(0.04)
        shot = viewer.screenshot(canvas_only=True, flash=False)[..., :3]
        black.append(float((shot.max(-1) == 0).mean()))
    pump_until(lambda: display.settled)
    pump(0.3)
    names = [each.name for each in viewer.layers]
    shot = viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)
    height, width = shot.shape[:2]
    y = np.clip(np.round(3900 / 0.5 + (np.arange(height) - height / 2 + 0.5)), 0, 16383).astype(int)
    x = np.clip(np.round(3900 / 0.5 + (np.arange(width) - width / 2 + 0.5)), 0, 16383).astype(int)
    wrong = (np.abs(shot - gradient(y[:, None], x[None])).max(-1) > 2).mean()
    viewer.layers.remove(layer)
    pump(0.2)
    print(
        json.dumps(
            {
                "asynchronous": bool(get_settings().experimental.async_),
                "black_worst": max(black),
                "names": names,
                "wrong_at_the_end": float(wrong),
                "left": [each.name for each in viewer.layers],
            }
        ),
        flush=True,
    )
    viewer.close()
    pump(0.2)


if __name__ == "__main__":
    main()
