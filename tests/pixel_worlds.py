"""Small pixel networks and tasks for tests."""

import numpy as np
import torch

from napari_mtlpath.nn.pixels.network import PixelNetwork
from napari_mtlpath.simulation.cells import CELL_TASKS, UNKNOWN, CellSet
from napari_mtlpath.tasks import AnyTask, Classification, PixelRegression, Segmentation
from napari_mtlpath.training.config.pixels import PixelsConfig
from napari_mtlpath.training.config.train_config import parse_config
from napari_mtlpath.zoo.pixel_load import PIXEL_NETWORKS

PARTS = Segmentation(name="cell_parts", classes=("background", "cytoplasm", "nucleus"), title="Parts of cells")
TYPES = Classification(name="cell_type", classes=("a", "b", "c", "d"), title="Cell type")
STAIN = PixelRegression(name="stain", unit="OD", high=2.0)
SMALL = {"backbone": "resnet10t", "arguments": {"channels": [4, 6, 8, 8], "stem_width": 4}}


def small_network(
    name: str = "ctan", tasks: tuple[AnyTask, ...] = (PARTS, TYPES), seed: int = 0, **options: object
) -> PixelNetwork:
    """A network of some thousand weights, in eval mode, its batch statistics not those of nothing."""
    network = PIXEL_NETWORKS.load(name).build(
        tasks=tasks, options=SMALL | options, generator=torch.Generator().manual_seed(seed)
    )
    stir = torch.Generator().manual_seed(seed + 1)
    for key, value in network.state_dict().items():
        if key.endswith("running_mean"):
            value.copy_(torch.randn(value.shape, generator=stir) * 0.3)
        elif key.endswith("running_var"):
            value.copy_(torch.rand(value.shape, generator=stir) + 0.5)
    return network.eval()


def random_tiles(count: int = 2, height: int = 64, width: int = 64, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=generator)


CREAM, RED_CELL, LAVENDER, PURPLE = (253, 228, 204), (202, 165, 167), (180, 150, 180), (88, 42, 138)
"""Medians of background, red cells, monocyte cytoplasm and nuclei in the archive of real cells."""
SIDE = 48


def drawn_cells(count: int = 40, *, seed: int = 0) -> tuple[CellSet, np.ndarray]:
    """Round cells on a smear with a red cell in a corner, and their true masks; the type is the size of the nucleus."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    images, masks = [], []
    for number in range(count):
        image = np.empty((SIDE, SIDE, 3))
        image[:] = CREAM
        image[np.hypot(y - 4, x - 4) < 7] = RED_CELL
        away = np.hypot(y - 23.5 - random.integers(-2, 3), x - 23.5 - random.integers(-2, 3))
        mask = (away < 13).astype(np.uint8) + (away < 5 + 3 * (number % 2))
        image[mask == 1], image[mask == 2] = LAVENDER, PURPLE
        images.append(np.clip(image + random.normal(0, 3, image.shape), 0, 255).astype(np.uint8))
        masks.append(mask)
    labels = np.full((count, len(CELL_TASKS)), UNKNOWN)
    labels[:, 0] = np.arange(count) % 2
    cells = CellSet(
        images=np.stack(images),
        names=tuple(f"cell-{number}.png" for number in range(count)),
        labels=labels,
        duplicate_groups=np.arange(count),
        in_validation=np.arange(count) % 4 > 1,
    )
    return cells, np.stack(masks)


def pixels_config(**tables: object) -> PixelsConfig:
    """A config that trains a small CTAN on the archive ``drawn.zip`` in seconds."""
    config = parse_config(
        {
            "kind": "pixels",
            "name": "tiny-pixels",
            "seed": 1,
            "data": {"source": "cells", "archive": "drawn.zip", "selection_share": 0.3},
            "network": {"options": SMALL},
            "optimisation": {"epochs": 3, "batch": 7, "learning_rate": 1e-2, "weight_decay": 0.0},
            "balancing": {"method": "dwa"},
            "card": {"title": "Tiny", "licence": "CC-BY-4.0", "made_for": "circles", "limits": "Made up."},
        }
        | tables
    )
    assert isinstance(config, PixelsConfig)
    return config
