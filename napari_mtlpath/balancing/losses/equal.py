"""Every task counts the same: the plain baseline, and the default."""

from collections.abc import Mapping

from torch import Tensor

from napari_mtlpath.balancing.contract import LossBalancer


class Equal(LossBalancer):
    """All weights are 1: losses pass unchanged (Kurin et al., 2022, arXiv:2201.04122, on why it is hard to beat).

    Examples
    --------
    >>> import torch
    >>> Equal(["basophils"])({"basophils": torch.tensor(0.5)})
    {'basophils': tensor(0.5000)}
    """

    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the losses as they are."""
        self.remember(dict.fromkeys(losses, 1.0))
        return dict(losses)
