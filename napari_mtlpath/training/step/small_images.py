"""Convolutions that a CPU computes wrongly in bfloat16, computed in float32 instead."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

CONVOLUTION: Callable[..., Any] = torch.conv2d


class _ExactWhereSmaller(TorchFunctionMode):
    """Leaves autocast for 2-D convolutions of images that are smaller than the stride."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  whatever the function returns
        if func is not CONVOLUTION or not _is_smaller_than_stride(*args, **(kwargs or {})):
            return func(*args, **(kwargs or {}))
        given = [_exact(value) for value in args]
        with torch.autocast("cpu", enabled=False):
            return func(*given, **{name: _exact(value) for name, value in (kwargs or {}).items()})


@contextlib.contextmanager
def exact_on_small_images() -> Iterator[None]:
    """Compute what follows without the convolutions that go wrong in bfloat16; inside CPU autocast, else idle.

    oneDNN (as in torch 2.15, on processors with AVX-512 BF16) reads memory that nobody wrote when it computes the
    gradient of a convolution's weights in bfloat16 and the image is smaller than the stride, such as a 3 x 3
    convolution of stride 2 on one pixel: the last stage of a network on small tiles. The gradient is then NaN, or any
    number, unseen. Such convolutions are computed in float32, which is right, and costs nothing on images that small.
    """
    if not torch.is_autocast_enabled("cpu"):
        yield
        return
    with _ExactWhereSmaller():
        yield


def _is_smaller_than_stride(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    *_: object,
    **__: object,
) -> bool:
    if input.device.type != "cpu":
        return False
    steps = (stride, stride) if isinstance(stride, int) else tuple(stride) * (2 // len(stride))
    return any(side < step for side, step in zip(input.shape[-2:], steps, strict=True))


def _exact(value: object) -> object:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
