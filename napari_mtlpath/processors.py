"""Where a network is computed, and with how many threads: the words that all libraries share."""

import os
import sys
import threading
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@runtime_checkable
class Processor(Protocol):
    """What is known of a device; ``torch.device`` is one."""

    @property
    def type(self) -> str:
        """``"cpu"``, ``"cuda"`` or ``"mps"``."""


@dataclass(frozen=True)
class Cpu:
    """The CPU, where no torch is needed to say so."""

    type: str = "cpu"

    def __str__(self) -> str:
        return self.type


_HERE = threading.local()


def computing_threads() -> int:
    """Return how many threads a network may compute with when it is called from this thread.

    Where torch is loaded that is torch's own number, so that both libraries keep to one rule. Elsewhere it is what
    :func:`use_threads` set in this thread, ``OMP_NUM_THREADS``, or the number of cores.
    """
    asked = getattr(sys.modules.get("torch"), "get_num_threads", None)
    if asked is not None:
        return int(asked())
    return int(getattr(_HERE, "threads", 0)) or _stated() or usable_cores()


def use_threads(count: int) -> None:
    """Let networks that are called from this thread compute with `count` threads."""
    told = getattr(sys.modules.get("torch"), "set_num_threads", None)
    if told is not None:
        told(count)
    else:
        _HERE.threads = count


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "process_cpu_count"):
        return os.process_cpu_count() or 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _stated() -> int:
    stated = os.environ.get("OMP_NUM_THREADS", "")
    return int(stated) if stated.isdigit() else 0
