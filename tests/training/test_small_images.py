"""bfloat16 on a CPU: convolutions that oneDNN computes from unwritten memory are computed in float32."""

from pathlib import Path

import pytest
import torch
from made_cells import made_cells, write_archive
from torch import Tensor
from torch.nn import functional

from napari_mtlpath.training.config.train_config import TilesConfig, parse_config
from napari_mtlpath.training.step.small_images import exact_on_small_images
from napari_mtlpath.training.tile_training.tile_data import cell_tiles
from napari_mtlpath.training.tile_training.tiles_job import TilesJob
from napari_mtlpath.training.train_job import make_loop


def litter() -> None:
    """Leave freed memory full of NaN, as a long training may."""
    for size in range(1, 30):
        torch.full((size * 997 + 13,), float("nan"))


def gradient(images: Tensor, weights: Tensor, *, stride: int, bfloat16: bool) -> tuple[Tensor, torch.dtype]:
    learned = weights.clone().requires_grad_()
    litter()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16), exact_on_small_images():
        result = functional.conv2d(images, learned, None, (stride, stride), 1)
    result.float().square().sum().backward()
    assert learned.grad is not None
    return learned.grad, result.dtype


@pytest.mark.parametrize(("side", "stride"), [(1, 2), (1, 3), (2, 3)])
def test_images_smaller_than_the_stride_are_exact(side: int, stride: int):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(20, 16, side, side, generator=generator)
    weights = torch.randn(16, 16, 3, 3, generator=generator)
    expected, _ = gradient(images, weights, stride=stride, bfloat16=False)
    for _ in range(10):
        found, dtype = gradient(images, weights, stride=stride, bfloat16=True)
        assert dtype is torch.float32
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("side", "stride"), [(2, 2), (3, 1), (8, 2)])
def test_other_images_are_computed_in_bfloat16_as_asked(side: int, stride: int):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(20, 16, side, side, generator=generator)
    weights = torch.randn(16, 16, 3, 3, generator=generator)
    expected, _ = gradient(images, weights, stride=stride, bfloat16=False)
    found, dtype = gradient(images, weights, stride=stride, bfloat16=True)
    assert dtype is torch.bfloat16
    assert float((found - expected).abs().max() / expected.abs().max()) < 0.05


def test_a_tiny_encoder_trains_in_bfloat16_on_a_cpu(tmp_path: Path):
    """Without the care of this module the gradient of its last stage was NaN within a few steps."""
    write_archive(tmp_path / "cells.zip", made_cells(100))
    small = {"channels": [8, 8, 16, 16], "stem_width": 8}
    config = parse_config(
        {
            "kind": "tiles",
            "name": "tiny",
            "data": {"source": "cells", "archive": "cells.zip"},
            "encoder": {"options": {"model": "resnet10t", "arguments": small}},
            "optimisation": {"epochs": 1, "batch": 20, "learning_rate": 5e-3, "precision": "bfloat16"},
        }
    )
    assert isinstance(config, TilesConfig)
    job = TilesJob(config, cell_tiles(config.data, folders=(tmp_path,)), device=torch.device("cpu"))
    step = make_loop(job, config, folder=tmp_path / "runs", key="key").optimisation
    job.module.train()
    for epoch in range(5):
        for batch in job.batches(epoch, torch.Generator().manual_seed(epoch)):
            litter()
            step.take([batch])  # a gradient that is not finite raises
    assert all(bool(torch.isfinite(value).all()) for value in job.module.state_dict().values())
