"""Adding and training a task leaves the old tasks' answers identical, bit by bit."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from napari_mtlpath.nn.aggregators.mecds import MECDS
from napari_mtlpath.nn.fingerprint import state_hash
from napari_mtlpath.tasks import Classification

FEATURES = 16
BAGS = [torch.randn(tiles, FEATURES, generator=torch.Generator().manual_seed(tiles)) for tiles in (1, 37, 150)]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def task(index: int) -> Classification:
    return Classification(name=f"task {index}")


def built(count: int, **options: object) -> MECDS:
    small = {"width": 32, "heads": 4, "dropout": 0.2, **options}
    tasks = [task(index) for index in range(count)]
    return MECDS.build(tasks=tasks, features=FEATURES, options=small, generator=seeded(0)).eval()


def answers(model: MECDS, count: int) -> list[Tensor]:
    with torch.inference_mode():
        outputs = [model(bag, explain=True) for bag in BAGS]
    return [
        value
        for output in outputs
        for answer in list(output.tasks.values())[:count]
        for value in (answer.logits, answer.embedding, answer.routing, answer.attention, answer.tile_logits)
    ]


def taught(model: MECDS, *, steps: int = 4) -> MECDS:
    """Train the last task with weight decay, everything offered to the optimiser, in training mode."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.1)
    model.train()
    torch.manual_seed(0)
    before = [parameter.detach().clone() for parameter in model.task_parameters(model.tasks[-1].name)]
    for step in range(steps):
        optimiser.zero_grad()
        bag = BAGS[1 + step % 2]
        output = model(bag)
        # A careless loss that also asks the old tasks: they are frozen, so it changes nothing.
        loss = sum(answer.logits.sub(1.0).square().sum() for answer in output.tasks.values())
        loss.backward()
        optimiser.step()
    changed = [not torch.equal(a, b) for a, b in zip(before, model.task_parameters(model.tasks[-1].name), strict=True)]
    assert sum(changed) > len(changed) // 2
    return model.eval()


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def check_old_answers_stay(old: int, new: int, **options: object) -> None:
    model = built(old, **options)
    before = answers(model, old)
    for index in range(old, new):
        model = taught(model.extended(task(index), generator=seeded(index)))
    assert [t.name for t in model.tasks] == [f"task {index}" for index in range(new)]
    assert all(torch.equal(a, b) for a, b in zip(before, answers(model, old), strict=True))


@pytest.mark.parametrize(("old", "new"), [(3, 4), (3, 5), (5, 6)])
@pytest.mark.parametrize("mixing", ["full", "landmark", "none"])
def test_old_answers_stay_the_same_bits_when_tasks_are_added_and_trained(old: int, new: int, mixing: str) -> None:
    check_old_answers_stay(old, new, mixing=mixing)


@pytest.mark.parametrize(("old", "new"), [(3, 4), (3, 5), (5, 6)])
def test_old_answers_stay_the_same_bits_on_two_threads(old: int, new: int, two_threads: None) -> None:
    check_old_answers_stay(old, new)


@pytest.mark.parametrize(
    "options", [{"expert_mixing": "full"}, {"combine": "sum"}, {"blocks": 3}, {"streams": "private"}]
)
def test_old_answers_stay_the_same_bits_in_every_architecture(options: dict[str, object]) -> None:
    model = built(3, **options)
    before = answers(model, 3)
    longer = taught(model.extended(task(3), generator=seeded(3)), steps=3)
    assert all(torch.equal(a, b) for a, b in zip(before, answers(longer, 3), strict=True))


def test_a_second_new_task_leaves_the_first_new_one_the_same_bits() -> None:
    model = taught(built(2).extended(task(2), generator=seeded(2)), steps=3)
    before = answers(model, 3)
    longer = taught(model.extended(task(3), generator=seeded(3)), steps=3)
    assert all(torch.equal(a, b) for a, b in zip(before, answers(longer, 3), strict=True))


def test_the_published_extension_moves_old_answers_from_the_second_block_on() -> None:
    model = built(3)
    before = answers(model, 3)
    shared = model.extended(task(3), extension="shared", generator=seeded(3))
    assert not all(torch.equal(a, b) for a, b in zip(before, answers(shared, 3), strict=True))
    one_block = built(3, blocks=1)
    before = answers(one_block, 3)
    shared = one_block.extended(task(3), extension="shared", generator=seeded(3))
    assert all(torch.equal(a, b) for a, b in zip(before, answers(shared, 3), strict=True))


def test_only_the_new_tasks_parameters_change_and_the_hash_proves_it() -> None:
    model = built(3)
    old = [t.name for t in model.tasks]
    before = state_hash(model, old)
    longer = taught(model.extended(task(3), generator=seeded(3)), steps=3)
    assert state_hash(longer, old) == before
    with torch.no_grad():
        longer.task_parameters("task 1")[0][0, 0] += 1e-6
    assert state_hash(longer, old) != before


def test_a_trunk_that_moved_changes_the_hash() -> None:
    model = built(3)
    before = state_hash(model, ["task 0"])
    with torch.no_grad():
        model.projection.weight[0, 0] += 1e-6
    assert state_hash(model, ["task 0"]) != before


def test_the_hash_refuses_a_task_that_the_model_does_not_have() -> None:
    with pytest.raises(ValueError, match="has no task 'task 9'"):
        state_hash(built(2), ["task 9"])


def test_frozen_parts_take_no_gradient_and_stay_in_evaluation_when_the_model_trains() -> None:
    model = built(3).extended(task(3), generator=seeded(3))
    model.train()
    new = {id(parameter) for parameter in model.task_parameters("task 3")}
    assert all(parameter.requires_grad == (id(parameter) in new) for parameter in model.parameters())
    assert model.training
    assert all(module.training for module in model.branches[3].modules())
    assert not any(module.training for branch in model.branches[:3] for module in branch.modules())
    assert not any(module.training for module in model.blocks.modules())
    model(BAGS[1]).tasks["task 3"].logits.sum().backward()
    assert all(parameter.grad is None for parameter in model.parameters() if id(parameter) not in new)


def test_extending_leaves_the_original_model_as_it_was() -> None:
    model = built(3)
    before, state = answers(model, 3), {key: value.clone() for key, value in model.state_dict().items()}
    taught(model.extended(task(3), generator=seeded(3)), steps=2)
    assert len(model.tasks) == len(model.branches) == 3
    assert model.options["extensions"] == {}
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert all(torch.equal(a, b) for a, b in zip(before, answers(model, 3), strict=True))


def test_a_saved_extended_model_loads_again_from_its_options_and_weights(tmp_path: Path) -> None:
    model = taught(built(3).extended(task(3), generator=seeded(3)), steps=2)
    model = taught(model.extended(task(4), extension="shared", generator=seeded(4)), steps=2)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    again = MECDS.build(tasks=model.tasks, features=FEATURES, options=model.options)
    again.load_state_dict(load_file(tmp_path / "model.safetensors"), strict=True)
    assert model.options["extensions"] == {"task 3": "isolated", "task 4": "shared"}
    assert all(torch.equal(a, b) for a, b in zip(answers(model, 5), answers(again.eval(), 5), strict=True))
    assert [p.requires_grad for p in again.parameters()] == [p.requires_grad for p in model.parameters()]


def test_the_same_generator_starts_the_new_task_the_same() -> None:
    first, same, other = (built(2).extended(task(2), generator=seeded(seed)) for seed in (1, 1, 2))
    assert state_hash(first, ["task 2"]) == state_hash(same, ["task 2"])
    assert state_hash(first, ["task 2"]) != state_hash(other, ["task 2"])


def test_a_name_that_is_taken_and_an_unknown_extension_are_refused() -> None:
    with pytest.raises(ValueError, match="already has a task 'task 1'"):
        built(2).extended(task(1))
    with pytest.raises(ValueError, match="Did you mean 'shared'"):
        built(2).extended(task(2), extension="share")
