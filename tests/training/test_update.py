"""One optimisation step: which parameter gets which gradient."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from napari_mtlpath.balancing.balancer import GRADIENTS, LOSSES, Balancer, parse
from napari_mtlpath.balancing.contract import GradientBalancer, GramianBalancer
from napari_mtlpath.balancing.losses.equal import Equal
from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.plugins import PluginFolder
from napari_mtlpath.tasks import Classification, Regression, Task
from napari_mtlpath.training.losses.supervised import task_loss
from napari_mtlpath.training.step.update import Update
from napari_mtlpath.training.tile_training.multi_head import MultiHead

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


def flat(gradients: dict[str, Tensor | None], chosen: list[str]) -> Tensor:
    return torch.cat([gradients[name].flatten() for name in chosen])


def shared_names(model: Aggregator) -> list[str]:
    shared = {id(parameter) for parameter in model.shared_parameters()}
    return [name for name, parameter in model.named_parameters() if id(parameter) in shared]


class FlatOnly(GradientBalancer):
    """Needs all coordinates at once and is no function of inner products: the largest gradient wins."""

    def combine(self, gradients: Tensor, *, generator: torch.Generator) -> Tensor:
        return gradients[gradients.abs().sum(dim=1).argmax()]


@pytest.mark.parametrize("kind", ["coordinatewise", "flat"])
def test_methods_without_inner_products_get_every_coordinate(kind: str) -> None:
    model = made("abmil")
    method = GRADIENTS.load("graddrop")() if kind == "coordinatewise" else FlatOnly()
    shared = shared_names(model)
    rows = torch.stack([flat(row, shared) for row in task_gradients(model, lambda: losses_of(model)).values()])
    update = Update(model, Balancer(Equal(NAMES), method, name=kind), generator=seeded(3))
    facts = update.backward(losses_of(model), cosines=True)
    chance, start, expected = seeded(3), 0, []
    for name in shared if kind == "coordinatewise" else ["all"]:
        size = rows.shape[1] if name == "all" else model.get_parameter(name).numel()
        expected.append(method(rows[:, start : start + size], generator=chance))
        start += size
    torch.testing.assert_close(flat(gradients_of(model), shared), torch.cat(expected) / len(NAMES))
    assert facts.cosines is not None


@pytest.mark.parametrize("method", ["equal", "dwa", "uncert", "pcgrad", "uncert+cagrad", "graddrop", "upgrad"])
def test_an_absent_task_keeps_no_gradient_and_counts_for_nothing(method: str) -> None:
    model = made("abmil")
    update = Update(model, parse(method, tasks=NAMES), generator=seeded(1))
    facts = update.backward(losses_of(model, tasks=("witness", "share")))
    assert facts.tasks == ("witness", "share")
    assert all(parameter.grad is None for parameter in model.task_parameters("grade"))
    assert all(parameter.grad is not None for parameter in model.shared_parameters())
    own = update.own_parameters()
    assert not own or [parameter.grad is not None for parameter in own] == [True, False, True]


@pytest.mark.parametrize("method", ["pcgrad", "graddrop", "uncert+upgrad"])
@pytest.mark.parametrize("level", ["parameters", "representation"])
def test_a_lone_task_trains_as_without_a_gradient_method(method: str, level: str) -> None:
    model = made("mecds")
    losses_by = method.split("+")[0] if "+" in method else "equal"
    Update(model, parse(losses_by, tasks=NAMES)).backward(losses_of(model, tasks=("share",)))
    expected = gradients_of(model)
    model.zero_grad(set_to_none=True)
    update = Update(model, parse(method, tasks=NAMES), level=level)
    with update.recording():
        losses = losses_of(model, tasks=("share",))
    update.backward(losses)
    for name, gradient in gradients_of(model).items():
        assert (gradient is None) == (expected[name] is None)
        if gradient is not None:
            torch.testing.assert_close(gradient, expected[name])


@pytest.mark.parametrize("method", ["equal", "upgrad", "graddrop"])
def test_gradients_are_added_to_those_that_are_there(method: str) -> None:
    model = made("abmil")
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    Update(model, parse(method, tasks=NAMES), generator=seeded(1)).backward(losses_of(model))
    twice = gradients_of(model)
    model.zero_grad(set_to_none=True)
    Update(model, parse(method, tasks=NAMES), generator=seeded(1)).backward(losses_of(model))
    for name, gradient in gradients_of(model).items():
        torch.testing.assert_close(twice[name], gradient + 1.0)


def test_cosines_can_be_measured_without_changing_equal_weights() -> None:
    model = made("mecds", double=False)
    Update(model, parse("equal", tasks=NAMES)).backward(losses_of(model))
    plain = gradients_of(model)
    model.zero_grad(set_to_none=True)
    facts = Update(model, parse("equal", tasks=NAMES)).backward(losses_of(model), cosines=True)
    found = gradients_of(model)
    assert [name for name in plain if plain[name] is None] == [name for name in found if found[name] is None]
    assert all(torch.equal(found[name], gradient) for name, gradient in plain.items() if gradient is not None)
    model.zero_grad(set_to_none=True)
    again = Update(model, parse("upgrad", tasks=NAMES)).backward(losses_of(model))
    torch.testing.assert_close(facts.cosines, again.cosines, rtol=1e-4, atol=1e-5)


def test_where_nothing_shared_learns_there_is_nothing_to_balance() -> None:
    model = made("abmil")
    for parameter in model.shared_parameters():
        parameter.requires_grad_(False)
    facts = Update(model, parse("pcgrad", tasks=NAMES)).backward(losses_of(model))
    assert facts.cosines is None
    assert all(parameter.grad is None for parameter in model.shared_parameters())
    assert all(parameter.grad is not None for task in NAMES for parameter in model.task_parameters(task))


def test_a_resumed_update_draws_the_same_orders() -> None:
    model = made("abmil")
    first = Update(model, parse("graddrop", tasks=NAMES), generator=seeded(4))
    first.backward(losses_of(model))
    state = first.state_dict()
    again = Update(model, parse("graddrop", tasks=NAMES), generator=seeded(77))
    again.load_state_dict(state)
    found = []
    for update in (first, again):
        model.zero_grad(set_to_none=True)
        update.backward(losses_of(model))
        found.append(gradients_of(model))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_torchs_own_chance_plays_no_part_in_surgery() -> None:
    """A known trainer drew the order of projections from a generator that nobody had seeded."""
    model = made("abmil")
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model.zero_grad(set_to_none=True)
        Update(model, parse("pcgrad", tasks=NAMES), generator=seeded(4)).backward(losses_of(model))
        found.append(gradients_of(model))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_a_module_that_shares_nothing_by_its_own_word_is_refused() -> None:
    with pytest.raises(TypeError, match=r"'equal\+pcgrad' needs a module.*found Linear"):
        Update(nn.Linear(2, 2), parse("pcgrad", tasks=NAMES))


def test_a_module_without_a_representation_is_refused_that_level() -> None:
    with pytest.raises(TypeError, match=r"MeanPool does not\. Set level to 'parameters'"):
        Update(made("mean_pool"), parse("pcgrad", tasks=NAMES), level="representation")


def test_a_step_without_losses_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one task; found none"):
        Update(made(), parse("equal", tasks=NAMES)).backward({})


PAPER_PAIRS = [f"{a}+{b}" for a in ("equal", "dwa", "uncert", "autol") for b in ("graddrop", "pcgrad", "cagrad")]


@pytest.mark.parametrize("name", sorted({*LOSSES.names(), *PAPER_PAIRS, *(f"equal+{b}" for b in GRADIENTS.names())}))
def test_every_method_trains_a_small_cohort(name: str) -> None:
    model = made("abmil", options={"width": 8, "attention_width": 4, "dropout": 0.0}).train()
    update = Update(model, parse(name, tasks=NAMES), generator=seeded(0))
    optimizer = torch.optim.AdamW([*model.parameters(), *update.own_parameters()], lr=0.03, weight_decay=0.0)
    start = {task: loss.item() for task, loss in losses_of(model).items()}
    for _ in range(7):
        if update.balancer.losses.needs_virtual_step:
            update.virtual_step(
                train=lambda: losses_of(model), validation=lambda: losses_of(model, bags=1), learning_rate=0.03
            )
        optimizer.zero_grad(set_to_none=True)
        facts = update.backward(losses_of(model))
        optimizer.step()
        after = None
        if update.balancer.losses.needs_losses_after_step:
            with torch.no_grad():
                after = {task: loss.item() for task, loss in losses_of(model).items()}
        update.balancer.losses.step_ended(facts.losses, after)
        update.balancer.losses.epoch_ended(facts.losses)
    assert all(loss.item() < 0.9 * start[task] for task, loss in losses_of(model).items())


@pytest.mark.parametrize("level", ["parameters", "representation"])
def test_a_tile_encoder_with_heads_is_balanced_like_an_aggregator(level: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 6), nn.Tanh())
    model = MultiHead(network, features=6, tasks=TASKS).double().eval()
    tiles = torch.randn(7, 5, dtype=torch.float64, generator=seeded(1))

    def losses() -> dict[str, Tensor]:
        return {name: answer.square().mean() for name, answer in model.answer(model.network(tiles)).items()}

    torch.stack(list(losses().values())).mean().backward()
    expected = gradients_of(model)
    model.zero_grad(set_to_none=True)
    update = Update(model, Balancer(Equal(NAMES), PlainSum(), name="sum"), level=level)
    with update.recording():
        recorded = losses()
    update.backward(recorded)
    for name, gradient in gradients_of(model).items():
        torch.testing.assert_close(gradient, expected[name])


def test_an_extension_learns_below_the_representation_where_nothing_shared_does() -> None:
    model = made("mecds", double=True).extended(Regression(name="age"), generator=seeded(5))
    bag = torch.randn(9, FEATURES, dtype=torch.float64, generator=seeded(1))

    def losses() -> dict[str, Tensor]:
        return {"age": model(bag).tasks["age"].logits.square().mean()}

    Update(model, parse("equal", tasks=["age"])).backward(losses())
    expected = gradients_of(model)
    model.zero_grad(set_to_none=True)
    update = Update(model, parse("upgrad", tasks=["age"]), level="representation")
    with update.recording():
        recorded = losses()
    update.backward(recorded)
    found = gradients_of(model)
    assert sum(gradient is not None for gradient in expected.values()) > 5
    for name, gradient in expected.items():
        assert (found[name] is None) == (gradient is None), name
        if gradient is not None:
            torch.testing.assert_close(found[name], gradient)
