"""Trained aggregator -> slide-model folder: weights, card with measured figures, and the config."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.evaluation.prediction_files import remove_predictions, write_predictions
from napari_mtlpath.evaluation.predictions import Predictions
from napari_mtlpath.folders import patients_folder
from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.tables.split_file import SPLIT_FILE
from napari_mtlpath.training.bags.bags import BagSource, CardMetrics
from napari_mtlpath.training.config.train_config import BagsConfig
from napari_mtlpath.training.tile_training.publish_encoder import CONFIG_FILE, write_config
from napari_mtlpath.zoo.card import ModelCard
from napari_mtlpath.zoo.save import save_model


def publish_model(
    folder: Path,
    *,
    config: BagsConfig,
    source: BagSource,
    encoder: Encoder,
    module: Aggregator,
    metrics: CardMetrics,
    facts: Mapping[str, str | int | float],
    predictions: Sequence[Predictions] = (),
) -> Path:
    """Write aggregator, card and config to `folder` and return it; the encoder is named by hash.

    Split and predictions, which name patients, are written beside it; those of an earlier version inside are removed.
    """
    stated = {key: value for key, value in (dict(source.facts) | dict(facts)).items() if value != ""}
    card = ModelCard(
        name=config.name,
        tasks=source.tasks,
        encoder=encoder.name,
        encoder_sha256=encoder.digest,
        tile=source.spec,
        aggregator=config.aggregator.name,
        options=dict(module.options),
        metrics=metrics,
        slide_labels_only=source.slide_labels_only,
        provenance={
            **stated,
            "seed": config.seed,
            "command": f"mtlpath train models/slide-models/{config.name}/{CONFIG_FILE}",
        },
        **config.card.model_dump(),
    )
    save_model(folder, card, module.state_dict())
    write_config(folder, config)
    remove_predictions(folder)
    (folder / SPLIT_FILE).unlink(missing_ok=True)
    private = patients_folder(folder)
    source.write_split(private)
    if predictions:
        write_predictions(private, predictions)
    return folder
