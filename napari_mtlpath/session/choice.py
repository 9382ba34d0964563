"""Which models a user can choose from, and which would be there if their files were in order."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_mtlpath.session.card_words import WHOLE_SLIDES, kind_words

if TYPE_CHECKING:
    from napari_mtlpath.zoo.card import ModelCard
    from napari_mtlpath.zoo.pixel_card import PixelCard


@dataclass(frozen=True, kw_only=True)
class ModelOffer:
    """One entry of the model chooser.

    Attributes
    ----------
    name
        What :meth:`napari_mtlpath.session.session.Session.load_model` takes.
    title
        What a person reads.
    kind
        What sort of answers it gives, in two or three words; empty for a model that cannot be used.
    card
        The model's card, or None for a model that cannot be used.
    problem
        Why it cannot be used; empty otherwise.
    """

    name: str
    title: str
    card: "ModelCard | PixelCard | None" = None
    problem: str = ""
    kind: str = ""

    @property
    def words(self) -> str:
        """Title, with the kind where it is not the usual one, or that it cannot be used."""
        if self.problem:
            return f"{self.title} (cannot be used)"
        return f"{self.title} ({self.kind})" if self.kind not in ("", WHOLE_SLIDES) else self.title

    @property
    def hint(self) -> str:
        """What else there is to know: why it cannot be used, or name and kind."""
        return self.problem or f"{self.name}, {self.kind}".removesuffix(", ")


def model_offers() -> tuple[ModelOffer, ...]:
    """Return all models of the zoo, usable ones first. Reads files: call it from a worker."""
    from napari_mtlpath.zoo.any_model import list_any  # imports torch, which takes a second
    from napari_mtlpath.zoo.load import broken_models
    from napari_mtlpath.zoo.pixel_load import broken_pixel_models

    usable = [
        ModelOffer(name=card.name, title=card.title or card.name, card=card, kind=kind_words(card))
        for card in list_any()
    ]
    broken = [
        ModelOffer(name=each.name, title=each.name, problem=each.reason)
        for each in (*broken_models(), *broken_pixel_models())
    ]
    return (*usable, *broken)
