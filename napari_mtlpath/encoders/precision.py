"""Arithmetic that a user may wish for an encoder."""

from enum import StrEnum


class Precision(StrEnum):
    """Arithmetic of an encoder; see :mod:`napari_mtlpath.encoders.bfloat16`."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
