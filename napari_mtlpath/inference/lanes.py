"""Lanes: several batches in the encoder at once, each on its own part of the cores."""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.inference.encode import Embedded, encode_within_memory
from napari_mtlpath.inference.inputs import EncodingModel
from napari_mtlpath.processors import Processor, computing_threads, use_threads

MOST_LANES = 16
"""Beyond, a lane gets more cores instead: each lane costs the memory of a batch, and Python's lock is one for all."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TileBatch:
    """Tiles that were read together.

    Attributes
    ----------
    indices, tiles
        Those to be encoded: which they are, and their RGB pixels [y, x, 3].
    unreadable
        Those that could not be read.
    """

    indices: list[int]
    tiles: list[NDArray[np.uint8]]
    unreadable: list[int]


@dataclass(frozen=True, kw_only=True)
class LanePlan:
    """How many batches are encoded at once, and on how many threads each.

    Attributes
    ----------
    lanes, threads
        Lanes, and computing threads per lane; 0 leaves the threads as they are.
    """

    lanes: int
    threads: int

    @classmethod
    def on(cls, device: Processor) -> "LanePlan":
        """Share out the computing threads: one per lane on a CPU, a single lane on other devices.

        Threads that share one batch wait for each other after every layer, spinning; where the reader threads or other
        programs want the cores as well, that costs many times what it gains. A lane waits for nobody.
        """
        if device.type != "cpu":
            return cls(lanes=1, threads=0)
        threads = computing_threads()
        lanes = min(threads, MOST_LANES)
        return cls(lanes=lanes, threads=max(1, threads // lanes))


@runtime_checkable
class Sized(Protocol):
    """What a model makes of a batch."""

    @property
    def size(self) -> int:
        """Tiles that the memory allowed at once."""


Made = TypeVar("Made", bound=Sized)
"""What a model makes of a batch: embeddings, or answers."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedBatch(Generic[Made]):
    """A batch that went through the model.

    Attributes
    ----------
    batch
        What it was made of.
    embedded
        What the model made of it, or None where it has no tile.
    began, ended
        When its lane took it up and was done with it.
    """

    batch: TileBatch
    embedded: Made | None
    began: float
    ended: float


Work = Callable[[list[NDArray[np.uint8]], int], Made]
"""What a lane does: RGB tiles, and how many the memory holds at once -> what the model makes of them."""


def encoding(model: EncodingModel) -> "Work[Embedded]":
    """Return what lanes do with a model's encoder."""
    return lambda tiles, most: encode_within_memory(model, tiles, size=most)


class Lanes(Generic[Made]):
    """Threads that encode batches. A context: leaving it waits for the batches under way and drops the others.

    An embedding does not depend on the number of lanes (see ``SMALLEST_BATCH``).

    Parameters
    ----------
    work
        What is done with a batch, such as :func:`encoding`; called from several threads at once.
    device
        Where it is done.
    most
        Tiles that the memory holds in one lane; larger batches are cut.
    clock
        The time in seconds.

    Attributes
    ----------
    most
        May be lowered at any time, for the batches taken up later.
    """

    def __init__(
        self, work: "Work[Made]", *, device: Processor, most: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.most = most
        self._work = work
        self._clock = clock
        self._plan = LanePlan.on(device)
        self._threads_before = computing_threads()
        self._pool = ThreadPoolExecutor(self._plan.lanes, thread_name_prefix="mtlpath-encoder")
        self._under_way: deque[Future[EncodedBatch[Made]]] = deque()

    def __enter__(self) -> "Lanes[Made]":
        if self._plan.threads:
            all_begun = threading.Barrier(self._plan.lanes)
            for begun in [self._pool.submit(self._begin_thread, all_begun) for _ in range(self._plan.lanes)]:
                begun.result()
            # What a lane sets for itself torch takes for all threads yet to come, too: the viewer's among them.
            use_threads(self._threads_before)
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def through(self, batches: Iterable[TileBatch | str]) -> Generator[EncodedBatch[Made] | str, None, None]:
        """Encode batches; yields them in the order they came, and sentences at once.

        Each lane has one batch at work and one in reserve, so that none waits for a slower one whose batch is older; no
        more are taken from `batches` ahead of what is yielded.

        Raises
        ------
        MemoryError, ValueError, RuntimeError
            As :func:`encode_within_memory`.
        """
        for batch in batches:
            if isinstance(batch, str):
                yield batch
            else:
                self._under_way.append(self._pool.submit(self._encode, batch))
            while self._under_way and (len(self._under_way) > 2 * self._plan.lanes or self._under_way[0].done()):
                yield self._under_way.popleft().result()
        while self._under_way:
            yield self._under_way.popleft().result()

    def _encode(self, batch: TileBatch) -> EncodedBatch[Made]:
        began = self._clock()
        embedded = self._work(batch.tiles, self.most) if batch.tiles else None
        return EncodedBatch(batch=batch, embedded=embedded, began=began, ended=self._clock())

    def _begin_thread(self, all_begun: threading.Barrier) -> None:
        computing_threads()  # at the first question torch gives a thread the number of all, once
        use_threads(self._plan.threads)
        all_begun.wait()
