"""Checkpoints: everything a training needs to go on bit by bit as if it had never stopped."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from napari_mtlpath.files import replacing

CHECKPOINT_FILE = "checkpoint.pt"


def save_checkpoint(folder: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint of tensors and plain values; a killed program leaves the previous one."""
    with replacing(folder / CHECKPOINT_FILE) as temporary:
        torch.save(content, temporary)


def load_checkpoint(folder: Path, *, key: str) -> dict[str, Any] | None:
    """Return the checkpoint in `folder`, or None where there is none.

    Raises
    ------
    ValueError
        If it belongs to another config (`key` differs).
    """
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        return None
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if content["key"] != key:
        raise ValueError(
            f"The checkpoint in {folder} was made with another config or other data. "
            "Delete it, choose another folder, or start without resuming."
        )
    return content


def remove_checkpoint(folder: Path) -> None:
    """Remove the checkpoint of a finished training, where there is one."""
    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)


class PrivateRandom:
    """A state of torch's global random numbers that a training has to itself.

    Dropout and stochastic depth draw from the global state. Between the loop's yields other code runs in the same
    process; `with random:` swaps the training's own state in and out, so that neither disturbs the other.
    """

    def __init__(self, seed: int) -> None:
        self.state = torch.Generator().manual_seed(seed).get_state()

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Swap the private state in for the duration of the block."""
        outer = torch.get_rng_state()
        torch.set_rng_state(self.state)
        try:
            yield
        finally:
            self.state = torch.get_rng_state()
            torch.set_rng_state(outer)
