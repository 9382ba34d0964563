"""Inner products of task gradients, and the guards around every method."""

import torch
from torch import Tensor

from napari_mtlpath.balancing.gramian import COLUMNS, cosines_of, gramian_of, safe_weights


def rows(tasks: int, size: int, *, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(tasks, size, generator=torch.Generator().manual_seed(0))


def test_pieces_give_the_inner_products_of_whole_rows() -> None:
    matrix = rows(3, 2 * COLUMNS + 77)
    pieces = [[row[:100].reshape(10, 10), row[100:]] for row in matrix]
    exact = matrix.double() @ matrix.double().T
    torch.testing.assert_close(gramian_of(pieces), exact, rtol=1e-12, atol=1e-9)


def test_a_piece_that_a_task_does_not_reach_counts_as_zero() -> None:
    matrix = rows(2, 50)
    found = gramian_of([[matrix[0], matrix[0]], [None, matrix[1]]])
    whole = torch.stack([torch.cat([matrix[0], matrix[0]]), torch.cat([torch.zeros(50), matrix[1]])]).double()
    torch.testing.assert_close(found, whole @ whole.T)


def test_squares_below_the_range_of_float32_are_kept() -> None:
    found = gramian_of([[row] for row in rows(2, 50, scale=1e-30)])
    torch.testing.assert_close(found * 1e60, gramian_of([[row] for row in rows(2, 50)]), rtol=1e-5, atol=1e-5)


def test_half_precision_pieces_are_multiplied_exactly() -> None:
    matrix = rows(3, 500).bfloat16()
    torch.testing.assert_close(gramian_of([[row] for row in matrix]), matrix.double() @ matrix.double().T)


def test_cosines_are_those_of_angles_and_zero_for_a_zero_row() -> None:
    matrix = torch.tensor([[2.0, 0.0], [-3.0, 3.0], [0.0, 0.0]], dtype=torch.float64)
    found = cosines_of(matrix @ matrix.T)
    side = -(0.5**0.5)
    expected = torch.tensor([[1.0, side, 0.0], [side, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(found, expected)


def test_a_method_never_sees_zero_rows_or_odd_scales() -> None:
    seen: list[Tensor] = []

    def weigh(gramian: Tensor) -> Tensor:
        seen.append(gramian)
        return torch.tensor([0.3, 0.7], dtype=torch.float64)

    matrix = 1e-9 * torch.tensor([[3.0, 0.0], [0.0, 0.0], [0.0, 4.0], [1e-14, 0.0]], dtype=torch.float64)
    weights = safe_weights(matrix @ matrix.T, weigh)
    torch.testing.assert_close(weights, torch.tensor([0.3, 0.0, 0.7, 0.0], dtype=torch.float64))
    torch.testing.assert_close(seen[0], torch.diag(torch.tensor([0.72, 1.28], dtype=torch.float64)))
