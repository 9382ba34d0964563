"""The ``[card]`` table of a training config."""

from napari_mtlpath.training.config.table import Table


class CardTexts(Table):
    """What a person reads on the card of the trained model."""

    title: str = ""
    summary: str = ""
    made_for: str = ""
    limits: str = ""
    licence: str = "CC-BY-4.0"
    attribution: str = ""
