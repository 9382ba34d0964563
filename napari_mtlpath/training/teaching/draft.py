"""A model in the making as a ready slide model: the parent's encoder, and a card that says how far it is."""

from collections.abc import Sequence
from dataclasses import replace

from napari_mtlpath.encoders.tile_encoder import TileEncoder
from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.training.teaching.card import draft_card
from napari_mtlpath.training.teaching.lesson import Lesson
from napari_mtlpath.zoo.device import Device
from napari_mtlpath.zoo.model import SlideModel


def draft_model(
    parent: SlideModel,
    aggregator: Aggregator,
    lessons: Sequence[Lesson],
    *,
    step: int,
    encoder: TileEncoder | None = None,
) -> SlideModel:
    """Return `aggregator` as a model where `parent` is, with the encoder of that unless another is given.

    Parameters
    ----------
    parent
        The model that is taught.
    aggregator
        Its extended copy; from now on it belongs to the returned model.
    lessons
        What is taught.
    step
        After how many steps: part of the model's digest.
    encoder
        What reads the tiles; the parent's by default.
    """
    device = Device(device=parent.device, reason=parent.device_reason.split(";", maxsplit=1)[0])
    card = draft_card(parent.card, aggregator, lessons)
    card = replace(card, provenance={**card.provenance, "draft_after_steps": step})
    return SlideModel(card=card, encoder=encoder or parent.encoder, aggregator=aggregator, device=device)
