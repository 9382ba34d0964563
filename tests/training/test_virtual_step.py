"""Auto-Lambda's derivative: the published formula, without the noise of dropout."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from napari_mtlpath.balancing.balancer import parse
from napari_mtlpath.training.step.update import Update
from napari_mtlpath.training.step.virtual_step import validation_slopes

NAMES = ("main", "helper", "stranger")
RATE, DECAY = 0.3, 0.02
WEIGHTS = {"main": 0.7, "helper": 0.4, "stranger": 0.9}


class Net(nn.Module):
    """A shared layer for two tasks, dropout and batch norm, and a task with weights of its own alone."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.BatchNorm1d(16), nn.Dropout(0.5))
        self.heads = nn.ModuleDict({"main": nn.Linear(16, 1), "helper": nn.Linear(16, 1), "stranger": nn.Linear(6, 1)})

    def forward(self, rows: Tensor, target: Tensor) -> dict[str, Tensor]:
        shared = self.trunk(rows)
        answers = {name: head(rows if name == "stranger" else shared) for name, head in self.heads.items()}
        return {
            name: (answer[:, 0] - target[:, place]).square().mean()
            for place, (name, answer) in enumerate(answers.items())
        }

    def shared_parameters(self) -> list[nn.Parameter]:
        return list(self.trunk.parameters())


def batch(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(12, 6, generator=generator, dtype=torch.float64),
        torch.randn(12, 3, generator=generator, dtype=torch.float64),
    )


def double_net() -> Net:
    return Net().double()


def slopes_of(net: Net, *, main: tuple[str, ...] = ("main",), seed: int = 0) -> dict[str, float]:
    return validation_slopes(
        net,
        train=lambda: net(*batch(1)),
        validation=lambda: net(*batch(2)),
        weights=WEIGHTS,
        main=main,
        learning_rate=RATE,
        weight_decay=DECAY,
        seed=seed,
    )


def exact_slopes(net: Net, main: tuple[str, ...]) -> list[float]:
    """The same derivative by backpropagating through the virtual step itself."""
    net = net.eval()
    weights = torch.tensor([WEIGHTS[name] for name in NAMES], dtype=torch.float64, requires_grad=True)
    values = {name: value.detach().clone().requires_grad_() for name, value in net.named_parameters()}
    losses: Mapping[str, Tensor] = functional_call(net, values, batch(1))
    total = sum(weight * losses[name] for weight, name in zip(weights, NAMES, strict=True)) / len(NAMES)
    slopes = torch.autograd.grad(total, list(values.values()), create_graph=True)
    moved = {n: v - RATE * (g + DECAY * v) for (n, v), g in zip(values.items(), slopes, strict=True)}
    held_out = functional_call(net, moved, batch(2))
    return torch.autograd.grad(sum(held_out[name] for name in main), weights)[0].tolist()


@pytest.mark.parametrize("main", [("main",), ("helper", "main")])
def test_the_difference_equals_the_exact_derivative_through_the_step(main: tuple[str, ...]) -> None:
    found = slopes_of(double_net().train(), main=main)
    assert [found[name] for name in NAMES] == pytest.approx(exact_slopes(double_net(), main), rel=1e-4, abs=1e-9)
    assert abs(found["helper"]) > 1e-4


def test_dropout_and_the_global_generator_do_not_touch_it() -> None:
    net = double_net().train()
    torch.manual_seed(1)
    first = slopes_of(net)
    torch.manual_seed(2)
    assert slopes_of(net, seed=9) == first


def test_a_task_that_shares_nothing_with_the_main_one_has_slope_zero() -> None:
    assert slopes_of(double_net())["stranger"] == 0.0


def test_the_module_is_left_as_it_was() -> None:
    net = double_net().train()
    net.heads["helper"].eval()
    torch.stack(list(net(*batch(3)).values())).sum().backward()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    gradients = [parameter.grad.clone() for parameter in net.parameters()]
    chance = torch.random.get_rng_state()
    slopes_of(net)
    assert all(torch.equal(net.state_dict()[name], value) for name, value in state.items())
    assert all(torch.equal(p.grad, gradient) for p, gradient in zip(net.parameters(), gradients, strict=True))
    assert net.training
    assert not net.heads["helper"].training
    assert torch.equal(torch.random.get_rng_state(), chance)


def test_the_weights_come_back_when_a_pass_fails() -> None:
    net = double_net()
    state = {name: value.clone() for name, value in net.state_dict().items()}

    def fails() -> dict[str, Tensor]:
        raise RuntimeError("no validation batch")

    with pytest.raises(RuntimeError, match="no validation batch"):
        validation_slopes(
            net, train=lambda: net(*batch(1)), validation=fails, weights=WEIGHTS, main=NAMES, learning_rate=RATE
        )
    assert all(torch.equal(net.state_dict()[name], value) for name, value in state.items())


def test_without_a_main_task_in_the_validation_batch_nothing_is_learned() -> None:
    net = double_net()
    found = validation_slopes(
        net,
        train=lambda: net(*batch(1)),
        validation=lambda: {"helper": net(*batch(2))["helper"]},
        weights=WEIGHTS,
        main=("main",),
        learning_rate=RATE,
    )
    assert found == {}


@pytest.mark.parametrize("level", ["parameters", "representation"])
def test_an_update_learns_weights_that_help_the_main_task_and_keeps_them_with_its_state(level: str) -> None:
    net = double_net()
    net.represents, net.representation = True, None
    balancer = parse("autol+upgrad", tasks=NAMES, options={"autol": {"main": "main", "learning_rate": 0.05}})
    update = Update(net, balancer, level=level)

    def train() -> dict[str, Tensor]:
        with update.recording():  # as a loop does; nothing may be cut here
            return net(*batch(1))

    for _ in range(5):
        slopes = update.virtual_step(train=train, validation=lambda: net(*batch(1)), learning_rate=0.1)
    weights = balancer.losses.current()
    assert slopes["main"] < 0.0
    assert weights["main"] > 0.1 + 1e-3  # its own loss on the same batch: more of it can only help
    assert weights["stranger"] == pytest.approx(0.1)
    again = Update(double_net(), parse("autol+upgrad", tasks=NAMES, options={"autol": {"main": "main"}}))
    again.load_state_dict(update.state_dict())
    assert again.balancer.losses.current() == weights


def test_a_method_without_validation_refuses_a_virtual_step() -> None:
    update = Update(double_net(), parse("dwa", tasks=NAMES))
    with pytest.raises(TypeError, match="'dwa' learns nothing from validation batches"):
        update.virtual_step(train=dict, validation=dict, learning_rate=0.1)
