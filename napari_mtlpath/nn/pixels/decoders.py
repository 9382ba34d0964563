"""Decoders of a pixel network: back to pixels, or on to one answer per tile."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, cat, nn

from napari_mtlpath.nn.pixels.layers import convolution, enlarged, reduced, size_of


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskFeatures:
    """What one task's decoder reads.

    Attributes
    ----------
    skips
        Feature maps of all levels, the finest first.
    bottleneck
        Feature map at the coarsest level's resolution.
    mask
        The task's finest attention mask, or None where the network has none.
    """

    skips: Sequence[Float[Tensor, "tile _channel _y _x"]]
    bottleneck: Float[Tensor, "tile _channel _y _x"]
    mask: Float[Tensor, "tile _channel _y _x"] | None = None


class PixelDecoder(nn.Module):
    """Upsampling blocks (bilinear, skip, 3x3 convolution) up to the finest level, a 1x1 convolution, the tile's size.

    Three blocks with the published four levels (Kim et al., 2023, section 2.1).

    Parameters
    ----------
    channels
        Of the skips, the finest first; the bottleneck has those of the last.
    outputs
        Per pixel.
    """

    def __init__(self, channels: Sequence[int], *, outputs: int) -> None:
        super().__init__()
        finer, coarser = channels[:-1], channels[1:]
        self.blocks = nn.ModuleList(convolution(below + skip, skip) for skip, below in zip(finer, coarser, strict=True))
        self.head = nn.Conv2d(channels[0], outputs, 1)

    def forward(self, features: TaskFeatures, size: tuple[int, int]) -> Float[Tensor, "tile output y x"]:
        """Return logits or values for every pixel of tiles of a size (y, x)."""
        image = features.bottleneck
        for block, skip in reversed(list(zip(self.blocks, features.skips, strict=False))):
            image = block(cat([enlarged(image, size_of(skip)), skip], dim=1))
        return enlarged(self.head(image), size)


class TileDecoder(nn.Module):
    """Downsampling layers (3x3 convolution, max-pooling) with skips, global mean, a fully connected layer.

    It starts at the finest skip, meets each coarser one after a layer, the bottleneck in place of the last, and goes
    down once more: four layers with the published four levels (Kim et al., 2023, section 2.1).

    Parameters
    ----------
    channels
        Of the skips, the finest first; the bottleneck has those of the last.
    outputs
        Per tile.
    """

    def __init__(self, channels: Sequence[int], *, outputs: int) -> None:
        super().__init__()
        inputs = (channels[0], *(2 * count for count in channels[1:]))
        following = (*channels[1:], channels[-1])
        self.layers = nn.ModuleList(convolution(old, new) for old, new in zip(inputs, following, strict=True))
        self.head = nn.Linear(channels[-1], outputs)

    def forward(self, features: TaskFeatures, size: tuple[int, int]) -> Float[Tensor, "tile output"]:
        """Return one row of logits per tile; the tiles' `size` does not matter."""
        image = features.skips[0]
        for layer, met in zip(self.layers, (*features.skips[1:-1], features.bottleneck), strict=False):
            image = cat([reduced(layer(image), size_of(met)), met], dim=1)
        height, width = size_of(image)
        last = reduced(self.layers[-1](image), (-(-height // 2), -(-width // 2)))
        return self.head(last.mean(dim=(2, 3)))
