"""Trained pixel network -> model folder: weights, card with measured figures, and the config."""

from collections.abc import Mapping
from pathlib import Path

from napari_mtlpath.nn.pixels.network import PixelNetwork
from napari_mtlpath.training.bags.bags import CardMetrics
from napari_mtlpath.training.config.pixels import PixelsConfig
from napari_mtlpath.training.pixels.pixel_data import PixelData
from napari_mtlpath.training.tile_training.publish_encoder import CONFIG_FILE, write_config
from napari_mtlpath.zoo.pixel_card import PixelCard
from napari_mtlpath.zoo.pixel_load import save_pixel_model

SHARED = (
    "Its tasks share what they attend to: none can be added, or taught again, without changing the others' answers, so "
    "it gives no guarantee of isolation."
)


def publish_pixels(
    folder: Path,
    *,
    config: PixelsConfig,
    data: PixelData,
    network: PixelNetwork,
    metrics: CardMetrics,
    facts: Mapping[str, str | int | float],
) -> Path:
    """Write network, card and config to `folder` and return it.

    Parameters
    ----------
    metrics
        Figures of the rounded weights, for the card.
    facts
        Epochs, minutes, machine.
    """
    texts = config.card
    own = folder / CONFIG_FILE
    kept = {CONFIG_FILE: own.read_text(encoding="utf-8")} if own.is_file() else {}
    card = PixelCard(
        name=config.name,
        tasks=network.tasks,
        tile=data.spec,
        network=config.network.name,
        options=network.options,
        licence=texts.licence,
        attribution=texts.attribution,
        title=texts.title,
        summary=texts.summary,
        made_for=texts.made_for,
        masks=data.masks,
        limits=f"{texts.limits} {SHARED}".strip() if len(network.shared_parameters()) else texts.limits,
        metrics={group: dict(row) for group, row in metrics.items()},
        provenance={
            **{key: value for key, value in (dict(data.facts) | dict(facts)).items() if value != ""},
            "seed": config.seed,
            "command": f"mtlpath train models/pixel-models/{config.name}/{CONFIG_FILE}",
        },
    )
    save_pixel_model(folder, card, network.state_dict(), files=kept)
    write_config(folder, config)
    return folder
