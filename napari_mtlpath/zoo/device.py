"""Which processor a model runs on, and why."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_mtlpath.processors import Cpu, Processor

if TYPE_CHECKING:
    import torch

ACCELERATORS = ("nvidia*", "dxg", "kfd")
"""What the drivers of graphics cards put into ``/dev`` of Linux: NVIDIA's, that of Windows' own Linux, AMD's."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """Where a model runs, with the reason for it in one sentence."""

    device: Processor
    reason: str


@dataclass(frozen=True, kw_only=True)
class TorchDevice(Device):
    """One of torch's devices."""

    device: "torch.device"


def pick_device(wish: str | Processor = "auto") -> TorchDevice:
    """Return torch's device for a wish: "auto" takes CUDA, then MPS, then the CPU.

    Raises
    ------
    ValueError
        If the wish is no device, or a device that torch does not see here.
    """
    import torch

    if str(wish) == "auto":
        if torch.cuda.is_available():
            return TorchDevice(device=torch.device("cuda"), reason=f"CUDA: {torch.cuda.get_device_name()}")
        if torch.backends.mps.is_available():
            return TorchDevice(device=torch.device("mps"), reason="MPS: the GPU of this Mac")
        return TorchDevice(device=torch.device("cpu"), reason="CPU: torch sees no CUDA or MPS device")
    try:
        device = torch.device(str(wish))
    except RuntimeError as error:
        raise ValueError(f"Expected a device such as 'auto', 'cpu', 'cuda' or 'mps'; found {wish!r}.") from error
    seen = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= seen.get(device.type, 0):
        raise ValueError(f"torch sees no device {str(device)!r} here. Use 'auto' or 'cpu'.")
    return TorchDevice(device=device, reason=f"{device.type.upper()}: as asked for")


def surely_cpu(wish: str | Processor = "auto") -> Device | None:
    """Return the CPU where a wish can mean nothing else, without asking torch, which takes two seconds; else None."""
    if str(wish) == "cpu":
        return Device(device=Cpu(), reason="CPU: as asked for")
    if str(wish) == "auto" and sys.platform == "linux" and not _accelerators():
        return Device(device=Cpu(), reason="CPU: this machine has no driver of a graphics card")
    return None


def _accelerators() -> bool:
    return any(True for pattern in ACCELERATORS for _ in Path("/dev").glob(pattern))
