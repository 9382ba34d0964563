"""Where the graph of a shared representation is cut, so that task gradients stop there."""

import torch
from torch import Tensor


class Representation:
    """Tensors of a forward pass at which gradients are balanced (Sener and Koltun, 2018, arXiv:1810.04650, MGDA-UB).

    A network hands out what its tasks read of the shared part: :meth:`cut` returns a leaf in the tensor's place. A
    task's backward pass ends at the leaves; one more pass carries on from them through the shared part. No handed out
    tensor may depend on another's leaf, or gradients would be lost between the two.

    Attributes
    ----------
    computed
        The tensors as the shared part computed them.
    leaves
        The leaves that the tasks read instead, in the same order.
    """

    def __init__(self) -> None:
        self.computed: list[Tensor] = []
        self.leaves: list[Tensor] = []

    def cut(self, tensor: Tensor) -> Tensor:
        """Return a leaf with the tensor's values, or the tensor itself where nothing below it learns."""
        if not tensor.requires_grad or not torch.is_grad_enabled():
            return tensor
        leaf = tensor.detach().requires_grad_()
        self.computed.append(tensor)
        self.leaves.append(leaf)
        return leaf
