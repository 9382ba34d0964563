"""The top-p rule against brute force, and the ways in which a router can learn."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mtlpath.nn.routing import Router, RouterGradient, read_weights, top_p


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.lists(st.integers(min_value=0, max_value=20), min_size=1, max_size=8).filter(any), st.floats(0.0, 0.95))
@settings(max_examples=200, deadline=None)
def test_top_p_is_the_smallest_set_that_exceeds_p(counts: list[int], p: float) -> None:
    phi = torch.tensor(counts, dtype=torch.float64) / sum(counts)
    selected = top_p(phi, p)
    enough = [
        subset
        for size in range(1, len(counts) + 1)
        for subset in itertools.combinations(range(len(counts)), size)
        if phi[list(subset)].sum() > p + 1e-12
    ]
    assert int(selected.sum()) == min((len(subset) for subset in enough), default=len(counts))
    assert phi[selected].min() >= (phi[~selected].max() if not selected.all() else 0.0)


@given(st.lists(st.floats(-4.0, 4.0, width=32), min_size=1, max_size=300), st.floats(0.0, 0.9))
@settings(max_examples=100, deadline=None)
def test_the_chosen_exceed_p_and_without_the_least_of_them_do_not(logits: list[float], p: float) -> None:
    phi = torch.softmax(torch.tensor(logits, dtype=torch.float32), dim=0)
    chosen = phi[top_p(phi, p)].double()
    assert chosen.sum() > p
    assert chosen.sum() - chosen.min() <= p + 1e-12


def test_a_sum_of_exactly_p_is_not_enough() -> None:
    assert top_p(torch.tensor([0.5, 0.25, 0.25]), 0.5).tolist() == [True, True, False]


def test_equal_weights_are_taken_in_the_order_of_the_bag() -> None:
    assert top_p(torch.full((8,), 0.125), 0.5).tolist() == [True] * 5 + [False] * 3


def test_at_least_one_tile_is_chosen() -> None:
    assert top_p(torch.tensor([0.4, 0.6]), 0.0).tolist() == [False, True]
    assert top_p(torch.tensor([1.0]), 0.99).tolist() == [True]


def test_sums_are_double_precision() -> None:
    phi = torch.full((1000,), 0.001)  # stored as slightly more than 1/1000, so 500 exceed one half
    assert int(top_p(phi, 0.5).sum()) == 500
    single = torch.cumsum(phi, dim=0)
    assert int((single <= 0.5).sum()) + 1 == 501  # what single precision would have kept


def test_phi_is_a_softmax_over_tiles_and_follows_their_order() -> None:
    torch.manual_seed(0)
    router, tiles, order = Router(16), torch.randn(50, 16), torch.randperm(50)
    phi = router(tiles).exp()
    torch.testing.assert_close(phi.sum(), torch.tensor(1.0))
    torch.testing.assert_close(router(tiles[order]).exp(), phi[order])


@pytest.mark.parametrize("gradient", list(RouterGradient))
def test_equal_routing_weights_leave_the_reading_as_it_is(gradient: RouterGradient) -> None:
    log_phi = torch.log_softmax(torch.zeros(10), dim=0)
    weights = read_weights(log_phi, torch.tensor([1, 4, 7]), gradient).exp()
    torch.testing.assert_close(weights, torch.ones(3))


def test_weighted_reading_has_mean_weight_one_in_proportion_to_phi() -> None:
    phi = torch.tensor([0.1, 0.4, 0.2, 0.3])
    weights = read_weights(phi.log(), torch.tensor([1, 3]), RouterGradient.WEIGHTED).exp()
    torch.testing.assert_close(weights, torch.tensor([0.4, 0.3]) / 0.7 * 2)


def test_straight_through_has_weights_of_one_and_the_gradient_of_log_phi() -> None:
    logits = torch.randn(6, generator=seeded(1), requires_grad=True)
    log_phi = torch.log_softmax(logits, dim=0)
    weights = read_weights(log_phi, torch.tensor([2]), RouterGradient.STRAIGHT_THROUGH)
    assert torch.equal(weights, torch.zeros(1))
    weights.sum().backward()
    expected = torch.eye(6)[2] - torch.softmax(logits.detach(), dim=0)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, expected)


def test_the_printed_rule_passes_no_gradient() -> None:
    log_phi = torch.log_softmax(torch.zeros(4, requires_grad=True), dim=0)
    assert not read_weights(log_phi, torch.tensor([0, 1]), RouterGradient.NONE).requires_grad
