"""Loss methods against their formulae, and against what a known trainer got wrong with them."""

import math

import pytest
import torch
from torch import Tensor, nn
from torchjd.scalarization import DWA as LibraryDWA

from napari_mtlpath.balancing.balancer import parse
from napari_mtlpath.balancing.contract import LossBalancer
from napari_mtlpath.training.step.update import Update

TASKS = ("class", "value")


def made(name: str, **options: float | str) -> LossBalancer:
    return parse(name, tasks=TASKS, options={name: options}).losses


def losses(first: float, second: float) -> dict[str, Tensor]:
    return {"class": torch.tensor(first), "value": torch.tensor(second)}


def weights_after(method: LossBalancer, *epochs: tuple[float, float]) -> list[float]:
    for means in epochs:
        method.epoch_ended(dict(zip(TASKS, means, strict=True)))
    method(losses(1.0, 1.0))
    return [method.weights[task] for task in TASKS]


def test_dwa_waits_for_two_epochs() -> None:
    method = made("dwa")
    assert weights_after(method) == [1.0, 1.0]
    assert weights_after(method, (4.0, 1.0)) == [1.0, 1.0]


def test_dwa_is_its_formula() -> None:
    found = weights_after(made("dwa"), (4.0, 1.0), (2.0, 0.9))
    slow, fast = math.exp(0.9 / 2.0), math.exp(0.5 / 2.0)
    assert found == pytest.approx([2 * fast / (slow + fast), 2 * slow / (slow + fast)])
    assert sum(found) == pytest.approx(2.0)


def test_dwa_agrees_with_the_library() -> None:
    library = LibraryDWA(temperature=2.0)
    history = [(4.0, 1.0), (2.0, 0.9), (1.9, 0.3)]
    for means in history:
        library(torch.tensor(means))
        library.step()
    total = library(torch.tensor([1.0, 10.0]))
    first, second = weights_after(made("dwa"), *history)
    assert first + 10.0 * second == pytest.approx(total.item(), rel=1e-6)


def test_dwa_reads_each_tasks_own_losses() -> None:
    """A known trainer put the classification loss in the regression task's place, so all ratios came out equal."""
    first, second = weights_after(made("dwa"), (1.0, 4.0), (1.0, 1.0))
    assert first > second
    swapped = weights_after(made("dwa"), (4.0, 1.0), (1.0, 1.0))
    assert swapped == pytest.approx([second, first])


@pytest.mark.parametrize(("temperature", "spread"), [(1e9, 0.0), (0.01, 2.0)])
def test_dwa_is_even_when_hot_and_picks_one_when_cold(temperature: float, spread: float) -> None:
    first, second = weights_after(made("dwa", temperature=temperature), (1.0, 1.0), (0.9, 0.5))
    assert first - second == pytest.approx(spread, abs=1e-6)


def test_dwa_keeps_the_last_mean_of_a_task_without_labels() -> None:
    method = made("dwa")
    weights_after(method, (1.0, 1.0), (0.5, 0.9))
    method.epoch_ended({"class": 0.4})
    first, second = weights_after(method)
    rest, fallen = math.exp(0.5), math.exp(0.4)
    assert [first, second] == pytest.approx([2 * fallen / (rest + fallen), 2 * rest / (rest + fallen)])


def test_uncert_has_no_slope_where_s_is_the_logarithm_of_the_loss() -> None:
    method = made("uncert", start=math.log(0.3))
    method({"class": torch.tensor(0.3)})["class"].backward()
    assert method.own_parameters()[0].grad.item() == pytest.approx(0.0, abs=1e-7)


def test_uncert_starts_close_to_equal_weights() -> None:
    method = made("uncert")
    method(losses(0.5, 0.5))
    assert method.weights["class"] == pytest.approx(1.00688, abs=1e-5)


class TwoHeads(nn.Module):
    """A shared layer and two heads, on fixed data."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.shared, self.heads = nn.Linear(4, 8), nn.ModuleList(nn.Linear(8, 1) for _ in TASKS)
        self.data = torch.randn(16, 4)

    def losses(self) -> dict[str, Tensor]:
        hidden = torch.tanh(self.shared(self.data))
        targets = (self.data[:, :1], 5.0 * self.data[:, 1:2])
        found = [(head(hidden) - target).square().mean() for head, target in zip(self.heads, targets, strict=True)]
        return dict(zip(TASKS, found, strict=True))

    def shared_parameters(self) -> list[nn.Parameter]:
        return list(self.shared.parameters())


@pytest.mark.parametrize("name", ["uncert", "uncert+pcgrad", "uncert+cagrad", "uncert+graddrop"])
def test_uncert_learns_with_every_gradient_method(name: str) -> None:
    """A known trainer left the log-variances out of the optimizer: all five of its rows were equal weights."""
    model = TwoHeads()
    update = Update(model, parse(name, tasks=TASKS))
    optimizer = torch.optim.AdamW(
        [{"params": list(model.parameters())}, {"params": update.own_parameters(), "weight_decay": 0.0}], lr=0.02
    )
    for _ in range(40):
        optimizer.zero_grad(set_to_none=True)
        facts = update.backward(model.losses())
        optimizer.step()
    assert facts.weights["class"] > 1.5 * facts.weights["value"], "the noisier task counts less"
    assert all(abs(s.item() + 0.7) > 0.1 for s in update.own_parameters())


def test_famo_weighs_by_the_inverse_of_the_losses() -> None:
    method = made("famo")
    method(losses(0.5, 2.0))
    assert list(method.weights.values()) == pytest.approx([1.6, 0.4])


def test_famo_moves_its_logits_down_the_gradient_of_the_least_improvement() -> None:
    method = made("famo", decay=0.0)
    before, after = {"class": 0.5, "value": 2.0}, {"class": 0.25, "value": 1.9}
    logits = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    gains = torch.log(torch.tensor([0.5 / 0.25, 2.0 / 1.9], dtype=torch.float64))
    expected = torch.autograd.grad(torch.softmax(logits, dim=0) @ gains, logits)[0]
    method.step_ended(before, after)
    torch.testing.assert_close(method.adam.first.double() / 0.1, expected, rtol=1e-5, atol=1e-6)
    method(losses(1.0, 1.0))
    assert method.weights["value"] > 1.0 > method.weights["class"]


def test_famo_needs_the_losses_after_the_step() -> None:
    assert made("famo").needs_losses_after_step
    with pytest.raises(ValueError, match="found none after it"):
        made("famo").step_ended({"class": 1.0, "value": 1.0}, None)


def test_famo_leaves_an_absent_task_alone() -> None:
    method = made("famo")
    method.step_ended({"class": 1.0}, {"class": 0.5})
    assert method.logits[1] == 0.0


def test_famo_evens_out_the_pace_of_a_fast_and_a_slow_task() -> None:
    method = made("famo")
    for _ in range(50):
        method.step_ended({"class": 1.0, "value": 1.0}, {"class": 0.5, "value": 0.99})
    method(losses(1.0, 1.0))
    assert method.weights["value"] > 2.0 * method.weights["class"]


def test_autol_weights_never_become_negative_and_do_not_decay() -> None:
    method = made("autol", learning_rate=0.05)
    for _ in range(10):
        method.learn({"class": 1.0, "value": 0.0})
    method(losses(1.0, 1.0))
    assert method.weights == {"class": 0.0, "value": pytest.approx(0.1)}


def test_autol_names_the_tasks_it_may_serve() -> None:
    assert made("autol").main == TASKS
    assert made("autol", main="value").main == ("value",)
    with pytest.raises(ValueError, match=r"found age\. Tasks: class, value"):
        made("autol", main="class, age")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dwa", {"temperature": 0.0}),
        ("famo", {"learning_rate": 0.0}),
        ("famo", {"decay": -1.0}),
        ("autol", {"start": 0.0}),
        ("autol", {"learning_rate": -1.0}),
    ],
)
def test_options_out_of_range_are_refused_by_name(name: str, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"'{next(iter(options))}'.*of {name}|of {name}.*'{next(iter(options))}'"):
        made(name, **options)
