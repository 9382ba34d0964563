"""Laws that every balancing method obeys; a new file in one of the two folders is tested when it appears."""

import pytest
import torch
from torch import Tensor

from napari_mtlpath.balancing.balancer import GRADIENTS, LOSSES, names, parse
from napari_mtlpath.balancing.contract import GradientBalancer, LossBalancer

TASKS = ("witness", "grade", "share")

gradient_methods = pytest.mark.parametrize("name", GRADIENTS.names())
loss_methods = pytest.mark.parametrize("name", LOSSES.names())


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(tasks: int, parameters: int = 60, *, seed: int = 1) -> Tensor:
    return torch.randn(tasks, parameters, generator=seeded(seed), dtype=torch.float64)


def gradients_by(name: str) -> GradientBalancer:
    return GRADIENTS.load(name)()


def combined(name: str, matrix: Tensor, *, seed: int = 5) -> Tensor:
    return gradients_by(name)(matrix, generator=seeded(seed))


def conflicting(seed: int = 1) -> Tensor:
    """Five tasks of different lengths, some of which oppose each other."""
    matrix = rows(5, seed=seed)
    matrix[1] = -0.8 * matrix[0] + 0.3 * matrix[1]
    return matrix * torch.tensor([1.0, 0.3, 5.0, 1.0, 2.0], dtype=torch.float64)[:, None]


@gradient_methods
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
def test_the_result_has_the_form_of_a_row_and_the_rows_stay(name: str, kind: torch.dtype) -> None:
    matrix = conflicting().to(kind)
    before = matrix.clone()
    result = combined(name, matrix)
    assert result.shape == matrix.shape[1:]
    assert result.dtype == kind
    assert result.isfinite().all()
    assert torch.equal(matrix, before)


@gradient_methods
def test_half_precision_is_combined_as_its_float32_values(name: str) -> None:
    matrix = conflicting().bfloat16()
    assert torch.equal(combined(name, matrix), combined(name, matrix.float()).bfloat16())


@gradient_methods
def test_the_same_generator_gives_the_same_and_the_global_one_is_left_alone(name: str) -> None:
    state = torch.random.get_rng_state()
    first = combined(name, conflicting())
    torch.random.set_rng_state(torch.Generator().manual_seed(99).get_state())
    assert torch.equal(combined(name, conflicting()), first)
    assert torch.equal(torch.random.get_rng_state(), torch.Generator().manual_seed(99).get_state())
    torch.random.set_rng_state(state)


@gradient_methods
def test_a_method_that_uses_chance_says_so(name: str) -> None:
    results = [combined(name, conflicting(), seed=seed) for seed in range(8)]
    differs = any(not torch.equal(result, results[0]) for result in results)
    assert differs == gradients_by(name).order_matters


@gradient_methods
@pytest.mark.parametrize("factor", [1e-15, 1e-3, 1e9])
def test_a_common_factor_goes_through(name: str, factor: float) -> None:
    torch.testing.assert_close(
        combined(name, factor * conflicting()) / factor, combined(name, conflicting()), rtol=1e-6, atol=1e-6
    )


@gradient_methods
def test_small_float32_gradients_still_move_the_trunk(name: str) -> None:
    matrix = conflicting().float()
    assert (1e-26 * matrix).square().sum() == 0.0  # squares are below float32's range
    torch.testing.assert_close(combined(name, 1e-26 * matrix) * 1e26, combined(name, matrix), rtol=1e-3, atol=1e-3)


@gradient_methods
def test_order_of_tasks_matters_only_where_claimed(name: str) -> None:
    if gradients_by(name).order_matters:
        return  # checked by test_a_method_that_uses_chance_says_so
    order = torch.randperm(5, generator=seeded(3))
    torch.testing.assert_close(
        combined(name, conflicting()[order]), combined(name, conflicting()), rtol=1e-6, atol=1e-6
    )


@gradient_methods
def test_a_lone_task_keeps_its_gradient(name: str) -> None:
    torch.testing.assert_close(combined(name, rows(1)), rows(1)[0])


@gradient_methods
def test_a_task_without_gradient_is_as_if_it_were_absent(name: str) -> None:
    matrix = conflicting()
    with_zero = torch.cat([matrix[:2], torch.zeros_like(matrix[:1]), matrix[2:]])
    assert torch.equal(combined(name, with_zero), combined(name, matrix))
    assert combined(name, matrix).norm() > 0.0


@gradient_methods
def test_no_gradient_at_all_gives_zero(name: str) -> None:
    assert torch.equal(combined(name, torch.zeros(3, 7)), torch.zeros(7))


@gradient_methods
def test_tasks_that_are_alike_and_do_not_conflict_give_about_their_sum(name: str) -> None:
    apart, same = torch.eye(4, 60, dtype=torch.float64), rows(1).repeat(4, 1)
    for matrix in (apart, same):
        result, total = combined(name, matrix), matrix.sum(dim=0)
        share = (result @ total / total.square().sum()).item()
        assert 0.5 < share < 1.5
        torch.testing.assert_close(result, share * total, rtol=1e-6, atol=1e-6)


@gradient_methods
def test_almost_equal_gradients_are_not_shrunk_to_nothing(name: str) -> None:
    same = rows(1).repeat(3, 1)
    noisy = (same + 1e-6 * rows(3, seed=8)).float()
    torch.testing.assert_close(combined(name, noisy).double(), combined(name, same), rtol=1e-2, atol=1e-2)


@gradient_methods
def test_opposite_gradients_give_a_finite_vector_no_longer_than_both(name: str) -> None:
    matrix = torch.cat([rows(1), -rows(1)])
    result = combined(name, matrix)
    assert result.isfinite().all()
    assert result.norm() <= 2.0 * matrix[0].norm() + 1e-9


@gradient_methods
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_is_not_hidden(name: str, bad: float) -> None:
    matrix = conflicting()
    matrix[2, 7] = bad
    assert not combined(name, matrix)[7].isfinite()


@gradient_methods
@pytest.mark.parametrize("tasks", [2, 3, 6])
@pytest.mark.parametrize("parameters", [2, 40])
def test_a_method_that_claims_so_opposes_no_task(name: str, tasks: int, parameters: int) -> None:
    method = gradients_by(name)
    worst = 0.0
    for seed in range(30):
        matrix = rows(tasks, parameters, seed=seed) * torch.logspace(-2, 2, tasks, dtype=torch.float64)[:, None]
        products = matrix @ method(matrix, generator=seeded(seed))
        worst = min(worst, (products / matrix.norm(dim=1)).min().item() / matrix.norm().item())
    assert worst > -1e-6 or not method.never_conflicts


@gradient_methods
def test_a_rotation_of_all_gradients_rotates_what_inner_products_decide(name: str) -> None:
    if gradients_by(name).coordinatewise:
        return  # signs of coordinates are not kept by a rotation
    rotation = torch.linalg.qr(rows(60, seed=4)).Q
    torch.testing.assert_close(
        combined(name, conflicting() @ rotation), combined(name, conflicting()) @ rotation, rtol=1e-6, atol=1e-6
    )


@gradient_methods
def test_a_coordinatewise_method_needs_no_other_coordinates(name: str) -> None:
    if not gradients_by(name).coordinatewise:
        return
    method, chance = gradients_by(name), seeded(5)
    pieces = [method(piece, generator=chance) for piece in conflicting().split(20, dim=1)]
    torch.testing.assert_close(torch.cat(pieces), combined(name, conflicting()), rtol=1e-12, atol=1e-12)


@gradient_methods
def test_gradient_state_makes_the_same_method_again(name: str) -> None:
    method, again = gradients_by(name), gradients_by(name)
    chance = seeded(5)
    for step in range(3):
        method(conflicting(step), generator=chance)
    again.load_state_dict(method.state_dict(), strict=True)
    assert torch.equal(again(conflicting(9), generator=seeded(6)), method(conflicting(9), generator=seeded(6)))


def losses_by(name: str, **options: object) -> LossBalancer:
    return LOSSES.load(name)(TASKS, **options)


def some_losses(**values: float) -> dict[str, Tensor]:
    given = values or {"witness": 0.7, "grade": 1.1, "share": 0.02}
    return {task: torch.tensor(value, requires_grad=True) for task, value in given.items()}


def driven(method: LossBalancer, *, rounds: int = 3) -> LossBalancer:
    """Let a method live through some steps and epochs, whatever it learns from."""
    for place in range(rounds):
        before = {"witness": 0.7 / (place + 1), "grade": 1.1, "share": 0.02 * (place + 1)}
        torch.stack(list(method(some_losses(**before)).values())).sum().backward()
        with torch.no_grad():
            for parameter in method.own_parameters():
                assert parameter.grad is not None
                parameter -= 0.1 * parameter.grad
                parameter.grad = None
        method.step_ended(before, {task: value * 0.5**index for index, (task, value) in enumerate(before.items())})
        if method.needs_virtual_step:
            method.learn({"witness": -1.0, "share": 0.5})
        method.epoch_ended(before)
    return method


@loss_methods
def test_every_present_task_gets_a_weighted_loss_in_order(name: str) -> None:
    method = driven(losses_by(name))
    assert list(method(some_losses())) == list(TASKS)
    assert list(method(some_losses(share=0.1, witness=0.5))) == ["share", "witness"]
    assert list(method.weights) == ["share", "witness"]


@loss_methods
def test_the_reported_weight_is_the_derivative_by_the_loss(name: str) -> None:
    method, losses = driven(losses_by(name)), some_losses()
    torch.stack(list(method(losses).values())).sum().backward()
    for task, loss in losses.items():
        assert loss.grad is not None
        assert method.weights[task] == pytest.approx(loss.grad.item(), rel=1e-6)
        assert method.weights[task] >= 0.0


@loss_methods
def test_a_fresh_method_treats_equal_losses_alike(name: str) -> None:
    method = losses_by(name)
    method(some_losses(witness=0.4, grade=0.4, share=0.4))
    assert len({round(weight, 12) for weight in method.weights.values()}) == 1


@loss_methods
def test_the_order_of_losses_changes_no_weight(name: str) -> None:
    method = driven(losses_by(name))
    method(some_losses())
    forwards = method.weights
    method(dict(reversed(some_losses().items())))
    assert method.weights == pytest.approx(forwards, rel=1e-12)


@loss_methods
def test_loss_state_makes_the_same_method_again(name: str) -> None:
    method, again = driven(losses_by(name)), losses_by(name)
    again.load_state_dict(method.state_dict(), strict=True)
    for other in (method, again):
        driven(other, rounds=1)
    before, after = method(some_losses()), again(some_losses())
    assert all(torch.equal(before[task], after[task]) for task in TASKS)
    assert again.weights == method.weights


@loss_methods
def test_an_absent_task_moves_nothing_of_its_own(name: str) -> None:
    method = losses_by(name)
    torch.stack(list(method(some_losses(witness=0.3, share=0.2)).values())).sum().backward()
    reached = [parameter.grad is not None for parameter in method.own_parameters()]
    assert not reached or reached == [True, False, True]


@loss_methods
def test_own_parameters_are_all_that_is_learned_by_gradient(name: str) -> None:
    method = losses_by(name)
    assert {id(p) for p in method.own_parameters()} == {id(p) for p in method.parameters() if p.requires_grad}


@loss_methods
def test_the_loss_of_a_stranger_is_refused_in_words(name: str) -> None:
    if name == "equal":
        return  # it treats every loss the same, known or not
    with pytest.raises(ValueError, match=r"made for the tasks witness, grade, share; found a loss of 'age'"):
        losses_by(name)(some_losses(age=1.0))


@loss_methods
def test_losses_of_zero_leave_finite_weights(name: str) -> None:
    method = driven(losses_by(name))
    for _ in range(2):
        method.epoch_ended(dict.fromkeys(TASKS, 0.0))
    weighted = method(some_losses(witness=0.0, grade=0.0, share=0.0))
    assert all(loss.isfinite() for loss in weighted.values())


def test_every_name_makes_a_method_with_an_example() -> None:
    for name in (*LOSSES.names(), *(f"equal+{gradients}" for gradients in GRADIENTS.names())):
        assert name in names()
        balancer = parse(name, tasks=TASKS)
        assert balancer.name == name
        for half in (balancer.losses, balancer.gradients):
            assert half is None or ">>>" in (type(half).__doc__ or ""), "a method shows how it is used"
