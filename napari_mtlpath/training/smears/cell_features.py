"""Embeddings of single cells in all eight ways of lying, from which bags of simulated smears are composed."""

import hashlib
import logging
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.files import replacing
from napari_mtlpath.folders import cache_folder
from napari_mtlpath.simulation.cells import CellSet
from napari_mtlpath.simulation.smear import TURNS, Smear, turned
from napari_mtlpath.simulation.smear_file import recoded

logger = logging.getLogger(__name__)

BATCH = 64


def cell_features(
    encoder: Encoder, cells: CellSet, *, device: torch.device | None = None, folder: Path | None = None
) -> Float[Tensor, "cell turn feature"]:
    """Return the embeddings of every cell as it looks on a smear, turned in each of eight ways, after JPEG coding.

    A bag of a smear is then a choice of rows, equal to the bag that encoding the written slide gives
    (see :func:`napari_mtlpath.simulation.smear_file.write_smear`).

    Parameters
    ----------
    folder
        Where results are kept from one run to the next (default: below the cache folder).
    """
    path = (folder or cache_folder() / "cell-features") / f"{_key(encoder, cells)}.npy"
    if path.is_file():
        return torch.from_numpy(np.load(path, allow_pickle=False))
    logger.info("Embedding %d cells in %d ways with %s.", len(cells), TURNS, encoder.name)
    features = torch.empty(len(cells), TURNS, encoder.features)
    place = device or torch.device("cpu")
    encoder.module.to(place)
    with torch.inference_mode():
        for start in range(0, len(cells), BATCH // TURNS):
            images = cells.images[start : start + BATCH // TURNS]
            views = np.stack([recoded(turned(image, turn)) for image in images for turn in range(TURNS)])
            embedded = encoder.embed(torch.from_numpy(views).to(place)).cpu()
            features[start : start + len(images)] = embedded.view(len(images), TURNS, -1)
    with replacing(path) as temporary:
        np.save(temporary, features.numpy())
    return features


def bag_of(features: Float[Tensor, "cell turn feature"], smear: Smear) -> Float[Tensor, "tile feature"]:
    """Return the bag of a smear, tiles in reading order."""
    cells, turns = (torch.from_numpy(array.reshape(-1)) for array in (smear.cells, smear.turns))
    return features[cells, turns]


def _key(encoder: Encoder, cells: CellSet) -> str:
    digest = hashlib.sha256(encoder.digest.encode())
    digest.update(np.ascontiguousarray(cells.images).tobytes())
    return digest.hexdigest()[:32]
