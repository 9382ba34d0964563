"""Figures of a pre-trained encoder and its tile model, measured again from their folders."""

from pathlib import Path

import torch

from napari_mtlpath.encoders.load import load_encoder
from napari_mtlpath.training.bags.bags import CardMetrics
from napari_mtlpath.training.config.pool import PoolConfig
from napari_mtlpath.training.pool.parts import Part
from napari_mtlpath.training.pool.pool_answers import features_of, part_of
from napari_mtlpath.training.pool.publish_pool import figures_of_test, tile_model_folder
from napari_mtlpath.training.pool.task_pool import read_pool
from napari_mtlpath.zoo.load import load_model


@torch.inference_mode()
def measure_pool(folder: Path, config: PoolConfig, *, data: tuple[Path, ...] = ()) -> CardMetrics:
    """Return the figures of the encoder in `folder` with the heads of its tile model, as training wrote them."""
    pool = read_pool(config, folders=data).without(config.leave_out)
    place, px = torch.device("cpu"), int(pool.spec.tile_px)
    aggregator = load_model(tile_model_folder(folder), device="cpu").aggregator
    features = features_of(load_encoder(folder).module, part_of(pool.tasks, Part.TEST), tile_px=px, device=place)
    logits = {}
    for task in pool.tasks:
        weight, bias = aggregator.task_parameters(task.name)
        logits[task.name] = (torch.from_numpy(features[task.name]) @ weight.T + bias).numpy()
    return figures_of_test(pool, logits)
