"""The small parts that pixel networks are made of."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


def convolution(inputs: int, outputs: int, *, kernel: int = 3) -> nn.Sequential:
    """Return convolution - batch norm - ReLU; the size of the image stays as it is."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def reduced(image: Float[Tensor, "tile channel y x"], size: tuple[int, int]) -> Float[Tensor, "tile channel y2 x2"]:
    """Return an image max-pooled to a size: by 2 x 2 with stride 2 where it halves, by the nearest windows where not.

    Backbones round odd sizes up or down, so the size is theirs, not half of the image's.
    """
    found = (image.shape[2], image.shape[3])
    if found == size:
        return image
    if found == (2 * size[0], 2 * size[1]):
        return functional.max_pool2d(image, 2)
    return functional.adaptive_max_pool2d(image, size)


def enlarged(image: Float[Tensor, "tile channel y x"], size: tuple[int, int]) -> Float[Tensor, "tile channel y2 x2"]:
    """Return an image brought to a size by bilinear interpolation between pixel centres."""
    if (image.shape[2], image.shape[3]) == size:
        return image
    return functional.interpolate(image, size=size, mode="bilinear", align_corners=False)


def size_of(image: Tensor) -> tuple[int, int]:
    """Return (y, x) of an image [tile, channel, y, x]."""
    return (image.shape[2], image.shape[3])
