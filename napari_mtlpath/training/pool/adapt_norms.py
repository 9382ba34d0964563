"""Batch normalisation moved to another domain: with the network's function kept, or normalised anew."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@dataclass(kw_only=True, eq=False)
class _Moments:
    """Per channel, over batches: their means and variances, and how many values each had."""

    means: list[Float64[Tensor, " channel"]]
    variances: list[Float64[Tensor, " channel"]]
    counts: list[int]

    def add(self, values: Tensor) -> None:
        flat = values.detach().double().transpose(0, 1).flatten(1)
        self.means.append(flat.mean(1))
        self.variances.append(flat.var(1, correction=0))
        self.counts.append(flat.shape[1])

    def pooled(self) -> tuple[Tensor, Tensor]:
        """Return mean and variance of all values together, by the law of total variance."""
        means, variances = torch.stack(self.means), torch.stack(self.variances)
        share = torch.tensor(self.counts, dtype=torch.float64, device=means.device)[:, None] / sum(self.counts)
        mean = (share * means).sum(0)
        return mean, (share * (variances + (means - mean).square())).sum(0)

    def within(self) -> tuple[Tensor, Tensor]:
        """Return the mean of the batches' means and that of their variances."""
        return torch.stack(self.means).mean(0), torch.stack(self.variances).mean(0)


def adapt_batch_norms(network: nn.Module, batches: Iterable[Tensor], *, pooled: bool = True) -> int:
    r"""Give every batch norm the statistics of a new domain, its function in evaluation mode unchanged.

    With the source's running statistics :math:`\mu_s, \sigma_s^2` and those measured on the target, the gains become
    :math:`\gamma_t = \gamma_s \sqrt{\sigma_t^2 + \epsilon} / \sqrt{\sigma_s^2 + \epsilon}` and the shifts
    :math:`\beta_t = \beta_s + \gamma_s (\mu_t - \mu_s) / \sqrt{\sigma_s^2 + \epsilon}` (Mormont et al., 2021,
    supplement B). In training mode the network then computes on the target what it computed on the source.

    Parameters
    ----------
    network
        Changed in place; its mode (training or evaluation) is left as it was.
    batches
        Pictures of the target domain as the network takes them, at least one batch.
    pooled
        Take the variance over all batches together. As published, it is the mean of the variances within batches,
        which leaves out how their means differ.

    Returns
    -------
    int
        How many norms were moved: those with running statistics and a gain of their own.

    Raises
    ------
    ValueError
        If there is no batch.
    """
    norms = [norm for norm in batch_norms(network) if norm.affine]
    moments = {norm: _Moments(means=[], variances=[], counts=[]) for norm in norms}
    _measure(network, moments, batches)
    for norm, found in moments.items():
        if not found.counts:
            continue  # a norm that no picture passes through
        mean, variance = found.pooled() if pooled else found.within()
        _move(norm, mean, variance)
    return sum(bool(found.counts) for found in moments.values())


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    """Return a network's batch norms with running statistics."""
    return [m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]


@torch.no_grad()
def retake_batch_norms(network: nn.Module, batches: Sequence[Tensor]) -> int:
    """Normalise by a new domain's statistics, gains and shifts as they are (AdaBN: Li et al., 2016, arXiv:1603.04779).

    What differs between two laboratories in each channel's mean and spread, such as the stain, is taken out; unlike
    after :func:`adapt_batch_norms` the network computes something else. No label is needed.

    Parameters
    ----------
    network
        Changed in place; its mode (training or evaluation) is left as it was.
    batches
        Pictures of the new domain as the network takes them, at least one batch, of at least two pictures each.

    Returns
    -------
    int
        How many norms have new statistics: the mean over the batches of their means and (unbiased) variances.

    Raises
    ------
    ValueError
        If there is no batch, or one of a single picture.
    """
    if not batches or min(len(batch) for batch in batches) < 2:
        raise ValueError("Batch norms take their statistics from batches of two pictures or more; found fewer.")
    norms = batch_norms(network)
    was_training, momenta = network.training, [norm.momentum for norm in norms]
    network.eval()  # dropout stays off
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
        norm.train()
    try:
        for batch in batches:
            network(batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        network.train(was_training)
    return len(norms)


@torch.no_grad()
def _measure(network: nn.Module, moments: dict[_BatchNorm, _Moments], batches: Iterable[Tensor]) -> None:
    # All norms at once: none changes what the next one sees, as the network computes the same afterwards.
    hooks = [
        norm.register_forward_pre_hook(lambda _, inputs, found=found: found.add(inputs[0]))
        for norm, found in moments.items()
    ]
    was_training = network.training
    network.eval()
    count = 0
    try:
        for batch in batches:
            network(batch)
            count += 1
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    if count == 0:
        raise ValueError("Batch norms are moved by pictures of the new domain; found none. Give at least one batch.")


@torch.no_grad()
def _move(norm: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    source_mean, source_variance = norm.running_mean, norm.running_var
    assert source_mean is not None and source_variance is not None  # noqa: PT018  track_running_stats says so
    before = (source_variance.double() + norm.eps).sqrt()
    gain, shift = norm.weight.double(), norm.bias.double()
    norm.bias.copy_(shift + gain * (mean - source_mean.double()) / before)
    norm.weight.copy_(gain * (variance + norm.eps).sqrt() / before)
    source_mean.copy_(mean)
    source_variance.copy_(variance)
