"""Similarity, NT-Xent, spread and collapse: equal to independent values, and right at the extremes."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from napari_mtlpath.training.slide_aware.collapse import CollapseMonitor, EmbeddingsCollapsed, spread
from napari_mtlpath.training.slide_aware.losses import nt_xent, similarity, told_apart

TAU = 0.07


def views(tiles: int, features: int = 6, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.randn(2, tiles, features, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return drawn[0], drawn[1]


def supervised_numerators(first: torch.Tensor, second: torch.Tensor) -> float:
    """The loss as it is published, pair by pair: mean of -(s - max) / tau over a row's others, then over rows."""
    rows = torch.cat([first, second]).tolist()
    unit = [[value / math.sqrt(sum(v * v for v in row)) for value in row] for row in rows]
    total = 0.0
    for i, one in enumerate(unit):
        cosines = [sum(a * b for a, b in zip(one, other, strict=True)) for other in unit]
        highest = max(cosines)
        others = [-(cosine - highest) / TAU for j, cosine in enumerate(cosines) if j != i]
        total += sum(others) / len(others)
    return total / len(unit)


def published_nt_xent(first: torch.Tensor, second: torch.Tensor, tau: float) -> float:
    """Equation 1 of SimCLR, written with logarithms of sums of exponentials over plain numbers."""
    rows = torch.cat([first, second])
    unit = (rows / rows.square().sum(1, keepdim=True).sqrt()).tolist()
    count, total = len(unit), 0.0
    for i in range(count):
        partner = (i + count // 2) % count
        scores = {k: sum(a * b for a, b in zip(unit[i], unit[k], strict=True)) / tau for k in range(count) if k != i}
        top = max(scores.values())
        total += math.log(sum(math.exp(score - top) for score in scores.values())) + top - scores[partner]
    return total / count


@pytest.mark.parametrize("tiles", [1, 2, 7])
def test_similarity_equals_the_published_sum_over_pairs(tiles: int):
    first, second = views(tiles)
    assert float(similarity(first, second, temperature=TAU)) == pytest.approx(
        supervised_numerators(first, second), abs=1e-9
    )


def test_similarity_of_directions_without_any_likeness_is_one_over_the_temperature():
    rows = torch.eye(8, dtype=torch.float64)
    assert float(similarity(rows[:4], rows[4:], temperature=TAU)) == pytest.approx(1 / TAU, abs=1e-9)


def test_similarity_is_zero_only_where_all_views_point_one_way():
    one = torch.tensor([[0.3, -0.4, 1.2]]).repeat(5, 1)
    lengths = torch.arange(1.0, 6.0)[:, None]
    assert float(similarity(one * lengths, one, temperature=TAU)) == pytest.approx(0.0, abs=1e-5)
    other = one.clone()
    other[0, 0] += 0.5
    assert float(similarity(one, other, temperature=TAU)) > 0.01


@pytest.mark.parametrize(("tiles", "tau"), [(2, 0.07), (5, 0.07), (5, 1.0), (16, 0.5)])
def test_nt_xent_equals_its_published_equation(tiles: int, tau: float):
    first, second = views(tiles, seed=tiles)
    assert float(nt_xent(first, second, temperature=tau)) == pytest.approx(
        published_nt_xent(first, second, tau), abs=1e-9
    )


def test_nt_xent_of_equal_embeddings_is_the_logarithm_of_the_number_of_others():
    same = torch.ones(6, 4, dtype=torch.float64)
    assert float(nt_xent(same, same, temperature=TAU)) == pytest.approx(math.log(11), abs=1e-9)


@pytest.mark.parametrize("loss", [similarity, nt_xent])
def test_gradients_agree_with_finite_differences(loss):
    first, second = (each.requires_grad_() for each in views(3, features=4, seed=3))
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, temperature=0.5), (first, second))


@pytest.mark.parametrize("loss", [similarity, nt_xent])
def test_lengths_of_embeddings_and_order_of_tiles_change_no_loss(loss):
    first, second = views(6)
    order, lengths = torch.tensor([3, 0, 5, 1, 4, 2]), torch.rand(6, 1, dtype=torch.float64) + 0.5
    torch.testing.assert_close(loss(first[order] * lengths, second[order]), loss(first, second))


def test_a_single_tile_cannot_be_told_apart_and_the_sentence_says_what_to_do():
    with pytest.raises(ValueError, match=r"two tiles.*Raise optimisation\.batch"):
        nt_xent(*views(1))


def test_views_are_told_apart_by_their_nearest_neighbour():
    first, second = views(20, features=16)
    assert told_apart(first, first + 1e-3 * second) == 1.0
    assert told_apart(first, first.roll(1, 0)) == 0.0


@given(st.integers(2, 12), st.integers(0, 10_000))
def test_spread_is_one_for_opposites_along_every_axis_and_zero_for_a_point(features: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    axes, _ = torch.linalg.qr(torch.randn(features, features, dtype=torch.float64, generator=generator))
    ends = torch.cat([torch.eye(features), -torch.eye(features)])
    assert float(spread(ends)) == pytest.approx(1.0, abs=1e-5)
    assert 0.5 < float(spread(torch.cat([axes, -axes]).float())) <= 1.0 + 1e-5
    assert float(spread(axes[:1].repeat(9, 1).float())) == pytest.approx(0.0, abs=1e-3)


def test_monitor_stops_after_as_many_low_steps_in_a_row_as_were_allowed():
    monitor = CollapseMonitor(least_spread=0.1, patience=3)
    collapsed = torch.ones(8, 4) + 1e-4 * torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    lively = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    monitor.watch(collapsed)
    monitor.watch(collapsed)
    monitor.watch(lively)  # forgets the two
    monitor.watch(collapsed)
    monitor.watch(collapsed)
    with pytest.raises(EmbeddingsCollapsed, match=r"spread fell to 0\.00.*for 3 steps"):
        monitor.watch(collapsed)


def test_monitor_goes_on_counting_after_its_state_was_restored():
    first = CollapseMonitor(least_spread=0.1, patience=2)
    first.watch(torch.ones(4, 3))
    second = CollapseMonitor(least_spread=0.1, patience=2)
    second.load_state_dict(first.state_dict())
    with pytest.raises(EmbeddingsCollapsed):
        second.watch(torch.ones(4, 3))


def test_a_least_spread_of_zero_never_stops():
    monitor = CollapseMonitor(least_spread=0.0, patience=1)
    monitor.watch(torch.ones(4, 3))
    assert int(monitor.steps_below) == 0


def test_half_precision_is_compared_in_single_precision():
    first, second = (each.to(torch.bfloat16) for each in views(4))
    assert similarity(first, second).dtype == torch.float32
    expected = functional.normalize(torch.cat([first, second]).float(), dim=1)
    cosines = expected @ expected.T
    mean = (cosines.sum() - cosines.trace()) / 56
    assert float(similarity(first, second, temperature=1.0)) == pytest.approx(float(1 - mean), abs=1e-5)
