"""A tiny model that was saved and loaded, and bags in which some tiles stand out: taught in milliseconds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_mtlpath.encoders.cards import EncoderCard
from napari_mtlpath.encoders.families.timm import Timm
from napari_mtlpath.encoders.load import build_encoder, load_encoder
from napari_mtlpath.tasks import Classification, Regression, Task
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.training.end_to_end.tiles import TilePool
from napari_mtlpath.training.teaching.config import TeachConfig, parse_teach_config
from napari_mtlpath.training.teaching.lesson import Lesson, TaughtBag
from napari_mtlpath.training.teaching.report import TeachReport
from napari_mtlpath.training.teaching.teach import teach
from napari_mtlpath.zoo.aggregators import AGGREGATORS
from napari_mtlpath.zoo.card import ModelCard
from napari_mtlpath.zoo.load import load_model
from napari_mtlpath.zoo.model import SlideModel
from napari_mtlpath.zoo.own_encoder import TrainedEncoder
from napari_mtlpath.zoo.save import save_model

TILE_PX = 32
"""Of the tiny encoder's tiles."""

COARSE, FINE = TileSpec(tile_um=56.0, tile_px=224), TileSpec(tile_um=56.0, tile_px=TILE_PX)

OLD = (Classification(name="dark"), Regression(name="share"), Classification(name="stain", classes=("a", "b", "c")))
NEW = Classification(name="bright")
SMALL = {"width": 8, "heads": 2, "feedforward": 1, "blocks": 1, "attention_width": 4}
"""Options that make an aggregator small, where it has them."""


class ArrayPool(TilePool):
    """Tiles in memory; notes which were asked for."""

    def __init__(self, tiles: np.ndarray) -> None:
        self.tiles = torch.from_numpy(tiles)
        self.asked: list[set[int]] = []

    def __len__(self) -> int:
        return len(self.tiles)

    def read(self, rows: torch.Tensor) -> torch.Tensor:
        self.asked.append(set(rows.tolist()))
        return self.tiles[rows]


def tiny_encoder(tile_px: int = TILE_PX) -> TrainedEncoder:
    """Return a tiny vision transformer with weights by chance, to be carried by a model."""
    options = {"model": "test_vit", "tile_px": tile_px}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Timm.build(name="tiny", options=options, state=None)
    card = EncoderCard(name="tiny", licence="BSD-3-Clause", family="timm", features=made.features, options=options)
    return TrainedEncoder(card=card, state=made.module.state_dict())


def saved_model(
    folder: Path,
    *,
    aggregator: str = "mecds",
    name: str = "parent",
    own: TrainedEncoder | None = None,
    tile: TileSpec = COARSE,
    **options: Any,
) -> SlideModel:
    """Save a model with weights by chance, and load it again: as any parent, it has weights that can be stored."""
    encoder = load_encoder("colour-stats") if own is None else build_encoder(replace(own.card, folder=None))
    kind = AGGREGATORS.load(aggregator)
    with torch.device("meta"):
        known = kind.build(tasks=OLD, features=encoder.features, options={}).options
    chosen = {key: value for key, value in SMALL.items() if key in known} | options
    chance = torch.Generator().manual_seed(1)
    module = kind.build(tasks=OLD, features=encoder.features, options=chosen, generator=chance)
    card = ModelCard(
        name=name,
        tasks=OLD,
        encoder=encoder.name,
        encoder_sha256=encoder.digest,
        tile=tile,
        aggregator=aggregator,
        options=dict(module.options),
        licence="BSD-3-Clause",
        metrics={"dark": {"auc": 0.9, "auc_floor": 0.5}},
        calibration={"dark": {"temperature": 2.0}},
        slide_labels_only=True,
    )
    save_model(folder / name, card, module.state_dict(), encoder=own)
    return load_model(folder / name, device="cpu")


def bag_of(
    number: int, *, tiles: int = 60, bright: int = 20, labelled: int = 12, label: float = float("nan"), **more: Any
) -> TaughtBag:
    """Return a bag whose first tiles are bright; of these and of the others so many are labelled."""
    features = load_encoder("colour-stats").features
    chance = np.random.default_rng(number)
    values = chance.normal(size=(tiles, features)).astype(np.float32)
    values[:bright, :8] += 2.5
    labels = np.full(tiles, np.nan)
    labels[: min(labelled, bright)] = 1.0
    labels[bright : bright + labelled] = 0.0
    order = chance.permutation(tiles)
    plain: dict[str, Any] = {
        "name": f"slide {number}",
        "fingerprint": f"{number:04d}",
        "features": values[order],
        "positions": np.stack(np.divmod(np.arange(tiles), 10), axis=1),
        "tile_labels": labels[order],
        "label": label,
        "origins": {"tile": int((~np.isnan(labels)).sum())} if labelled else {},
    }
    return TaughtBag(**(plain | more))


def pixel_bag(number: int, encoder: Any, *, tiles: int = 40, bright: int = 16, **more: Any) -> TaughtBag:
    """Return a bag like :func:`bag_of` whose features are an encoder's, of tiles that can be read."""
    bag = bag_of(number, tiles=tiles, bright=bright, **more)
    chance = np.random.default_rng(number)
    pixels = chance.integers(0, 160, (tiles, TILE_PX, TILE_PX, 3)).astype(np.uint8)
    pixels[bag.features[:, :8].mean(axis=1) > 1.25] += 90
    return replace(
        bag,
        features=encoder.embed_pixels(pixels),
        numbers=np.arange(tiles),
        grid="a grid",
        pixels=ArrayPool(pixels),
    )


def lesson_of(*numbers: int, task: Task = NEW, **more: Any) -> Lesson:
    """Return a lesson on the bags of these numbers, 1 if none is given."""
    return Lesson(task=task, bags=tuple(bag_of(number, **more) for number in numbers or (1,)))


def quick(**changes: Any) -> TeachConfig:
    """Return settings that take a fraction of a second."""
    small = {"steps": 4, "refresh_every": 2, "batch": 2, "largest_bag": 24, "learning_rate": 5e-3}
    return parse_teach_config(small | changes)


def taught_reports(
    model: SlideModel, lesson: Lesson, folder: Path, *, config: TeachConfig | None = None, **more: Any
) -> list[TeachReport]:
    """Teach and return all reports."""
    return list(teach(model, lesson, config or quick(), folder=folder, **more))


def weights_of(model: SlideModel) -> dict[str, torch.Tensor]:
    """Return a copy of a model's weights."""
    return {name: value.clone() for name, value in model.aggregator.state_dict().items()}


def same_bits(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two sets of weights are equal in every name and bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
