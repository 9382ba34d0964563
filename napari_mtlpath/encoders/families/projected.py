"""An encoder of another family with the projector that it was pre-trained with behind it."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from napari_mtlpath.encoders.encoder import Encoder, EncoderFamily
from napari_mtlpath.encoders.projector import Projector
from napari_mtlpath.encoders.tile_network import NetworkEncoder
from napari_mtlpath.weights import load_weights


class Projected(EncoderFamily):
    """Network, then projector.

    Options: ``of`` (the family of the network), ``projector_width``, and those of that family.
    """

    @classmethod
    def build(cls, *, name: str, options: Mapping[str, Any], state: Mapping[str, Tensor] | None) -> Encoder:
        """Build network and projector; without `state` the weights are random, to be trained."""
        from napari_mtlpath.encoders.load import FAMILIES  # knows this family, too: imported when it is needed

        inner = dict(options)
        family, width = inner.pop("of", ""), inner.pop("projector_width", 0)
        if not family or not isinstance(width, int) or width < 1:
            raise ValueError(
                f"Encoder {name!r}: family projected needs the options 'of' (a family) and 'projector_width' (at least "
                f"1); found {family!r} and {width!r}. Correct the card."
            )
        base = FAMILIES.load(str(family)).build(name=name, options=inner, state=None)
        if not isinstance(base, NetworkEncoder):
            raise ValueError(f"Encoder {name!r}: family {family!r} has no network to put a projector behind.")
        network = base.module
        network.backbone = nn.Sequential(network.backbone, Projector(base.features, width=width))
        if state is not None:
            load_weights(network, state, what=f"The weights of encoder {name!r}")
        description = {**base.description, "family": "projected", "of": family, "projector_width": width}
        return NetworkEncoder(name=name, module=network, tile_px=int(base.tile_px), description=description)
