"""Which models a user can choose from, and which would be there if their files were in order."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_mtlpath.zoo.card import ModelCard


@dataclass(frozen=True, kw_only=True)
class ModelOffer:
    """One entry of the model chooser.

    Attributes
    ----------
    name
        What :meth:`napari_mtlpath.session.session.Session.load_model` takes.
    title
        What a person reads.
    card
        The model's card, or None for a model that cannot be used.
    problem
        Why it cannot be used; empty otherwise.
    """

    name: str
    title: str
    card: "ModelCard | None" = None
    problem: str = ""


def model_offers() -> tuple[ModelOffer, ...]:
    """Return all models of the zoo, usable ones first. Reads files: call it from a worker."""
    from napari_mtlpath.zoo.load import broken_models, list_models  # imports torch, which takes a second

    usable = [ModelOffer(name=card.name, title=card.title or card.name, card=card) for card in list_models()]
    broken = [ModelOffer(name=each.name, title=each.name, problem=each.reason) for each in broken_models()]
    return (*usable, *broken)
