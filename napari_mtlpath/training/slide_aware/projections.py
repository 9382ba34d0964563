"""What a step compares: projections of two views of each tile, by side."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from napari_mtlpath.training.slide_aware.losses import nt_xent, similarity
from napari_mtlpath.training.slide_aware.objective import CONTRASTIVE, SIMILARITY, Objective


@dataclass(frozen=True, kw_only=True, eq=False)
class Projections:
    """Projections of tiles of slide-negative and slide-positive slides, the first and the second view of each."""

    negative: tuple[Float[Tensor, "negative projected"], Float[Tensor, "negative projected"]]
    positive: tuple[Float[Tensor, "positive projected"], Float[Tensor, "positive projected"]]

    @property
    def both(self) -> tuple[Float[Tensor, "tile projected"], Float[Tensor, "tile projected"]]:
        """The two views of all tiles."""
        first, second = (torch.cat(pair) for pair in zip(self.negative, self.positive, strict=True))
        return first, second

    def losses(
        self, objective: Objective, *, temperature: float, similarity_temperature: float
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the losses of an objective by name, each with its own temperature."""
        compared = self.both if objective is Objective.CONTRASTIVE else self.positive
        losses = {}
        if SIMILARITY in objective.losses:
            losses[SIMILARITY] = similarity(*self.negative, temperature=similarity_temperature)
        if CONTRASTIVE in objective.losses:
            losses[CONTRASTIVE] = nt_xent(*compared, temperature=temperature)
        return losses
