"""A computation in a thread of its own that its caller can leave in the middle."""

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, wait
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

Result = TypeVar("Result")

YIELD_SECONDS = 0.1
"""How often the caller is asked whether it still waits."""

MOST_PAIRS = 2**22
"""Pairs of query and key in one call of dense attention, the only operation that takes minutes for a large slide."""


def computed_aside(compute: Callable[[], Result]) -> Generator[None, None, Result]:
    """Compute in a thread of its own, on as many CPU threads as the caller, and return the result; yield meanwhile.

    Closing the generator leaves the computation at once: its thread ends with the operation of torch at hand, and
    nobody waits for it. Dense attention is computed for some queries at a time, so that no operation is long.

    Examples
    --------
    >>> list(computed_aside(lambda: 1)) in ([], [None])
    True
    """
    left = threading.Event()
    done: Future[Result] = Future()
    threads = torch.get_num_threads()

    def work() -> None:
        torch.get_num_threads()  # before the next line: a thread takes the number of others at its first operation
        torch.set_num_threads(threads)
        try:
            with _Checkpoints(left):
                done.set_result(compute())
        except Exception as error:  # the outermost frame of a thread: the caller raises it
            done.set_exception(error)

    thread = threading.Thread(target=work, name="mtlpath-aside")
    thread.start()
    try:
        while not wait([done], timeout=YIELD_SECONDS).done:
            yield
    finally:
        left.set()
    thread.join()
    return done.result()


class _LeftAlone(Exception):
    """Nobody waits any more."""


class _Checkpoints(TorchFunctionMode):
    """Ends what its thread computes at the next operation after it was left; see :func:`computed_aside`.

    Parameters
    ----------
    left
        Set once nobody waits.
    """

    def __init__(self, left: threading.Event) -> None:
        super().__init__()
        self._left = left

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  whatever the operation returns
        if self._left.is_set():
            raise _LeftAlone
        if func is functional.scaled_dot_product_attention and len(args) == 3 and not kwargs:
            return self._attended(*args)
        return func(*args, **(kwargs or {}))

    def _attended(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Return dense attention, whose rows do not know of each other, for some of them at a time."""
        parts = []
        for part in torch.split(queries, max(1, MOST_PAIRS // keys.shape[-2]), dim=-2):
            if self._left.is_set():
                raise _LeftAlone
            parts.append(functional.scaled_dot_product_attention(part, keys, values))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-2)
