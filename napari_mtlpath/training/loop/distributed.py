"""Training in several processes that ``torchrun`` starts: who is who, and sums over all of them."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed

LEADER = 0
WAIT = timedelta(minutes=30)
"""How long a process waits for the others; validation and writing by the leader must end within it."""


@dataclass(frozen=True, kw_only=True)
class Processes:
    """The processes of one training; by default a process is alone and every method does nothing.

    Attributes
    ----------
    rank
        Number of this process, from 0. Only the leader, 0, validates and writes.
    size
        How many there are.
    """

    rank: int = LEADER
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process validates and writes."""
        return self.rank == LEADER

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum over all processes, in the memory of `tensor`; the same bits in each.

        Raises
        ------
        ConnectionError
            If another process died or did not answer in time.
        """
        if self.size > 1:
            with _reachable():
                distributed.all_reduce(tensor)
        return tensor

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Return for each flag whether it is set in some process."""
        if self.size == 1:
            return flags
        return tuple(self.sum(torch.tensor(flags, dtype=torch.float32)).bool().tolist())

    def of_leader(self, *values: float) -> tuple[float, ...]:
        """Return the leader's values."""
        if self.size == 1:
            return values
        given = torch.tensor(values, dtype=torch.float64)
        with _reachable():
            distributed.broadcast(given, src=LEADER)
        return tuple(given.tolist())

    def all(self, tensor: Tensor) -> list[Tensor]:
        """Return the tensors of all processes, equal in shape, by rank."""
        if self.size == 1:
            return [tensor]
        gathered = [torch.empty_like(tensor) for _ in range(self.size)]
        with _reachable():
            distributed.all_gather(gathered, tensor)
        return gathered

    def sum_all(self, tensors: Sequence[Tensor]) -> None:
        """Sum many tensors in place, in one exchange."""
        if self.size == 1 or not tensors:
            return
        flat = self.sum(torch.cat([tensor.flatten() for tensor in tensors]))
        for tensor, total in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))


ALONE = Processes()


@contextlib.contextmanager
def joined(*, wait: timedelta = WAIT) -> Iterator[Processes]:
    """Join the processes that ``torchrun`` started, or give a lone one where it did not; leave them at the end.

    Sums run over gloo between the machine's processors, also where the training itself runs on GPUs.

    Parameters
    ----------
    wait
        How long to wait for another process before giving up.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    distributed.init_process_group("gloo", timeout=wait)
    try:
        yield current()
    finally:
        distributed.destroy_process_group()


def current() -> Processes:
    """Return the processes that this one has joined, or a lone one."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return ALONE
    return Processes(rank=distributed.get_rank(), size=distributed.get_world_size())


def leads() -> bool:
    """Return whether this process may print and write, before it has joined others."""
    return int(os.environ.get("RANK", str(LEADER))) == LEADER


def own_device(device: torch.device) -> torch.device:
    """Return the device of this process: its own GPU where each has one."""
    if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device


@contextlib.contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ConnectionError(
            "Another process of this training ended or did not answer in time. See what it says above; the same "
            f"command goes on after the last checkpoint. ({str(error).splitlines()[0]})"
        ) from error
