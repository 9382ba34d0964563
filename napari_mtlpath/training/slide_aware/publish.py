"""Pre-trained network -> encoder folder, with measured figures and the config."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import nn

from napari_mtlpath.encoders.cards import EncoderCard
from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.encoders.save import save_encoder
from napari_mtlpath.encoders.tile_network import TileNetwork
from napari_mtlpath.training.bags.bags import CardMetrics
from napari_mtlpath.training.config.slide_aware import SlideAwareConfig
from napari_mtlpath.training.slide_aware.network import SlideAwareNetwork
from napari_mtlpath.training.slide_aware.slide_tiles import SlideTilesData
from napari_mtlpath.training.tile_training.publish_encoder import CONFIG_FILE, write_config


def publish_slide_aware(
    folder: Path,
    *,
    config: SlideAwareConfig,
    data: SlideTilesData,
    start: Encoder,
    start_card: EncoderCard | None,
    module: SlideAwareNetwork,
    metrics: CardMetrics,
    facts: Mapping[str, str | int | float],
) -> Path:
    """Write encoder, card and config to `folder` and return it.

    Parameters
    ----------
    start, start_card
        What the network was before training, and the card that it was built from if it had one.
    metrics
        Figures of the rounded weights, for the card.
    facts
        Epochs, minutes, machine.
    """
    family = start_card.family if start_card is not None else config.encoder.family
    options = dict(start_card.options) if start_card is not None else dict(config.encoder.options)
    options = {"tile_px": int(data.spec.tile_px), **options}
    features = start.features
    with _released(module, config) as network:
        if config.encoder.features == "projector":
            options |= {"of": family, "projector_width": config.objective.width}
            family, features = "projected", config.objective.width
        texts = config.card
        stated = {key: value for key, value in (dict(data.facts) | dict(facts)).items() if value != ""}
        card = EncoderCard(
            name=config.name,
            family=family,
            features=features,
            options=options,
            licence=texts.licence,
            attribution=texts.attribution,
            title=texts.title,
            summary=texts.summary,
            made_for=texts.made_for,
            limits=texts.limits,
            tile=data.spec,
            metrics=metrics,
            provenance={
                **stated,
                "objective": str(config.objective.kind),
                "seed": config.seed,
                "command": f"mtlpath train models/tile-encoders/{config.name}/{CONFIG_FILE}",
            },
        )
        save_encoder(folder, card, network.state_dict())
    write_config(folder, config)
    return folder


@contextlib.contextmanager
def _released(module: SlideAwareNetwork, config: SlideAwareConfig) -> Iterator[nn.Module]:
    """Give the network as its family builds it again: alone, or with the projector behind it."""
    network = module.network
    if config.encoder.features == "encoder":
        yield network
        return
    assert isinstance(network, TileNetwork)  # the job refused others
    alone = network.backbone
    network.backbone = nn.Sequential(alone, module.projector)
    try:
        yield network
    finally:
        network.backbone = alone
