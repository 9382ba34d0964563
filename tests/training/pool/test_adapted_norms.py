"""Batch norms move to a new domain, and the network computes what it computed before."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from napari_mtlpath.training.pool.adapt_norms import adapt_batch_norms, retake_batch_norms


def network() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.Flatten()
    ).double()
    for norm in (model[1], model[4]):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
    return model.eval()


def pictures(count: int, *, seed: int, shift: float = 3.0) -> torch.Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 + shift


@pytest.mark.parametrize("pooled", [True, False])
def test_the_function_in_evaluation_mode_is_unchanged(pooled: bool) -> None:
    model, tiles = network(), pictures(6, seed=9)
    with torch.no_grad():
        before = model(tiles)
        assert adapt_batch_norms(model, [pictures(4, seed=seed) for seed in range(3)], pooled=pooled) == 2
        torch.testing.assert_close(model(tiles), before, rtol=1e-9, atol=1e-9)


def test_pooled_statistics_are_those_of_all_values_together() -> None:
    model, source = network(), network()
    batches = [pictures(4, seed=seed, shift=float(seed)) for seed in range(3)]
    adapt_batch_norms(model, batches)
    with torch.no_grad():
        first = source[0](torch.cat(batches)).transpose(0, 1).flatten(1)
        second = source[:4](torch.cat(batches)).transpose(0, 1).flatten(1)
    for norm, values in ((model[1], first), (model[4], second)):
        torch.testing.assert_close(norm.running_mean, values.mean(1), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(norm.running_var, values.var(1, correction=0), rtol=1e-9, atol=1e-9)


def test_gain_and_shift_are_the_formulae_of_the_supplement() -> None:
    model, source = network(), network()
    batches = [pictures(4, seed=seed, shift=float(seed)) for seed in range(3)]
    adapt_batch_norms(model, batches, pooled=False)
    with torch.no_grad():
        each = [source[0](batch).transpose(0, 1).flatten(1) for batch in batches]
    mean = torch.stack([values.mean(1) for values in each]).mean(0)
    variance = torch.stack([values.var(1, correction=0) for values in each]).mean(0)
    old, new = source[1], model[1]
    gain = old.weight * torch.sqrt(variance + old.eps) / torch.sqrt(old.running_var + old.eps)
    shift = old.bias + old.weight * (mean - old.running_mean) / torch.sqrt(old.running_var + old.eps)
    torch.testing.assert_close(new.weight, gain, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(new.bias, shift, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(new.running_var, variance, rtol=1e-5, atol=1e-8)


def test_variance_within_batches_leaves_out_how_their_means_differ() -> None:
    batches = [pictures(4, seed=seed, shift=10.0 * seed) for seed in range(3)]
    pooled, within = network(), network()
    adapt_batch_norms(pooled, batches)
    adapt_batch_norms(within, batches, pooled=False)
    assert (pooled[1].running_var > 2 * within[1].running_var).any()


def test_in_training_mode_the_first_norm_then_computes_on_the_target_what_it_does_in_evaluation() -> None:
    model, source, tiles = network(), network(), pictures(64, seed=1)
    adapt_batch_norms(model, [tiles])
    with torch.no_grad():
        inside = model[0](tiles)
        evaluated = model[1](inside)
        trained = functional.batch_norm(inside, None, None, model[1].weight, model[1].bias, training=True)
        unadapted = functional.batch_norm(inside, None, None, source[1].weight, source[1].bias, training=True)
    torch.testing.assert_close(trained, evaluated, rtol=1e-9, atol=1e-9)
    assert (unadapted - evaluated).abs().max() > 0.1


def test_the_mode_stays_and_no_hook_is_left() -> None:
    model = network().train()
    adapt_batch_norms(model, [pictures(4, seed=0)])
    assert model.training
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_no_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="found none"):
        adapt_batch_norms(network(), [])


def test_taken_anew_a_shift_and_a_gain_of_the_channels_make_no_difference() -> None:
    """What AdaBN is for: another laboratory's stain, here a gain and a shift of what the first norm sees."""
    model, other = network(), network()
    with torch.no_grad():
        other[0].weight *= 1.7
        other[0].bias.mul_(1.7).add_(0.4)
    batches = [pictures(4, seed=seed) for seed in range(3)]
    for each in (model, other):
        each[1].eps = each[4].eps = 1e-14  # as good as none, which torch refuses
        assert retake_batch_norms(each, batches) == 2
        assert not any(module.training for module in each.modules())
    tiles = pictures(6, seed=9)
    with torch.no_grad():
        torch.testing.assert_close(other(tiles), model(tiles), rtol=1e-9, atol=1e-9)


def test_statistics_taken_anew_are_the_mean_over_the_batches() -> None:
    model, source = network(), network()
    batches = [pictures(4, seed=seed, shift=float(seed)) for seed in range(3)]
    gain, momentum = model[1].weight.clone(), model[1].momentum
    retake_batch_norms(model, batches)
    with torch.no_grad():
        each = [source[0](batch).transpose(0, 1).flatten(1) for batch in batches]
    torch.testing.assert_close(model[1].running_mean, torch.stack([v.mean(1) for v in each]).mean(0))
    torch.testing.assert_close(model[1].running_var, torch.stack([v.var(1) for v in each]).mean(0))
    torch.testing.assert_close(model[1].weight, gain)
    assert model[1].momentum == momentum
    with pytest.raises(ValueError, match="two pictures or more"):
        retake_batch_norms(model, [pictures(1, seed=0)])
