"""Where the pages keep their pictures, how they are written, and how far two of them differ."""

from pathlib import Path

import numpy as np
from PIL import Image

IMAGES = Path(__file__).parents[2] / "docs" / "images"

LARGEST_BYTES = 400_000
"""A page has several pictures."""


def publish(picture: Image.Image, path: Path) -> None:
    """Write a picture in 256 colours, a fifth of the size, and smaller where it would still be too large a file."""
    while True:
        picture.quantize(256, method=Image.Quantize.MEDIANCUT).save(path, optimize=True)
        if path.stat().st_size <= LARGEST_BYTES:
            return
        picture = picture.resize((picture.width * 4 // 5, picture.height * 4 // 5), Image.Resampling.LANCZOS)


def difference(first: Image.Image, second: Image.Image) -> float:
    """Return the mean difference of two pictures, brought to 64 x 48 so that fonts and drivers make none."""
    small = [np.asarray(picture.resize((64, 48), Image.Resampling.BOX), np.float64) for picture in (first, second)]
    return float(np.abs(small[0] - small[1]).mean())
