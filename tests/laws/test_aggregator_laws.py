"""Laws that every aggregator obeys; a new file in the folder is tested when it appears."""

import pytest
import torch

from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.nn.outputs import auxiliary_losses
from napari_mtlpath.plugins import PluginFolder
from napari_mtlpath.tasks import Classification, Regression, Task
from napari_mtlpath.training.losses.supervised import task_loss

FOLDER = PluginFolder("napari_mtlpath.nn.aggregators", contract=Aggregator, noun="aggregator")
FEATURES = 24
TASKS: tuple[Task, ...] = (
    Classification(name="witness"),
    Classification(name="grade", classes=("low", "middle", "high")),
    Regression(name="share"),
)

pytestmark = pytest.mark.parametrize("name", FOLDER.names())


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built(name: str, *, seed: int = 0, tasks: tuple[Task, ...] = TASKS) -> Aggregator:
    return FOLDER.load(name).build(tasks=tasks, features=FEATURES, options={}, generator=seeded(seed)).eval()


def bag_of(tiles: int, *, seed: int = 1) -> torch.Tensor:
    return torch.randn(tiles, FEATURES, generator=seeded(seed))


def test_tasks_come_in_the_models_order_with_their_outputs(name: str) -> None:
    output = built(name)(bag_of(7))
    assert list(output.tasks) == [task.name for task in TASKS]
    assert [len(answer.logits) for answer in output.tasks.values()] == [task.outputs for task in TASKS]


def test_order_of_tiles_changes_nothing_but_the_order_of_maps(name: str) -> None:
    model, bag = built(name), bag_of(41)
    coordinates = torch.randn(41, 2, generator=seeded(2))
    order = torch.randperm(41, generator=seeded(3))
    with torch.inference_mode():
        plain = model(bag, coordinates, explain=True)
        shuffled = model(bag[order], coordinates[order], explain=True)
    for task in plain.tasks:
        before, after = plain.tasks[task], shuffled.tasks[task]
        torch.testing.assert_close(after.logits, before.logits, atol=1e-5, rtol=1e-5)
        for kind in ("routing", "attention", "tile_logits"):
            expected = getattr(before, kind)
            if expected is None:
                assert getattr(after, kind) is None
            else:
                torch.testing.assert_close(getattr(after, kind), expected[order], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tiles", [1, 2, 37])
def test_every_map_has_one_finite_value_per_tile(name: str, tiles: int) -> None:
    with torch.inference_mode():
        output = built(name)(bag_of(tiles), explain=True)
    for task, answer in zip(TASKS, output.tasks.values(), strict=True):
        for kind in ("routing", "attention", "selected"):
            values = getattr(answer, kind)
            assert values is None or values.shape == (tiles,)
        for kind in ("routing", "attention"):
            values = getattr(answer, kind)
            if values is not None:
                assert values.min() >= 0.0
                torch.testing.assert_close(values.sum(), torch.tensor(1.0))
        if answer.tile_logits is not None:
            assert answer.tile_logits.shape == (tiles, task.outputs)
            assert answer.tile_logits.isfinite().all()


def test_a_bag_of_one_tile_answers_as_its_tile(name: str) -> None:
    # A MECDS that also trains without its token answers tiles without it; then the bag's answer has one part more.
    options = {"token_dropout": 0.0} if "token_dropout" in built(name).options else {}
    model = FOLDER.load(name).build(tasks=TASKS, features=FEATURES, options=options, generator=seeded(0)).eval()
    with torch.inference_mode():
        output = model(bag_of(1), explain=True)
    for answer in output.tasks.values():
        assert answer.logits.isfinite().all()
        if answer.tile_logits is not None:
            torch.testing.assert_close(answer.tile_logits[0], answer.logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("scale", [0.0, 1e-6, 1e6])
def test_answers_and_gradients_are_finite_for_any_scale_of_features(name: str, scale: float) -> None:
    model = built(name)
    output = model(scale * bag_of(9), explain=True)
    torch.cat([answer.logits for answer in output.tasks.values()]).square().mean().backward()
    assert all(answer.logits.isfinite().all() for answer in output.tasks.values())
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_an_empty_bag_is_refused_in_words(name: str) -> None:
    with pytest.raises(ValueError, match="at least one tile"):
        built(name)(bag_of(0))


def test_features_of_another_encoder_are_refused_in_words(name: str) -> None:
    with pytest.raises(ValueError, match=f"reads {FEATURES} features per tile; found 5"):
        built(name)(torch.zeros(3, 5))


def isolated(name: str) -> Aggregator:
    kind = FOLDER.load(name)
    if kind.isolating is None:
        pytest.skip(f"{name} does not claim that tasks leave each other alone")
    return kind.build(tasks=TASKS, features=FEATURES, options=kind.isolating, generator=seeded(0)).eval()


def test_a_tasks_loss_gives_other_tasks_private_parameters_no_gradient_where_claimed(name: str) -> None:
    model = isolated(name)
    model(bag_of(13)).tasks["witness"].logits.sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.task_parameters("witness"))
    for other in ("grade", "share"):
        assert all(p.grad is None or not p.grad.any() for p in model.task_parameters(other))


def test_another_tasks_private_parameters_change_no_bit_of_an_answer_where_claimed(name: str) -> None:
    model, bag = isolated(name), bag_of(13)
    with torch.inference_mode():
        before = model(bag).tasks
        for parameter in model.task_parameters("grade"):
            parameter += torch.randn(parameter.shape, generator=seeded(5))
        after = model(bag).tasks
    assert [torch.equal(before[task.name].logits, after[task.name].logits) for task in TASKS] == [True, False, True]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_model_of_one_task_of_any_kind_learns(name: str, task: Task) -> None:
    small = {"width": 24, "heads": 4, "landmarks": 8, "attention_width": 8, "query_width": 8}
    kind = FOLDER.load(name)
    known = kind.build(tasks=(task,), features=FEATURES, options={}).options
    options = {key: value for key, value in small.items() if key in known}
    model = kind.build(tasks=(task,), features=FEATURES, options=options, generator=seeded(0))
    bags = [bag_of(12, seed=seed) + 2.0 * (seed % 2) for seed in range(4)]
    labels = torch.tensor([[float(seed % 2)] for seed in range(4)])

    def loss() -> torch.Tensor:
        outputs = [model(bag) for bag in bags]
        own = [
            criterion(output.tasks[task.name].logits, label[0]) for output, label in zip(outputs, labels, strict=True)
        ]
        more = auxiliary_losses(outputs, labels, {task.name: criterion})
        return torch.stack(own).mean() + sum(more.values())

    def criterion(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return task_loss(task, logits[None], label[None])

    optimiser = torch.optim.Adam(model.train().parameters(), lr=0.003)
    torch.manual_seed(0)  # dropout
    for _ in range(10):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    model.eval()
    with torch.inference_mode():
        fresh = kind.build(tasks=(task,), features=FEATURES, options=options, generator=seeded(0)).eval()
        learned = loss()
        model = fresh
        assert learned < loss()


def test_an_auxiliary_loss_comes_in_training_only_and_adds_gradients_for_its_task_alone(name: str) -> None:
    model, bag = built(name), bag_of(20)
    assert all(answer.auxiliary is None for answer in model(bag).tasks.values())
    labels = torch.tensor([[1.0, 2.0, float("nan")]])
    criteria = {task.name: lambda logits, label: (logits - label).square().sum() for task in TASKS}
    losses = auxiliary_losses([model.train()(bag)], labels, criteria)
    assert "share" not in losses  # its label is not known
    for task, loss in losses.items():
        model.zero_grad(set_to_none=True)
        loss.backward(retain_graph=True)
        assert loss.isfinite()
        assert any(p.grad is not None and p.grad.any() for p in model.task_parameters(task))
        for other in {"witness", "grade"} - {task}:
            assert all(p.grad is None or not p.grad.any() for p in model.task_parameters(other))


def test_private_and_shared_parameters_are_all_parameters_once(name: str) -> None:
    model = built(name)
    parts = [model.shared_parameters(), *(model.task_parameters(task.name) for task in TASKS)]
    identities = [id(parameter) for part in parts for parameter in part]
    assert len(identities) == len(set(identities))
    assert set(identities) == {id(parameter) for parameter in model.parameters()}


def test_an_unknown_task_is_answered_with_the_nearest_name(name: str) -> None:
    with pytest.raises(ValueError, match="Did you mean 'witness'"):
        built(name).task_parameters("witnes")


def test_options_and_state_make_the_same_model_again(name: str) -> None:
    model, bag = built(name, seed=0), bag_of(11)
    again = FOLDER.load(name).build(tasks=TASKS, features=FEATURES, options=model.options, generator=seeded(9)).eval()
    again.load_state_dict(model.state_dict(), strict=True)
    with torch.inference_mode():
        for before, after in zip(model(bag).tasks.values(), again(bag).tasks.values(), strict=True):
            assert torch.equal(before.logits, after.logits)


def test_options_are_plain_values_that_a_card_can_hold(name: str) -> None:
    assert all(type(value) in (int, float, str, bool, dict) for value in built(name).options.values())


def test_an_unknown_option_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ValueError, match=r"no option 'widht'.*Known:"):
        FOLDER.load(name).build(tasks=TASKS, features=FEATURES, options={"widht": 3})


def test_a_mistyped_option_is_answered_with_the_nearest(name: str) -> None:
    for option in built(name).options:
        with pytest.raises(ValueError, match=f"Did you mean '{option}'"):
            FOLDER.load(name).build(tasks=TASKS, features=FEATURES, options={option + "x": 1})


def test_two_tasks_of_one_name_or_none_are_refused(name: str) -> None:
    for tasks in ((), (TASKS[0], TASKS[0])):
        with pytest.raises(ValueError, match="name of its own"):
            built(name, tasks=tasks)


def test_the_same_seed_starts_the_same_and_another_does_not(name: str) -> None:
    first, same, other = (built(name, seed=seed).state_dict() for seed in (4, 4, 5))
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_building_from_a_generator_leaves_the_global_one_alone(name: str) -> None:
    before = torch.random.get_rng_state()
    built(name, seed=8)
    assert torch.equal(torch.random.get_rng_state(), before)
