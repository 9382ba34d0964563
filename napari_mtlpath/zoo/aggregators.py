"""Card -> aggregator: the network that a model's card describes, with the model's weights."""

from collections.abc import Mapping

import torch
from torch import Tensor

from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.plugins import PluginFolder
from napari_mtlpath.weights import check_fit, load_weights
from napari_mtlpath.zoo.card import ModelCard

AGGREGATORS: PluginFolder[Aggregator] = PluginFolder(
    "napari_mtlpath.nn.aggregators",
    contract=Aggregator,  # type: ignore[type-abstract]  # a contract is abstract by nature
    noun="aggregator",
)


def build_aggregator(card: ModelCard, *, features: int, state: Mapping[str, Tensor]) -> Aggregator:
    """Build the aggregator of a card, frozen and in eval mode; one that its weights do not fit is never given memory.

    Parameters
    ----------
    card
        The model's card.
    features
        Length of its encoder's embeddings.
    state
        The weights, already checked.

    Raises
    ------
    WeightsError
        If the weights do not fit; a table lists the differences.
    """
    kind, what = AGGREGATORS.load(card.aggregator), f"The weights of model {card.name!r}"
    with torch.device("meta"):
        check_fit(kind.build(tasks=card.tasks, features=features, options=card.options), state, what=what)
    aggregator = kind.build(tasks=card.tasks, features=features, options=card.options)
    load_weights(aggregator, state, what=what)
    return aggregator.eval().requires_grad_(False)
