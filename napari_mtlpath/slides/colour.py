"""Whether pixels are shown as the scanner stored them or carried to sRGB by the slide's ICC profile."""

import io
import logging
import threading
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

logger = logging.getLogger(__name__)


class ColourMode(StrEnum):
    """How colours are treated. A model sees the difference, so it belongs to every key of what was read."""

    NATIVE = "native"
    SRGB = "srgb"


class SrgbTransform:
    """Carries RGB pixels from a profile's space to sRGB, per tile.

    Parameters
    ----------
    profile
        Bytes of an ICC profile for RGB.

    Raises
    ------
    ValueError
        If LittleCMS cannot use the profile.
    """

    def __init__(self, profile: bytes) -> None:
        self._profile = profile
        self._local = threading.local()
        self._transform()

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return `pixels` [y, x, 3] in sRGB as a new array."""
        image = Image.fromarray(np.ascontiguousarray(pixels))
        ImageCms.applyTransform(image, self._transform(), inPlace=True)
        return np.array(image)

    def _transform(self) -> ImageCms.ImageCmsTransform:
        # One per thread: LittleCMS keeps a one-pixel cache inside a transform.
        transform = getattr(self._local, "transform", None)
        if transform is None:
            try:
                source = ImageCms.ImageCmsProfile(io.BytesIO(self._profile))
                target = ImageCms.createProfile("sRGB")
                transform = ImageCms.buildTransform(source, target, "RGB", "RGB")
            except (ImageCms.PyCMSError, OSError) as error:
                raise ValueError(f"Expected an ICC profile for RGB; LittleCMS says: {error}.") from error
            self._local.transform = transform
        return transform


def transform_for(mode: ColourMode, profile: bytes | None) -> SrgbTransform | None:
    """Return the transform that `mode` asks for; None where pixels stay as they are.

    A slide without a profile, or with one that LittleCMS refuses, stays as it is.
    """
    if mode is ColourMode.NATIVE or profile is None:
        return None
    try:
        return SrgbTransform(profile)
    except ValueError as error:
        logger.warning("The slide's colours stay as stored. %s", error)
        return None
