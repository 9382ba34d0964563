"""What a pixel network answers about labelled tiles, and how good that is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from napari_mtlpath.evaluation.segmentation import Overlap, overlap
from napari_mtlpath.nn.pixels.network import PixelNetwork
from napari_mtlpath.tasks import AnyTask, PixelRegression, Segmentation
from napari_mtlpath.training.losses.pixels import UNKNOWN_PIXEL
from napari_mtlpath.training.pixels.pixel_data import LabelledPixels, tile_tasks
from napari_mtlpath.training.tile_training.tile_answers import decide

ANSWER_BATCH = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelFacts:
    """What is kept of answers to some tiles, tile by tile: enough for every figure and for its interval.

    Attributes
    ----------
    overlaps
        By segmentation task.
    errors
        By pixel regression task: sum of absolute errors and number of known pixels, [tile, 2].
    answers
        By tile task: class index or value, [tile].
    """

    overlaps: Mapping[str, Overlap]
    errors: Mapping[str, Float[NDArray, "tile 2"]]
    answers: Mapping[str, Float[NDArray, " tile"]]


@torch.inference_mode()
def answer_facts(network: PixelNetwork, side: LabelledPixels, *, device: torch.device) -> PixelFacts:
    """Ask a network in evaluation mode about labelled tiles, some at a time."""
    overlaps: dict[str, list[Overlap]] = {}
    errors: dict[str, list[NDArray]] = {}
    answers: dict[str, list[NDArray]] = {}
    for start in range(0, len(side), ANSWER_BATCH):
        part = side.part(slice(start, start + ANSWER_BATCH))
        said = network(part.tiles.to(device)).tasks
        for task in network.tasks:
            match task:
                case Segmentation():
                    found = mask_overlap(task, said[task.name].argmax(1).byte().cpu().numpy(), part)
                    overlaps.setdefault(task.name, []).append(found)
                case PixelRegression():
                    wrong = value_errors(task, said[task.name][:, 0].float().cpu().numpy(), part)
                    errors.setdefault(task.name, []).append(wrong)
                case _:
                    answers.setdefault(task.name, []).append(decide(task, said[task.name].float()))
    return PixelFacts(
        overlaps={
            name: Overlap(
                both=np.concatenate([each.both for each in parts]),
                said=np.concatenate([each.said for each in parts]),
                true=np.concatenate([each.true for each in parts]),
            )
            for name, parts in overlaps.items()
        },
        errors={name: np.concatenate(parts) for name, parts in errors.items()},
        answers={name: np.concatenate(parts) for name, parts in answers.items()},
    )


def mask_overlap(task: Segmentation, said: NDArray[np.uint8], side: LabelledPixels) -> Overlap:
    """Count how predicted classes, [tile, y, x], overlap with the true ones."""
    return overlap(said, side.pixels[task.name].numpy(), classes=len(task.classes), unknown=UNKNOWN_PIXEL)


def value_errors(task: PixelRegression, said: NDArray, side: LabelledPixels) -> Float[NDArray, "tile 2"]:
    """Return the sum of the absolute errors over the known pixels of each tile, and how many these are."""
    wrong = np.abs(said - side.pixels[task.name].numpy().astype(np.float64))
    known = ~np.isnan(wrong)
    return np.stack([np.where(known, wrong, 0.0).sum((1, 2)), known.sum((1, 2))], axis=1)


def known_labels(tasks: Sequence[AnyTask], side: LabelledPixels, name: str) -> tuple[NDArray, NDArray[np.bool_]]:
    """Return the truth of a tile task and where it is known, [tile]."""
    column = [task.name for task in tile_tasks(tasks)].index(name)
    truth = side.labels[:, column].double().numpy()
    return truth, ~np.isnan(truth)
