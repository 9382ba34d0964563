"""How the pixels of a tile are brought to the size that an encoder takes."""

from enum import StrEnum


class Resampling(StrEnum):
    """How the pixels of a tile are brought to the encoder's size; a model sees the difference.

    `SCALED` decodes JPEG at 1/2, 1/4 or 1/8 where the file allows it and takes the area mean for the rest,
    `AREA` decodes in full and takes the area mean, `STORED` takes the nearest stored level and the area mean for
    the rest. Where the wanted pixels are smaller than the slide's, all three interpolate linearly.
    """

    SCALED = "scaled"
    AREA = "area"
    STORED = "stored"
