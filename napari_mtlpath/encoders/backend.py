"""Which library computes a model: torch, or OpenVINO where that is faster and gives the same numbers."""

from enum import StrEnum


class Backend(StrEnum):
    """What computes a model: its tile encoder, and with it its aggregator.

    `AUTO` takes OpenVINO on a CPU where it is installed and gives torch's features, and torch otherwise. An aggregator
    whose answers OpenVINO does not give runs in torch, beside an encoder in OpenVINO.
    """

    TORCH = "torch"
    OPENVINO = "openvino"
    AUTO = "auto"
