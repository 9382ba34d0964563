"""The losses of tasks that are asked of every pixel, with unknown pixels left out."""

import torch
from jaxtyping import Float, Integer
from torch import Tensor
from torch.nn import functional

DICE_SHARE = 0.3
"""Share of the Dice loss in the combo loss; the rest is cross-entropy (Kim et al., 2023, Table 1)."""

SMOOTH = 1.0
"""Pixels added to both sides of a Dice, so that a class that is absent and not predicted costs nothing."""

UNKNOWN_PIXEL = 255
"""Class of a pixel that nobody labelled."""


def combo_loss(
    logits: Float[Tensor, "tile class y x"], classes: Integer[Tensor, "tile y x"], *, dice_share: float = DICE_SHARE
) -> Float[Tensor, ""]:
    r"""Return :math:`0.3\,L_{Dice} + 0.7\,L_{CE}` (combo loss; Taghanaki et al., 2019, arXiv:1805.02798).

    :math:`L_{Dice} = 1 - \mathrm{mean}_c (2 \sum p_c g_c + 1) / (\sum p_c + \sum g_c + 1)` over the classes but the
    background, sums over all known pixels of the batch.

    Parameters
    ----------
    logits
        Of all classes, the background first.
    classes
        Class index per pixel, `UNKNOWN_PIXEL` where nobody said; at least one must be known.
    dice_share
        Weight of the Dice loss, 0 to 1.
    """
    logits = logits.float()
    known = classes != UNKNOWN_PIXEL
    target = torch.where(known, classes, 0).long()
    entropy = functional.cross_entropy(logits, target, reduction="none")[known].mean()
    return dice_share * dice_loss(logits.softmax(dim=1), target, known) + (1 - dice_share) * entropy


def dice_loss(
    probabilities: Float[Tensor, "tile class y x"], classes: Integer[Tensor, "tile y x"], known: Tensor
) -> Float[Tensor, ""]:
    """Return one minus the mean soft Dice over the classes but the first, over the pixels that are known."""
    kept = known.unsqueeze(1)
    truth = functional.one_hot(classes, probabilities.shape[1]).permute(0, 3, 1, 2) * kept
    said = probabilities * kept
    overlap, sizes = (part.sum(dim=(0, 2, 3))[1:] for part in (said * truth, said + truth))
    return 1 - ((2 * overlap + SMOOTH) / (sizes + SMOOTH)).mean()


def absolute_loss(values: Float[Tensor, "tile 1 y x"], truth: Float[Tensor, "tile y x"]) -> Float[Tensor, ""]:
    """Return the mean absolute error over the pixels whose value is known (not NaN), in the task's unit."""
    known = ~truth.isnan()
    return (values[:, 0].float()[known] - truth[known]).abs().mean()
