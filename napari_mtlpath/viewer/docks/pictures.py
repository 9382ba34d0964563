"""Pixels of a slide as a picture that Qt can draw."""

from typing import TYPE_CHECKING

from qtpy.QtGui import QImage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def picture_of(pixels: "NDArray[np.uint8]") -> QImage:
    """Return an RGB array [y, x, 3] as a picture with its own memory; may be called from any thread."""
    height, width = pixels.shape[:2]
    return QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888).copy()
