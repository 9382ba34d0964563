"""Which parameters of an encoder learn: all, or those from its last blocks on."""

import re
from typing import Literal

from torch import nn

BLOCKS = re.compile(r"(blocks|layers?|layer\d+)")
"""What timm and transformers call the sequences that their networks' blocks lie in."""

Blocks = int | Literal["all"]


def learning_parameters(
    network: nn.Module, blocks: Blocks, *, setting: str = "encoder_training.blocks"
) -> list[nn.Parameter]:
    """Return the parameters that learn, in the network's order.

    Parameters
    ----------
    network
        An encoder's network.
    blocks
        How many blocks learn, counted from the last, with all that the network lists after the first of them (layers
        between stages, the last norm); ``"all"`` for every parameter.
    setting
        What asked for it, for the message.

    Raises
    ------
    ValueError
        If the network has no parameters, no blocks that can be told, or fewer.

    Examples
    --------
    >>> layers = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    >>> network = nn.ModuleDict({"stem": nn.Linear(2, 2), "blocks": layers, "norm": nn.LayerNorm(4)})
    >>> [tuple(parameter.shape) for parameter in learning_parameters(network, 1)]
    [(4, 3), (4,), (4,), (4,)]
    """
    parameters = list(network.parameters())
    if not parameters:
        raise ValueError(f"{setting} = {blocks}: this encoder has no weights to train. Choose another, or train none.")
    if blocks == "all":
        return parameters
    found = [block for block in network_blocks(network) if next(block.parameters(), None) is not None]
    if not 1 <= blocks <= len(found):
        how_many = f"{len(found)} blocks" if found else "no blocks that can be told from its other layers"
        raise ValueError(f"{setting} = {blocks}: this encoder has {how_many}. Take fewer, or another encoder.")
    first = next(found[-blocks].parameters())
    start = next(place for place, parameter in enumerate(parameters) if parameter is first)
    return parameters[start:]


def network_blocks(network: nn.Module) -> list[nn.Module]:
    """Return the blocks of a network in its order: the members of its outermost sequences of blocks."""
    found: list[tuple[str, nn.Module]] = []
    for name, module in network.named_modules():
        is_sequence = isinstance(module, nn.Sequential | nn.ModuleList) and len(module) > 0
        inside = any(name.startswith(f"{outer}.") for outer, _ in found)
        if is_sequence and not inside and BLOCKS.fullmatch(name.rpartition(".")[2]):
            found.append((name, module))
    return [block for _, sequence in found for block in sequence.children()]
