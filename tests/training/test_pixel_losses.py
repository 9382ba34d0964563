"""Losses of pixels, against values worked out by hand and an independent library."""

import pytest
import torch
from torch.nn import functional

from napari_mtlpath.training.losses.pixels import UNKNOWN_PIXEL, absolute_loss, combo_loss, dice_loss


def test_dice_loss_is_that_of_the_formula():
    truth = torch.tensor([[[0, 1], [1, 2]]])
    said = (
        torch.tensor([[0.5, 0.2], [0.1, 0.1]]),
        torch.tensor([[0.3, 0.7], [0.8, 0.1]]),
        torch.tensor([[0.2, 0.1], [0.1, 0.8]]),
    )
    probabilities = torch.stack(said).unsqueeze(0)
    first = (2 * (0.7 + 0.8) + 1) / (0.3 + 0.7 + 0.8 + 0.1 + 2 + 1)
    second = (2 * 0.8 + 1) / (0.2 + 0.1 + 0.1 + 0.8 + 1 + 1)
    loss = dice_loss(probabilities, truth, torch.ones_like(truth, dtype=torch.bool))
    assert loss.item() == pytest.approx(1 - (first + second) / 2, abs=1e-6)


def test_combo_is_three_tenths_dice_and_seven_tenths_cross_entropy():
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    truth = torch.randint(0, 3, (2, 4, 5), generator=torch.Generator().manual_seed(1))
    known = torch.ones_like(truth, dtype=torch.bool)
    expected = 0.3 * dice_loss(logits.softmax(1), truth, known) + 0.7 * functional.cross_entropy(logits, truth)
    torch.testing.assert_close(combo_loss(logits, truth), expected)


def test_unknown_pixels_count_nowhere_and_get_no_gradient():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    truth = torch.randint(0, 3, (1, 4, 4)).to(torch.uint8)
    truth[0, :2] = UNKNOWN_PIXEL
    loss = combo_loss(logits, truth)
    torch.testing.assert_close(loss, combo_loss(logits[:, :, 2:], truth[:, 2:]))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert not gradient[:, :, :2].any()
    assert gradient[:, :, 2:].abs().min() > 0


def test_a_perfect_answer_costs_nothing_and_a_wrong_one_much():
    truth = torch.randint(0, 3, (1, 8, 8))
    right = functional.one_hot(truth, 3).permute(0, 3, 1, 2).float() * 60
    assert combo_loss(right, truth) < 1e-5
    assert combo_loss(right.roll(1, dims=1), truth) > 10


def test_absolute_error_leaves_unknown_values_out():
    values = torch.tensor([[[[1.0, 2.0], [3.0, 9.0]]]])
    truth = torch.tensor([[[0.0, 2.5], [5.0, torch.nan]]])
    assert absolute_loss(values, truth).item() == pytest.approx((1 + 0.5 + 2) / 3)
