"""MECDS without routing, and options of its table that nothing else asks about."""

import pytest
import torch
from torch import Tensor

from napari_mtlpath.nn.aggregators.mecds import MECDS
from napari_mtlpath.nn.expert import Expert
from napari_mtlpath.nn.routing import Router
from napari_mtlpath.tasks import Classification

FEATURES = 20
SMALL = {"width": 24, "heads": 4, "landmarks": 5}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built(count: int = 3, **options: object) -> MECDS:
    tasks = [Classification(name=f"task {index}") for index in range(count)]
    return MECDS.build(tasks=tasks, features=FEATURES, options={**SMALL, **options}, generator=seeded(0)).eval()


def bag_of(tiles: int, *, seed: int = 1) -> Tensor:
    return torch.randn(tiles, FEATURES, generator=seeded(seed))


def logits(model: MECDS, bag: Tensor) -> list[Tensor]:
    with torch.inference_mode():
        return [answer.logits for answer in model(bag).tasks.values()]


def perturb(model: MECDS, task: str) -> None:
    with torch.no_grad():
        for parameter in model.task_parameters(task):
            parameter += 0.3 * torch.randn(parameter.shape, generator=seeded(5))


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("streams", ["shared", "private"])
@pytest.mark.parametrize("combine", ["residual", "sum"])
def test_without_routing_the_trunk_and_the_heads_are_all_there_is(blocks: int, streams: str, combine: str) -> None:
    model, bag = built(routing="off", blocks=blocks, streams=streams, combine=combine), bag_of(30)
    assert not [part for part in model.modules() if isinstance(part, Router | Expert)]
    with torch.inference_mode():
        output = model(bag, explain=True)
        tiles, tokens = model.projection(bag), [branch.token for branch in model.branches]
        for block in model.blocks:
            mixed = block(tiles, tokens)
            tiles, tokens = mixed.tiles, mixed.tokens
        expected = [branch.head(token).logits[0] for branch, token in zip(model.branches, tokens, strict=True)]
    for answer, logit in zip(output.tasks.values(), expected, strict=True):
        assert torch.equal(answer.logits, logit)
        assert answer.attention is not None
        assert [answer.routing, answer.selected, answer.tile_logits] == [None, None, None]


def test_without_routing_no_task_changes_another_at_any_depth() -> None:
    model, bag = built(routing="off", blocks=3), bag_of(60)
    before = logits(model, bag)
    perturb(model, "task 1")
    same = [torch.equal(a, b) for a, b in zip(before, logits(model, bag), strict=True)]
    assert same == [True, False, True]


@pytest.mark.parametrize("extension", ["isolated", "shared"])
def test_a_model_without_routing_takes_new_tasks_and_keeps_its_answers(extension: str) -> None:
    model, bag = built(routing="off"), bag_of(40)
    before = logits(model, bag)
    more = model.extended(Classification(name="new"), extension=extension, generator=seeded(3))
    after = logits(more, bag)
    assert len(after) == 4
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=False))


def test_without_routing_every_parameter_learns() -> None:
    model = built(routing="off").train()
    output = model(bag_of(25))
    torch.cat([answer.logits for answer in output.tasks.values()]).square().sum().backward()
    without = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    # The last block's feed-forward network still serves the tokens; only its tiles go nowhere.
    assert without == set()


@pytest.mark.parametrize(("p", "fewest", "most"), [(0.0, 1, 1), (0.5, 1, 39), (0.99, 30, 40)])
def test_a_higher_threshold_selects_more_tiles(p: float, fewest: int, most: int) -> None:
    with torch.inference_mode():
        selected = built(count=1, p=p)(bag_of(40)).tasks["task 0"].selected
    assert fewest <= int(selected.sum()) <= most


@pytest.mark.parametrize(("option", "value"), [("feedforward", 2), ("heads", 2), ("width", 48), ("blocks", 3)])
def test_sizes_change_the_network_as_they_say(option: str, value: int) -> None:
    def count(model: MECDS) -> int:
        return sum(parameter.numel() for parameter in model.parameters())

    plain, changed = built(), built(**{option: value})
    assert changed.options[option] == value
    if option == "heads":  # split otherwise, as large as before
        assert count(changed) == count(plain)
        assert not torch.allclose(logits(changed, bag_of(9))[0], logits(plain, bag_of(9))[0])
    else:
        assert (count(changed) > count(plain)) == (value > plain.options[option])


def test_dropout_acts_in_training_only() -> None:
    bag = bag_of(20)
    for dropout, same in ((0.0, True), (0.4, False)):
        model = built(dropout=dropout, token_dropout=0.0)
        with torch.no_grad():
            answers = [model.train()(bag).tasks["task 0"].logits for _ in range(2)]
        assert torch.equal(*answers) == same
        assert torch.equal(*[logits(model.eval(), bag)[0] for _ in range(2)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"routing": "of"}, "one of top_p, off; found 'of'. Did you mean 'off'"),
        ({"router_grad": "straight"}, "one of weighted, st, none"),
        ({"combine": "residul"}, "Did you mean 'residual'"),
        ({"expert_mixing": "mpl"}, "one of mlp, token, full"),
        ({"streams": "privat"}, "Did you mean 'private'"),
    ],
)
def test_mistyped_choices_are_refused_in_words(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        built(**options)
