"""Measuring a released model again from its folder, and writing the figures into its card."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import safe_open

from napari_mtlpath.encoders.cards import ENCODER_FILE, EncoderCard, encoder_toml, read_encoder_card
from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.encoders.load import load_encoder
from napari_mtlpath.encoders.readme import encoder_readme
from napari_mtlpath.files import replacing
from napari_mtlpath.folders import patients_folder
from napari_mtlpath.nn.outputs import BagOutput
from napari_mtlpath.tasks import Classification, Regression, Task
from napari_mtlpath.training.bags.bags import Answer, Bag, CardMetrics
from napari_mtlpath.training.config.pixels import PixelsConfig
from napari_mtlpath.training.config.pool import PoolConfig
from napari_mtlpath.training.config.slide_aware import SlideAwareConfig
from napari_mtlpath.training.config.train_config import BagsConfig, TilesConfig, read_config
from napari_mtlpath.training.end_to_end.encoding import FreshFeatures
from napari_mtlpath.training.pixels.pixel_answers import answer_facts
from napari_mtlpath.training.pixels.pixel_figures import pixel_figures
from napari_mtlpath.training.pixels.sources import pixel_data
from napari_mtlpath.training.pool.measure_pool import measure_pool
from napari_mtlpath.training.slide_aware.figures import card_figures
from napari_mtlpath.training.slide_aware.sources import slide_tiles
from napari_mtlpath.training.slide_aware.views import views_of
from napari_mtlpath.training.sources import bag_source, tile_data
from napari_mtlpath.training.tile_training.multi_head import MultiHead
from napari_mtlpath.training.tile_training.publish_encoder import CONFIG_FILE, HEADS_FILE
from napari_mtlpath.training.tile_training.tile_figures import encoder_figures
from napari_mtlpath.zoo.card import MODEL_FILE, model_toml, read_model_card
from napari_mtlpath.zoo.load import load_model
from napari_mtlpath.zoo.model import SlideModel
from napari_mtlpath.zoo.pixel_load import load_pixel_model
from napari_mtlpath.zoo.save import model_readme


def measure(folder: Path, *, data: tuple[Path, ...] = ()) -> CardMetrics:
    """Return the figures of the released model in `folder`, from its weights as they lie there.

    They are those that training wrote into the card: the same validation data, the same floors.

    Parameters
    ----------
    folder
        A tile encoder's or slide model's folder with its ``train.toml``.
    data
        More folders to look for data files in.
    """
    config = read_config(folder / CONFIG_FILE)
    match config:
        case TilesConfig():
            tiles = tile_data(config.data, folders=data)
            module = load_multi_head(folder)
            return encoder_figures(module, tiles, device=torch.device("cpu"))
        case PoolConfig():
            return measure_pool(folder, config, data=data)
        case SlideAwareConfig():
            views = views_of(config.views, tile_px=int(read_encoder_card(folder).tile_px or 0))
            return card_figures(slide_tiles(config, folders=data), views, load_encoder(folder).embed)
        case PixelsConfig():
            drawn = pixel_data(config, folders=(folder, *data)).only(config.tasks)
            network = load_pixel_model(folder, device="cpu").network
            facts = {
                name: answer_facts(network, side, device=torch.device("cpu")) for name, side in drawn.tests.items()
            }
            return pixel_figures(drawn, facts)
        case BagsConfig():
            source = bag_source(config, folders=(folder, patients_folder(folder), *data), device=torch.device("cpu"))
            with torch.inference_mode():
                return source.figures(_answer(load_model(folder, device="cpu"), config))


def _answer(model: SlideModel, config: BagsConfig) -> Answer:
    """Return how a model answers bags; from tiles where it was trained with its encoder."""
    table = config.encoder_training
    fresh = None
    if table is not None:
        assert isinstance(model.encoder, Encoder)  # loaded for torch
        fresh = FreshFeatures(model.encoder.module, piece=table.piece)

    def answer(bag: Bag) -> BagOutput:
        features = bag.features if fresh is None or bag.tiles is None else fresh.of(bag.tiles)
        output: BagOutput = model.aggregator(features, bag.coordinates, explain=True)
        return output

    return answer


def add_figures(folder: Path, groups: CardMetrics) -> None:
    """Write groups of figures into the card and README in `folder`, replacing groups of the same names."""
    if (folder / ENCODER_FILE).is_file():
        card = read_encoder_card(folder)
        _rewrite_encoder(folder, replace(card, metrics={**card.metrics, **groups}))
        return
    model = read_model_card(folder)
    model = replace(model, metrics={**model.metrics, **groups})
    _write(folder / MODEL_FILE, model_toml(model))
    _write(folder / "README.md", model_readme(model))


def load_multi_head(folder: Path) -> MultiHead:
    """Return the released encoder with the heads that it was trained with, in evaluation mode."""
    encoder = load_encoder(folder)
    with safe_open(folder / HEADS_FILE, framework="pt") as stored:
        tasks = [_task(values) for values in json.loads(stored.metadata()["tasks"])]
        state = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  safe_open is no mapping
    module = MultiHead(encoder.module, features=encoder.features, tasks=tasks)
    missing = module.load_state_dict(state, strict=False).missing_keys
    if any(not name.startswith("network.") for name in missing):
        raise ValueError(f"{HEADS_FILE} in {folder.name!r} lacks {', '.join(missing)}. Train the encoder again.")
    return module.eval()


def _task(values: Mapping[str, object]) -> Task:
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items() if key != "kind"}
    return Classification(**plain) if values["kind"] == "classification" else Regression(**plain)  # type: ignore[arg-type]  # as written from the same classes


def _rewrite_encoder(folder: Path, card: EncoderCard) -> None:
    _write(folder / ENCODER_FILE, encoder_toml(card))
    _write(folder / "README.md", encoder_readme(card))


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
