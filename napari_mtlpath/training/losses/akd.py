"""Asymmetric knowledge distillation: a student learns a teacher's positives more than its negatives."""

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


class AkdVariant(StrEnum):
    """Which second term.

    Attributes
    ----------
    CORRECTED
        ``(1 - z_hat) log((1 - z_hat) / (1 - z))``: with weights of 1 the loss is the Kullback-Leibler divergence.
    PRINTED
        ``z_hat log((1 - z_hat) / (1 - z))``, as in the paper's eq. 2: its optimum is z = 0.5 whatever the teacher says.
    """

    CORRECTED = "corrected"
    PRINTED = "printed"


@dataclass(frozen=True, kw_only=True)
class AsymmetricDistillation:
    r"""Asymmetric distillation of one binary task (Jiang et al., 2025, MECDS, eq. 1 and 2).

    With student and teacher logits :math:`l, \hat l`, probabilities :math:`p = \sigma(l)`,
    :math:`\hat p = \sigma(\hat l)` and softened ones :math:`z = \sigma(l / T)`, :math:`\hat z = \sigma(\hat l / T)`,

    .. math::

        L = T^2 \left( (1 - p)^{\gamma_+} \hat z \log \frac{\hat z}{z}
            + \max(\hat p - \alpha, 0)^{\gamma_-} (1 - \hat z) \log \frac{1 - \hat z}{1 - z} \right).

    The paper prints :math:`softmax(\hat p / T)`, which for a pair of probabilities reaches only [0.378, 0.622];
    softened logits are meant. The student's output is lifted towards positives by design, also where the teacher is
    sure of a negative: calibrate it before anyone reads it as a probability.

    Attributes
    ----------
    temperature
        T > 0.
    positive_focus, negative_focus
        The exponents :math:`\gamma_+` and :math:`\gamma_-`, >= 0.
    margin
        :math:`\alpha` in [0, 1): where the teacher's probability is not above it, the second term is off.
    variant
        The corrected second term, or the printed one for the record.
    detach_weights
        Treat the weight :math:`(1 - p)^{\gamma_+}` as a constant. Then, wherever the second term is off, the student
        has no finite optimum and is pushed to p = 1; differentiated (default) it has one.

    Examples
    --------
    >>> loss = AsymmetricDistillation()
    >>> round(float(loss(torch.tensor([0.0]), torch.tensor([0.0]))), 6)
    0.0
    """

    temperature: float = 2.0
    positive_focus: float = 1.0
    negative_focus: float = 4.0
    margin: float = 0.2
    variant: AkdVariant = AkdVariant.CORRECTED
    detach_weights: bool = False

    def __post_init__(self) -> None:
        if not self.temperature > 0.0:
            raise ValueError(f"The distillation temperature must be above 0; found {self.temperature}.")
        if self.positive_focus < 0.0 or self.negative_focus < 0.0:
            found = (self.positive_focus, self.negative_focus)
            raise ValueError(f"Both focusing exponents must be at least 0; found {found}.")
        if not 0.0 <= self.margin < 1.0:
            raise ValueError(f"The margin must lie in [0, 1); found {self.margin}.")

    def __call__(self, student: Float[Tensor, " sample"], teacher: Float[Tensor, " sample"]) -> Float[Tensor, ""]:
        """Return the mean loss over samples.

        Parameters
        ----------
        student, teacher
            Logits of the positive class, one per sample. The teacher receives no gradient.
        """
        student, teacher = student.float(), teacher.detach().float()
        positive = functional.sigmoid(-student).pow(self.positive_focus)  # 1 - p without cancellation
        if self.detach_weights:
            positive = positive.detach()
        negative = (functional.sigmoid(teacher) - self.margin).clamp_min(0.0).pow(self.negative_focus)
        soft_student, soft_teacher = student / self.temperature, teacher / self.temperature
        toward_positive = functional.logsigmoid(soft_teacher) - functional.logsigmoid(soft_student)
        toward_negative = functional.logsigmoid(-soft_teacher) - functional.logsigmoid(-soft_student)
        share = functional.sigmoid(soft_teacher)
        pulled = positive * share * toward_positive + negative * self._negative_share(soft_teacher) * toward_negative
        return self.temperature**2 * torch.mean(pulled)

    def _negative_share(self, soft_teacher: Float[Tensor, " sample"]) -> Float[Tensor, " sample"]:
        match self.variant:
            case AkdVariant.CORRECTED:
                return functional.sigmoid(-soft_teacher)
            case AkdVariant.PRINTED:
                return functional.sigmoid(soft_teacher)
            case _:
                assert_never(self.variant)
