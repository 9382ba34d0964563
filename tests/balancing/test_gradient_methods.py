"""Gradient methods against closed forms, certificates of optimality, and the library."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import lsq_linear
from torch import Tensor
from torchjd.aggregation import GradDrop as LibraryGradDrop
from torchjd.aggregation import MGDAWeighting, PCGradWeighting

from napari_mtlpath.balancing.balancer import GRADIENTS
from napari_mtlpath.balancing.contract import GramianBalancer

SIZES = (2, 3, 5, 8)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(tasks: int, *, seed: int, parameters: int = 30) -> Tensor:
    """Rows of different lengths; with more tasks than parameters they depend on each other and conflict strongly."""
    lengths = torch.logspace(-1, 1, tasks, dtype=torch.float64)[:, None]
    return lengths * torch.randn(tasks, parameters, generator=seeded(seed), dtype=torch.float64)


def problems() -> list[Tensor]:
    return [rows(tasks, seed=seed, parameters=size) for tasks in SIZES for seed in range(2) for size in (3, 30)]


def method(name: str, **options: float) -> GramianBalancer:
    return GRADIENTS.load(name)(**options)


def combined(name: str, matrix: Tensor, *, seed: int = 0, **options: float) -> Tensor:
    return method(name, **options)(matrix, generator=seeded(seed))


def weights_of(name: str, matrix: Tensor, **options: float) -> Tensor:
    return method(name, **options).weigh(matrix @ matrix.T, generator=seeded(0))


def test_pcgrad_with_two_tasks_opposes_neither_and_leaves_agreement_alone() -> None:
    for seed in range(8):
        matrix = rows(2, seed=seed, parameters=3)
        result = combined("pcgrad", matrix)
        assert (matrix @ result).min() >= -1e-12
        if matrix[0] @ matrix[1] >= 0:
            torch.testing.assert_close(result, matrix.sum(dim=0))


def test_pcgrad_is_the_published_algorithm_in_one_of_the_orders() -> None:
    matrix = torch.tensor([[1.0, 0.2, 0.0], [-1.0, 1.0, 0.3], [-0.5, -1.0, 0.9]], dtype=torch.float64)
    outcomes = []
    for orders in itertools.product(itertools.permutations(range(3)), repeat=3):
        total = torch.zeros(3, dtype=torch.float64)
        for task, order in enumerate(orders):
            current = matrix[task].clone()
            for other in order:
                if other != task and current @ matrix[other] < 0:
                    current = current - current @ matrix[other] / matrix[other].square().sum() * matrix[other]
            total = total + current
        outcomes.append(total)
    found = [combined("pcgrad", matrix, seed=seed) for seed in range(25)]
    assert all(min((result - outcome).norm().item() for outcome in outcomes) < 1e-12 for result in found)
    assert len({tuple(result.round(decimals=9).tolist()) for result in found}) > 1, "another seed, another order"


def test_pcgrad_equals_the_library_from_the_same_seed() -> None:
    matrix = rows(6, seed=3, parameters=4)
    generator = seeded(8)
    seed = int(torch.randint(2**62, (1,), generator=seeded(8)).item())
    found = method("pcgrad").weigh(matrix @ matrix.T, generator=generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.testing.assert_close(found, PCGradWeighting()(matrix @ matrix.T))


def test_pcgrad_of_three_tasks_may_oppose_one_so_nothing_else_is_claimed() -> None:
    cosines = []
    for seed in range(60):
        matrix = torch.randn(3, 3, generator=seeded(seed), dtype=torch.float64)
        result = combined("pcgrad", matrix)
        cosines.append((matrix @ result / matrix.norm(dim=1) / result.norm()).min().item())
    assert min(cosines) < -0.1
    assert not method("pcgrad").never_conflicts


def test_ags_has_pcgrads_direction_and_the_length_of_the_plain_sum() -> None:
    for matrix in problems():
        found, surgery = combined("ags", matrix, seed=4), combined("pcgrad", matrix, seed=4)
        torch.testing.assert_close(found.norm(), matrix.sum(dim=0).norm())
        torch.testing.assert_close(found / found.norm(), surgery / surgery.norm(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("cosine", [-0.9, -0.5, -0.1])
def test_ags_undoes_the_lengthening_of_pcgrad(cosine: float) -> None:
    matrix = torch.tensor([[1.0, 0.0], [cosine, math.sqrt(1.0 - cosine**2)]], dtype=torch.float64)
    plain, surgery = matrix.sum(dim=0), combined("pcgrad", matrix)
    assert (surgery.norm() / plain.norm()).item() == pytest.approx(1.0 + abs(cosine))
    assert combined("ags", matrix).norm().item() == pytest.approx(plain.norm().item())


def test_ags_leaves_agreement_alone_and_stops_between_opposites() -> None:
    aligned = torch.tensor([[1.0, 0.0], [2.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(combined("ags", aligned), aligned.sum(dim=0))
    opposite = torch.tensor([[1.0, 2.0], [-1.0, -2.0]], dtype=torch.float64)
    assert torch.equal(combined("ags", opposite), torch.zeros(2, dtype=torch.float64))


def cagrad_parts(matrix: Tensor, c: float) -> tuple[Tensor, Tensor, float]:
    """The mean, the direction before it is rescaled, and the radius of the ball that it may lie in."""
    mean = matrix.mean(dim=0)
    return mean, combined("cagrad", matrix, c=c) * (1.0 + c**2) / len(matrix), c * mean.norm().item()


@pytest.mark.parametrize("c", [0.2, 0.8])
def test_cagrad_stays_in_the_ball_and_helps_the_worst_off_task(c: float) -> None:
    for matrix in problems():
        mean, direction, radius = cagrad_parts(matrix, c)
        assert (direction - mean).norm().item() <= radius * (1.0 + 1e-6) + 1e-12
        assert (matrix @ direction).min() >= (matrix @ mean).min() - 1e-9


@pytest.mark.parametrize("c", [0.2, 0.8])
def test_cagrad_is_optimal_as_its_dual_certifies(c: float) -> None:
    for matrix in problems():
        mean, direction, radius = cagrad_parts(matrix, c)
        attained = (matrix @ direction).min().item()
        # Any w of the simplex bounds what any direction can attain; the bound of the method's own w must be attained.
        share = weights_of("cagrad", matrix, c=c) * (1.0 + c**2) / len(matrix) - 1.0 / len(matrix)
        chosen = (share / share.sum()).clamp(min=0.0)
        scale = matrix.norm().item() ** 2
        bound = chosen @ matrix @ mean + radius * (chosen @ matrix).norm()
        assert attained == pytest.approx(bound.item(), abs=1e-7 * scale)


def test_cagrad_with_two_tasks_beats_a_fine_search() -> None:
    for seed in range(10):
        matrix = rows(2, seed=seed, parameters=2)
        mean, direction, radius = cagrad_parts(matrix, 0.4)
        angles = torch.linspace(0.0, 2.0 * math.pi, 20_001, dtype=torch.float64)
        candidates = mean + radius * torch.stack([angles.cos(), angles.sin()], dim=1)
        best = (candidates @ matrix.T).min(dim=1).values.max()
        assert (matrix @ direction).min() >= best - 1e-9


def test_cagrad_without_a_radius_is_the_plain_sum() -> None:
    for matrix in problems():
        torch.testing.assert_close(combined("cagrad", matrix, c=0.0), matrix.sum(dim=0))


@pytest.mark.parametrize("scale", [1e-6, 1e-3])
def test_cagrad_and_mgda_do_not_stop_at_small_gradients(scale: float) -> None:
    # The library's CAGrad returns zeros where the squared norm of all gradients is below 1e-4.
    matrix = scale * rows(3, seed=0)
    for name in ("cagrad", "mgda"):
        assert combined(name, matrix).norm() > 0.1 * scale


def test_cagrad_where_no_direction_helps_all_still_moves_within_its_ball() -> None:
    matrix = torch.tensor([[1.0, 0.0, 0.4], [-1.0, 0.0, 0.4], [0.0, 0.0, -0.4]], dtype=torch.float64)
    mean, direction, radius = cagrad_parts(matrix, 0.4)
    assert direction.isfinite().all()
    assert (direction - mean).norm() <= radius * (1.0 + 1e-6)


def test_upgrad_adds_the_projections_that_scipys_other_solver_finds() -> None:
    for matrix in problems():
        total = torch.zeros(matrix.shape[1], dtype=torch.float64)
        for row in matrix:
            found = lsq_linear(matrix.T.numpy(), -row.numpy(), bounds=(0.0, np.inf), method="bvls", max_iter=500)
            total = total + row + matrix.T @ torch.from_numpy(found.x)
        scale = matrix.norm().item()
        torch.testing.assert_close(combined("upgrad", matrix) / scale, total / scale, rtol=1e-5, atol=1e-6)


def test_upgrad_equals_pcgrad_for_two_tasks() -> None:
    for matrix in problems():
        if len(matrix) == 2:
            torch.testing.assert_close(combined("upgrad", matrix), combined("pcgrad", matrix), rtol=1e-6, atol=1e-9)


def test_mgda_of_two_tasks_is_the_closed_form() -> None:
    for seed in range(8):
        first, second = matrix = rows(2, seed=seed, parameters=3)
        share = (((second - first) @ second) / (first - second).square().sum()).clamp(0.0, 1.0)
        expected = 2.0 * (share * first + (1.0 - share) * second)
        torch.testing.assert_close(combined("mgda", matrix), expected, rtol=1e-7, atol=1e-9)


def test_mgda_is_never_longer_than_the_librarys_and_certified_shortest() -> None:
    for matrix in problems():
        found = combined("mgda", matrix) / len(matrix)
        library = MGDAWeighting(epsilon=1e-5, max_iters=2000)(matrix @ matrix.T) @ matrix
        assert found.norm() <= library.norm() * (1.0 + 1e-6) + 1e-9
        # Of all points of a convex hull only the shortest one has this inner product with every corner.
        assert (matrix @ found).min() >= found.square().sum() - 1e-8 * matrix.square().sum()


def test_nash_mtl_solves_its_equation_and_ignores_the_scale_of_a_task() -> None:
    for matrix in problems():
        weights = weights_of("nash_mtl", matrix)
        gains = (matrix @ matrix.T @ weights) * weights
        if len(matrix) <= matrix.shape[1]:
            torch.testing.assert_close(gains / gains.mean(), torch.ones_like(gains), rtol=1e-5, atol=1e-5)
            scaled = combined("nash_mtl", matrix * torch.arange(1.0, len(matrix) + 1.0).double()[:, None])
            found = combined("nash_mtl", matrix)
            torch.testing.assert_close(scaled / scaled.norm(), found / found.norm(), rtol=1e-5, atol=1e-5)
        assert weights.sum().item() == pytest.approx(len(matrix))


def test_imtl_g_projects_equally_on_all_independent_gradients_and_never_against_them() -> None:
    for seed in range(30):
        matrix = rows(4, seed=seed)
        found = (matrix / matrix.norm(dim=1, keepdim=True)) @ combined("imtl_g", matrix)
        torch.testing.assert_close(found, found.mean().expand(4), rtol=1e-6, atol=1e-9)
        assert found.min() > 0.0


def test_imtl_g_is_not_turned_round_by_weights_of_negative_sum() -> None:
    # Unit gradients whose equal direction takes the long one negatively: dividing by the sum would turn it round.
    units = torch.tensor([[1.0, 0.1, 0.0], [1.0, -0.1, 0.0], [1.0, 0.02, 0.001]], dtype=torch.float64)
    units = units / units.norm(dim=1, keepdim=True)
    for lengths in itertools.product([1.0, 1e-2], repeat=3):
        matrix = torch.tensor(lengths, dtype=torch.float64)[:, None] * units
        assert (matrix @ combined("imtl_g", matrix)).min() > 0.0


def test_aligned_mtl_gives_every_component_the_smallest_singular_value() -> None:
    for seed in range(10):
        matrix = rows(4, seed=seed)
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        aligned = values.min() * left @ right
        torch.testing.assert_close(combined("aligned_mtl", matrix), aligned.sum(dim=0), rtol=1e-6, atol=1e-9)


def test_graddrop_keeps_one_sign_per_coordinate_and_all_where_tasks_agree() -> None:
    matrix = rows(4, seed=1, parameters=2000)
    matrix[:, :500] = matrix[:, :500].abs()
    result = combined("graddrop", matrix)
    positive, negative = matrix.clamp(min=0.0).sum(dim=0), matrix.clamp(max=0.0).sum(dim=0)
    torch.testing.assert_close(result[:500], positive[:500])
    kept_positive, kept_negative = torch.isclose(result, positive), torch.isclose(result, negative)
    assert (kept_positive | kept_negative).all()
    assert kept_positive.sum() > 600
    assert kept_negative.sum() > 600


def test_graddrop_keeps_the_positive_part_as_often_as_its_share_and_as_the_library() -> None:
    matrix = torch.tensor([[3.0], [-1.0]], dtype=torch.float64).repeat(1, 40_000)
    expected = 0.75 * 3.0 - 0.25 * 1.0
    assert combined("graddrop", matrix).mean().item() == pytest.approx(expected, abs=0.03)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        assert LibraryGradDrop()(matrix).mean().item() == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("c", [-0.1, 1.0])
def test_cagrad_refuses_a_radius_out_of_range(c: float) -> None:
    with pytest.raises(ValueError, match=r"'c' of cagrad must lie in \[0, 1\)"):
        method("cagrad", c=c)
