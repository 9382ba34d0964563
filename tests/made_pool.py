"""Pools made up for tests: small pictures whose class is a colour, or is written by chance."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from napari_mtlpath.tasks import Classification
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.training.config.pool import PoolConfig
from napari_mtlpath.training.pool.parts import Part
from napari_mtlpath.training.pool.pool_network import PoolNetwork
from napari_mtlpath.training.pool.task_pool import PoolTask, Samples, TaskPool
from napari_mtlpath.units import Microns, TilePixels

PX = 16


def made_task(
    name: str, count: int = 60, *, classes: int = 2, seed: int = 0, chance: bool = False, related: str = ""
) -> PoolTask:
    """A task whose class is the picture's brightness, or (`chance`) nothing that can be seen; one group per picture."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    shades = 40 + 160 * labels // max(classes - 1, 1) if not chance else random.integers(40, 200, count)
    noise = random.integers(-20, 21, (count, PX, PX, 3))
    pictures = np.clip(shades[:, None, None, None] + noise, 0, 255).astype(np.uint8)
    if chance:
        labels = random.integers(0, classes, count)
    places = random.permutation(count)
    cuts = {Part.TRAIN: places[: count // 2], Part.VALIDATION: places[count // 2 : 3 * count // 4]}
    cuts[Part.TEST] = places[3 * count // 4 :]
    return PoolTask(
        task=Classification(name=name, classes=tuple(f"class {code}" for code in range(classes))),
        parts={
            part: Samples(
                pictures=pictures, items=cut, labels=labels[cut], groups=tuple(f"picture-{place}" for place in cut)
            )
            for part, cut in cuts.items()
        },
        related=related or name,
        facts=f"{count} made-up pictures",
    )


def made_pool(*tasks: PoolTask) -> TaskPool:
    """A pool of 16-pixel tiles."""
    return TaskPool(tasks=tasks, spec=TileSpec(tile_um=Microns(16.0), tile_px=TilePixels(PX)))


def pool_config(**tables: object) -> PoolConfig:
    """A small config; `tables` replace its own."""
    optimisation = {"epochs": 1, "steps_per_epoch": 4, "batch": 12, "learning_rate": 1e-2}
    plain = {
        "kind": "pool",
        "name": "made-pool",
        "pool": [{"name": "any", "source": "folder"}],
        "tile": {"tile_px": PX, "tile_um": 16.0},
        "encoder": {"options": {"model": "test_resnet"}},
        "optimisation": optimisation | dict(tables.pop("optimisation", {})),
    }
    return PoolConfig.model_validate(plain | tables)


class TinyTrunk(nn.Module):
    """Mean colour -> linear -> batch norm -> features: takes uint8 tiles, as encoders do."""

    def __init__(self, features: int = 5) -> None:
        super().__init__()
        self.linear = nn.Linear(3, features, bias=False)
        self.norm = nn.BatchNorm1d(features)

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        return self.norm(self.linear(tiles.to(self.linear.weight.dtype).mean((1, 2)) / 255))


def tiny_network(classes: Sequence[int], *, seed: int = 0) -> PoolNetwork:
    """A network of tasks t0, t1, ... with so many classes each, in float64."""
    torch.manual_seed(seed)
    tasks = [Classification(name=f"t{i}", classes=tuple(map(str, range(count)))) for i, count in enumerate(classes)]
    return PoolNetwork(TinyTrunk().double(), features=5, tasks=tasks).double()
