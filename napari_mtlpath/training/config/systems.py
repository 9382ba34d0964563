"""Tables of a training config that say how bags are drawn, what a mistake costs, and who teaches."""

from typing import Literal

from pydantic import Field

from napari_mtlpath.training.config.table import Table
from napari_mtlpath.training.losses.akd import AkdVariant, AsymmetricDistillation


class LossesTable(Table):
    """The ``[losses]`` table: what the errors of a task weigh.

    Attributes
    ----------
    class_weights
        ``balanced``: each class of a task weighs as much as any other, by the labels of the training part.
    regression
        What a regression error is counted in: the task's ``range``; ``min_max`` or ``standard``, the range or the
        standard deviation of the training part's labels (then the network learns scaled values, and the scaling is
        folded into its heads, so that the model's answers are in the unit of the task).
    """

    class_weights: Literal["none", "balanced"] = "none"
    regression: Literal["range", "min_max", "standard"] = "range"


class SamplingTable(Table):
    """The ``[sampling]`` table: which slides an epoch shows, and how much of each.

    Attributes
    ----------
    bags
        ``all`` slides once; or ``balanced``: per classification task as many slides of each class as of the rarest,
        drawn anew each epoch, where a slide counts only for the tasks that it was drawn for.
    tile_share
        Share of a slide's tiles that a step sees, drawn anew each time: an augmentation where slides are few.
    most_tiles
        Most tiles of a slide that a step sees; 0 for all. Bounds the memory of a step.
    """

    bags: Literal["all", "balanced"] = "all"
    tile_share: float = Field(default=1.0, gt=0, le=1)
    most_tiles: int = Field(default=0, ge=0)


class DistillationTable(Table):
    """The ``[distillation]`` table: a teacher, trained first or given, and how the student learns from it.

    Attributes
    ----------
    teacher
        Name or folder of a finished model of the same encoder; empty trains one first, with this config.
    teacher_epochs
        Epochs of a teacher that is trained first; 0 for as many as the student has.
    teacher_sampling
        Which slides it sees: see :class:`SamplingTable`.
    kind
        ``akd``, asymmetric (Jiang et al., 2025); ``kl``, the Kullback-Leibler divergence of softened answers
        (Hinton et al., 2015, arXiv:1503.02531). Tasks of more than two classes have ``kl`` in both cases, as the
        asymmetric form is defined for one logit.
    weight
        Of the distillation beside the loss on labels.
    temperature, positive_focus, negative_focus, margin, variant, detach_weights
        See :class:`napari_mtlpath.training.losses.akd.AsymmetricDistillation`; ``kl`` uses the temperature alone.
    regression
        What a regression task learns from the teacher: nothing, because the label says more than a network that learned
        from it; or the ``squared_error`` to its answer.
    """

    teacher: str = ""
    teacher_epochs: int = Field(default=0, ge=0)
    teacher_sampling: Literal["balanced", "all"] = "balanced"
    kind: Literal["akd", "kl"] = "akd"
    weight: float = Field(default=1.0, ge=0)
    temperature: float = Field(default=2.0, gt=0)
    positive_focus: float = Field(default=1.0, ge=0)
    negative_focus: float = Field(default=4.0, ge=0)
    margin: float = Field(default=0.2, ge=0, lt=1)
    variant: AkdVariant = AkdVariant.CORRECTED
    detach_weights: bool = False
    regression: Literal["none", "squared_error"] = "none"

    def binary_loss(self) -> AsymmetricDistillation:
        """Return the loss of a binary task; with weights of 1 the asymmetric form is the divergence."""
        if self.kind == "kl":
            return AsymmetricDistillation(temperature=self.temperature, positive_focus=0.0, negative_focus=0.0)
        return AsymmetricDistillation(
            temperature=self.temperature,
            positive_focus=self.positive_focus,
            negative_focus=self.negative_focus,
            margin=self.margin,
            variant=self.variant,
            detach_weights=self.detach_weights,
        )
