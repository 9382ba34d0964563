"""A small simulated smear of made-up cells, and a model that knows nothing of their types, for teaching it one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from made_cells import SIDE, TYPES, made_cells

from napari_mtlpath.encoders.load import load_encoder
from napari_mtlpath.nn.aggregators.mecds import MECDS
from napari_mtlpath.simulation.smear import Composer, SmearSpec
from napari_mtlpath.simulation.smear_file import write_smear
from napari_mtlpath.tasks import Classification, Regression
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.zoo.card import ModelCard
from napari_mtlpath.zoo.save import save_model

TILE_PX = 224
TILE_UM = 84.0
"""At the smear's nominal 0.375 um per pixel a cell fills one tile."""

TASKS = (
    Classification(name="dark", title="Dark cells", question="Are there dark cells?"),
    Regression(name="pink", title="Pink share", question="Which share is pink?", unit="share"),
)
OPTIONS = {"width": 32, "heads": 4, "blocks": 1, "feedforward": 2, "mixing": "none", "expert_mixing": "mlp"}
KIND = "Eosinophil"


def write_cell_smear(path: Path, *, rows: int = 8, columns: int = 10, seed: int = 1) -> tuple[Path, np.ndarray]:
    """Write a smear and return its path and which tile shows an eosinophil, [row, column]."""
    cells = made_cells(120, seed=seed)
    scale = TILE_PX // SIDE
    large = replace(cells, images=cells.images.repeat(scale, axis=1).repeat(scale, axis=2))
    spec = SmearSpec(rows=rows, columns=columns, witness=KIND, witness_rate=0.2, neutrophil_share=0.3, seed=seed)
    smear = Composer(large, witness=KIND).compose(spec)
    is_kind = large.labels[:, 0][smear.cells] == TYPES.index(KIND)
    return write_smear(path, large, smear), is_kind


def write_ignorant_model(models: Path, name: str = "ignorant") -> str:
    """Save a model that was never trained below a models folder and return its name."""
    encoder = load_encoder("colour-stats")
    generator = torch.Generator().manual_seed(0)
    aggregator = MECDS.build(tasks=TASKS, features=encoder.features, options=OPTIONS, generator=generator)
    card = ModelCard(
        name=name,
        title="Colours, by chance",
        summary="A model for tests whose weights were never trained: its numbers mean nothing.",
        tasks=TASKS,
        encoder=encoder.name,
        encoder_sha256=encoder.digest,
        tile=TileSpec(tile_um=TILE_UM, tile_px=TILE_PX),
        aggregator="mecds",
        options=dict(aggregator.options),
        made_for="tests of this program",
        limits="It was never trained.",
        licence="BSD-3-Clause",
        slide_labels_only=True,
    )
    save_model(models / "slide-models" / name, card, aggregator.state_dict())
    return name
