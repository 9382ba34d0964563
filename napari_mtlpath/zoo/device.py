"""Which processor a model runs on, and why."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class Device:
    """A torch device with the reason for it in one sentence."""

    device: torch.device
    reason: str


def pick_device(wish: str | torch.device = "auto") -> Device:
    """Return the device for a wish: "auto" takes CUDA, then MPS, then the CPU.

    Raises
    ------
    ValueError
        If the wish is no device, or a device that torch does not see here.
    """
    if str(wish) == "auto":
        if torch.cuda.is_available():
            return Device(device=torch.device("cuda"), reason=f"CUDA: {torch.cuda.get_device_name()}")
        if torch.backends.mps.is_available():
            return Device(device=torch.device("mps"), reason="MPS: the GPU of this Mac")
        return Device(device=torch.device("cpu"), reason="CPU: torch sees no CUDA or MPS device")
    try:
        device = torch.device(wish)
    except RuntimeError as error:
        raise ValueError(f"Expected a device such as 'auto', 'cpu', 'cuda' or 'mps'; found {wish!r}.") from error
    seen = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= seen.get(device.type, 0):
        raise ValueError(f"torch sees no device {str(device)!r} here. Use 'auto' or 'cpu'.")
    return Device(device=device, reason=f"{device.type.upper()}: as asked for")
