"""Telling that memory ran out from other errors."""

import gc

import torch

CPU_WORDS = ("not enough memory", "can't allocate memory")
"""How torch's allocator of the main memory says it; it raises a plain RuntimeError."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, on a GPU or in the machine.

    Examples
    --------
    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shapes differ"))
    (True, False)
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in CPU_WORDS)


def release_memory() -> None:
    """Give back to the GPU what nobody holds any more, so that a second attempt has all there is."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
