"""Tiles through the encoder, and what to do when memory runs out."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.inference.inputs import EncodingModel
from napari_mtlpath.processors import Processor, computing_threads, usable_cores, use_threads

SMALLEST_BATCH = 2
"""A tile alone takes another path through the matrix products and differs in the last bit; from two tiles on a tile's
embedding does not depend on its batch (LeViT on CPU, batches of 2 to 64: equal bit for bit)."""

OUT_OF_MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory")
"""How RuntimeErrors of MPS and of torch's CPU allocator begin to say it."""


def encode(model: EncodingModel, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Embed tiles on the model's device.

    Parameters
    ----------
    model
        The model.
    tiles
        RGB, [tile, y, x, 3] of uint8.

    Returns
    -------
    Embeddings, [tile, feature].

    Raises
    ------
    ValueError
        If an embedding is not finite.
    """
    count = len(tiles)
    if count < SMALLEST_BATCH:
        tiles = np.concatenate([tiles] * SMALLEST_BATCH)
    array = model.encoder.embed_pixels(tiles)[:count]
    if not np.isfinite(array).all():
        raise ValueError(
            f"The encoder of model {model.card.name!r} gave values that are not finite. Check its weights."
        )
    return array


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedded:
    """Embeddings [tile, feature], and the batch size that the memory allowed."""

    features: NDArray[np.float32]
    size: int


def encode_within_memory(model: EncodingModel, tiles: Sequence[NDArray[np.uint8]], *, size: int) -> Embedded:
    """Embed tiles in batches of `size`, halved each time the memory does not suffice.

    Raises
    ------
    MemoryError
        If a single tile is too much.
    """
    done: list[NDArray[np.float32]] = []
    first = 0
    while first < len(tiles):
        batch = tiles[first : first + size]
        try:
            done.append(encode(model, np.stack(batch)))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if len(batch) == 1:
                raise MemoryError(
                    f"There is not enough memory on {model.device} for a single tile of model {model.card.name!r}. "
                    "Close other programs or choose another device."
                ) from error
            size = len(batch) // 2
            continue
        first += len(batch)
    return Embedded(features=np.concatenate(done), size=size)


def short_of_memory(model: EncodingModel, size: int) -> str:
    """Say that batches had to become smaller."""
    return f"Memory on {model.device} is short: going on with batches of {size} tiles."


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the batch was too large for the memory."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's: it is a RuntimeError
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in OUT_OF_MEMORY_WORDS)


def default_readers(device: Processor) -> int:
    """Return how many threads read tiles: few beside a CPU encoder, which needs the cores itself."""
    cores = usable_cores()
    return max(1, cores // 4) if device.type == "cpu" else min(8, max(2, cores - 1))


def scan_readers(device: Processor) -> int:
    """Return how many threads read tiles of a whole slide: beside a CPU encoder two at least; they sleep when ahead."""
    return max(2, default_readers(device))


@contextlib.contextmanager
def compute_threads(device: Processor) -> Iterator[None]:
    """Leave cores to the reader threads while a CPU encoder runs: both spinning for one core costs 1.3 to 1.5 x."""
    if device.type != "cpu":
        yield
        return
    before = computing_threads()
    use_threads(max(1, before - default_readers(device)))
    try:
        yield
    finally:
        use_threads(before)
