"""Which library computes an encoder: torch, or OpenVINO where that is faster and gives the same features."""

from enum import StrEnum


class Backend(StrEnum):
    """What computes an encoder's features.

    `AUTO` takes OpenVINO on a CPU where it is installed and gives torch's features, and torch otherwise. The
    aggregator always runs in torch.
    """

    TORCH = "torch"
    OPENVINO = "openvino"
    AUTO = "auto"
