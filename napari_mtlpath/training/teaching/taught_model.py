"""Saving a taught model as a new model folder with its proof, and removing a task again: whole or not at all."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.training.teaching.card import card_without, taught_card
from napari_mtlpath.training.teaching.extension import without_task
from napari_mtlpath.training.teaching.guard import Guard
from napari_mtlpath.training.teaching.lesson import TaughtBag
from napari_mtlpath.training.teaching.proof import PROOF_FILE, guard_facts, parent_facts, proof_of, proof_text
from napari_mtlpath.training.teaching.report import Taught
from napari_mtlpath.training.teaching.taught_encoder import carried_encoder
from napari_mtlpath.weights import as_stored
from napari_mtlpath.zoo.card import ModelCard
from napari_mtlpath.zoo.model import SlideModel
from napari_mtlpath.zoo.own_encoder import TrainedEncoder
from napari_mtlpath.zoo.save import save_model

PROBE_TILES = (1, 2, 37, 400)
"""Sizes of the made-up bags on which the other tasks are compared when one is removed."""


class ForgettingError(ValueError):
    """Old answers would change although they must not; nothing was saved."""


def save(taught: Taught, folder: Path) -> ModelCard:
    """Save a taught model as the model folder `folder` and return its card; ``proof.json`` lies beside the weights.

    What is compared is what will be read again: the weights as they are stored.

    Parameters
    ----------
    taught
        What teaching returned.
    folder
        A new folder; its name becomes the model's.

    Raises
    ------
    ForgettingError
        If the task was taught in isolation and any old answer, map or weight is another, in one bit.
    ValueError
        If there is such a folder already, or its name is none for a model.
    OSError
        If it cannot be written, such as on a full disk: nothing is left behind.
    """
    _refuse_taken(folder)
    stored = _stored(taught.model.aggregator)
    result = taught.reference.check(stored, taught.seen)
    if taught.config.mode == "isolated" and not result.identical:
        raise ForgettingError(
            f"The model was not saved: {', '.join(repr(lesson.task.name) for lesson in taught.lessons)} learned in "
            f"isolation, but the old answers are not the same. {result.sentence} Teach again from the parent model "
            f"{taught.parent.name!r}."
        )
    card = taught_card(taught, result, name=folder.name)
    encoder = carried_encoder(taught, card)
    return _write(folder, card, stored.state_dict(), proof_text(proof_of(taught, result)), encoder)


def remove_task(model: SlideModel, task: str, folder: Path, *, references: Sequence[TaughtBag] = ()) -> ModelCard:
    """Save `model` without one of its tasks as the new model folder `folder`; the other answers stay bit by bit.

    Raises
    ------
    ForgettingError
        If another task's answer depends on it, so that it cannot be removed without changing that.
    ValueError
        If there is no such task, it is the only one, or there is such a folder already.
    OSError
        If it cannot be written.
    """
    _refuse_taken(folder)
    model.card.task(task)
    guard = Guard.of(model, (*references, *_probes(model.aggregator.features)), except_for=(task,))
    shorter = _stored(without_task(model.aggregator, task))
    result = guard.check(shorter)
    if result.before != result.after:
        raise ForgettingError(
            f"Task {task!r} cannot be removed from model {model.name!r}: other tasks' answers depend on it. "
            f"{result.sentence} Use the model from before it was added."
        )
    card = card_without(model, task, shorter, name=folder.name)
    facts = {"removed": task, "parent": parent_facts(model), **guard_facts(result, guard.bags)}
    return _write(folder, card, shorter.state_dict(), proof_text(facts))


def _refuse_taken(folder: Path) -> None:
    if folder.exists():
        raise ValueError(f"There is a folder {folder} already, and no model is ever overwritten. Choose another name.")


def _write(
    folder: Path, card: ModelCard, state: Mapping[str, Tensor], proof: str, encoder: TrainedEncoder | None = None
) -> ModelCard:
    try:
        return save_model(folder, card, state, files={PROOF_FILE: proof}, encoder=encoder)
    except OSError as error:
        raise OSError(
            f"The model could not be saved in {folder}: {error.strerror or error}. Nothing was left behind; what was "
            "taught is still here: free some space, or choose another folder, and save again."
        ) from error


def _stored(aggregator: Aggregator) -> Aggregator:
    """Return a copy on the CPU with the weights that reading it again will give."""
    stored = copy.deepcopy(aggregator).to("cpu").eval().requires_grad_(False)
    stored.load_state_dict(as_stored(stored.state_dict()))
    return stored


def _probes(features: int) -> list[TaughtBag]:
    chance = torch.Generator().manual_seed(0)
    return [
        TaughtBag(
            name=f"made up, {tiles} tiles",
            fingerprint=f"made up, {tiles} tiles",
            features=torch.randn(tiles, features, generator=chance).numpy(),
            positions=np.stack([np.zeros(tiles, dtype=np.int64), np.arange(tiles)], axis=1),
            tile_labels=np.full(tiles, np.nan),
        )
        for tiles in PROBE_TILES
    ]
