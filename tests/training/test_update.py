"""One optimisation step: which parameter gets which gradient."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from napari_mtlpath.balancing.balancer import Balancer, parse
from napari_mtlpath.balancing.contract import GramianBalancer
from napari_mtlpath.balancing.losses.equal import Equal
from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.plugins import PluginFolder
from napari_mtlpath.tasks import Classification, Regression, Task
from napari_mtlpath.training.losses.supervised import task_loss
from napari_mtlpath.training.update import Update

FOLDER = PluginFolder("napari_mtlpath.nn.aggregators", contract=Aggregator, noun="aggregator")
TASKS: tuple[Task, ...] = (
    Classification(name="witness"),
    Classification(name="grade", classes=("low", "middle", "high")),
    Regression(name="share"),
)
NAMES = tuple(task.name for task in TASKS)
LABELS = {"witness": 1.0, "grade": 2.0, "share": 0.3}
FEATURES = 12


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(name: str = "abmil", *, options: dict[str, object] | None = None, double: bool = True) -> Aggregator:
    kind = FOLDER.load(name)
    known = kind.build(tasks=TASKS, features=FEATURES, options={}).options
    small = {key: value for key, value in {"width": 8, "heads": 2}.items() if key in known}
    model = kind.build(tasks=TASKS, features=FEATURES, options={**small, **(options or {})}, generator=seeded(0))
    return (model.double() if double else model).eval()


def losses_of(model: Aggregator, *, bags: int = 2, tasks: tuple[str, ...] = NAMES) -> dict[str, Tensor]:
    parameter = next(model.parameters())
    outputs = [
        model(torch.randn(9 + bag, FEATURES, generator=seeded(bag + 1)).to(parameter.dtype)) for bag in range(bags)
    ]
    answers: dict[str, Tensor] = {}
    for task in TASKS:
        if task.name in tasks:
            logits = torch.stack([output.tasks[task.name].logits for output in outputs])
            answers[task.name] = task_loss(task, logits, torch.full((bags,), LABELS[task.name], dtype=logits.dtype))
    return answers


def gradients_of(model: nn.Module) -> dict[str, Tensor | None]:
    return {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}


def task_gradients(model: Aggregator, compute: Callable[[], dict[str, Tensor]]) -> dict[str, dict[str, Tensor | None]]:
    """Every task's gradient by itself, by plain autograd."""
    by_task = {}
    for name in compute():
        model.zero_grad(set_to_none=True)
        compute()[name].backward()
        by_task[name] = gradients_of(model)
    model.zero_grad(set_to_none=True)
    return by_task


@pytest.mark.parametrize("name", ["abmil", "mean_pool", "mecds"])
def test_equal_is_the_plain_mean_bit_by_bit(name: str) -> None:
    model = made(name, double=False)
    torch.stack(list(losses_of(model).values())).mean().backward()
    expected = gradients_of(model)
    model.zero_grad(set_to_none=True)
    facts = Update(model, parse("equal", tasks=NAMES)).backward(losses_of(model))
    for parameter, gradient in gradients_of(model).items():
        if expected[parameter] is None:
            assert gradient is None
        else:
            assert torch.equal(gradient, expected[parameter])
    assert facts.weights == dict.fromkeys(NAMES, 1.0)
    assert facts.cosines is None


@pytest.mark.parametrize("name", ["abmil", "mecds"])
def test_a_gradient_method_changes_shared_parameters_only(name: str) -> None:
    model = made(name)
    by_task = task_gradients(model, lambda: losses_of(model))
    Update(model, parse("pcgrad", tasks=NAMES), generator=seeded(3)).backward(losses_of(model))
    found = gradients_of(model)
    shared = {id(p) for p in model.shared_parameters()}
    for parameter, value in model.named_parameters():
        if id(value) not in shared:
            parts = [g[parameter] for g in by_task.values() if g[parameter] is not None]
            if not parts:
                assert found[parameter] is None
            else:
                torch.testing.assert_close(found[parameter], torch.stack(parts).sum(0) / len(NAMES))


def test_shared_parameters_get_the_methods_vector_of_the_flat_task_gradients() -> None:
    model = made("mecds")
    shared = [n for n, p in model.named_parameters() if any(p is q for q in model.shared_parameters())]
    by_task = task_gradients(model, lambda: losses_of(model))
    flat = torch.stack([torch.cat([by_task[t][n].flatten() for n in shared]) for t in NAMES])
    balancer = parse("pcgrad", tasks=NAMES)
    expected = balancer.gradients(flat, generator=seeded(3)) / len(NAMES)
    facts = Update(model, balancer, generator=seeded(3)).backward(losses_of(model))
    found = gradients_of(model)
    torch.testing.assert_close(torch.cat([found[n].flatten() for n in shared]), expected)
    units = nn.functional.normalize(flat, dim=1)
    torch.testing.assert_close(facts.cosines, units @ units.T)


class PlainSum(GramianBalancer):
    """Adds the task gradients: whatever the level, this must be the plain backward pass."""

    def weights(self, gramian: Tensor, *, generator: torch.Generator) -> Tensor:
        return torch.ones(len(gramian), dtype=gramian.dtype)


REPRESENTING = [name for name in FOLDER.names() if FOLDER.load(name).represents]


@pytest.mark.parametrize("name", REPRESENTING)
def test_no_gradient_is_lost_at_the_shared_representation(name: str) -> None:
    model = made(name)
    torch.stack(list(losses_of(model).values())).mean().backward()
    expected = gradients_of(model)
    model.zero_grad(set_to_none=True)
    update = Update(model, Balancer(Equal(NAMES), PlainSum(), name="sum"), level="representation")
    with update.recording():
        losses = losses_of(model)
    update.backward(losses)
    for parameter, gradient in gradients_of(model).items():
        if expected[parameter] is None:
            assert gradient is None, parameter
        else:
            torch.testing.assert_close(gradient, expected[parameter], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", REPRESENTING)
def test_recording_changes_no_loss_and_ends_with_the_step(name: str) -> None:
    model = made(name)
    plain = losses_of(model)
    update = Update(model, parse("mgda", tasks=NAMES), level="representation")
    with update.recording():
        recorded = losses_of(model)
    assert all(torch.equal(recorded[task], plain[task]) for task in NAMES)
    assert model.representation is None
    update.backward(recorded)
    with pytest.raises(ValueError, match=r"needs a recording of the forward passes; found none"):
        update.backward(losses_of(model))


def test_one_block_of_mecds_is_balanced_at_its_representation_with_private_gradients_plain() -> None:
    model = made("mecds", options={"blocks": 1})
    by_task = task_gradients(model, lambda: losses_of(model))
    update = Update(model, parse("upgrad", tasks=NAMES), level="representation")
    with update.recording():
        losses = losses_of(model)
    facts = update.backward(losses)
    found = gradients_of(model)
    shared = {id(p) for p in model.shared_parameters()}
    moved = 0
    for parameter, value in model.named_parameters():
        parts = [g[parameter] for g in by_task.values() if g[parameter] is not None]
        plain = torch.stack(parts).sum(0) / len(NAMES) if parts else None
        if id(value) not in shared and plain is not None:
            torch.testing.assert_close(found[parameter], plain)
        elif plain is not None:
            moved += not torch.allclose(found[parameter], plain)
    assert facts.cosines is not None
    assert (facts.cosines < 0).any(), "the tasks must conflict, or this test shows nothing"
    assert moved > 0
