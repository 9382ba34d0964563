"""A slide model for journeys: colour statistics below, a small MECDS above, weights by chance and always the same."""

from pathlib import Path

import torch

from napari_mtlpath.encoders.load import load_encoder
from napari_mtlpath.nn.aggregators.mecds import MECDS
from napari_mtlpath.tasks import Classification, Regression
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.zoo.card import ModelCard
from napari_mtlpath.zoo.save import save_model

TASKS = (
    Classification(name="dark", title="Dark tissue", question="Is there dark tissue?"),
    Regression(name="pink", title="Pink stroma", question="What share of the tissue is pink?", unit="share"),
    Classification(name="stain", title="Stain", question="Which stain is it?", classes=("H&E", "IHC", "Giemsa")),
)
OPTIONS = {"width": 48, "heads": 4, "blocks": 2, "feedforward": 2}


def write_journey_model(models: Path, name: str = "colours", *, seed: int = 0) -> str:
    """Save the model below a models folder and return its name."""
    encoder = load_encoder("colour-stats")
    generator = torch.Generator().manual_seed(seed)
    aggregator = MECDS.build(tasks=TASKS, features=encoder.features, options=OPTIONS, generator=generator)
    card = ModelCard(
        name=name,
        title="Colours, by chance" if not seed else f"Colours, by chance, {seed}",
        summary="A model for tests whose weights were never trained: its numbers mean nothing.",
        tasks=TASKS,
        encoder=encoder.name,
        encoder_sha256=encoder.digest,
        tile=TileSpec(tile_um=56.0, tile_px=224),
        aggregator="mecds",
        options=OPTIONS,
        made_for="tests of this program",
        limits="It was never trained.",
        licence="BSD-3-Clause",
        metrics={"dark": {"auc": 0.5, "auc_floor": 0.5, "auc_low": 0.4, "auc_high": 0.6}},
    )
    save_model(models / "slide-models" / name, card, aggregator.state_dict())
    return name
