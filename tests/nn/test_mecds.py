"""MECDS: tasks do not disturb each other, routers learn, and maps mean what they say."""

import pytest
import torch
from torch import Tensor

from napari_mtlpath.nn.aggregators.mecds import MECDS
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


@pytest.mark.parametrize("mixing", ["full", "landmark", "none"])
@pytest.mark.parametrize("options", [{"blocks": 1}, {"blocks": 3, "streams": "private"}])
def test_changing_one_task_leaves_the_others_answers_the_same_bits(mixing: str, options: dict[str, object]) -> None:
    model, bag = built(mixing=mixing, **options), bag_of(60)
    before = logits(model, bag)
    perturb(model, "task 1")
    after = logits(model, bag)
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [True, False, True]


@pytest.mark.parametrize("expert_mixing", ["mlp", "token"])
def test_a_token_alone_never_reaches_another_task_even_through_shared_tiles(expert_mixing: str) -> None:
    model, bag = built(blocks=3, expert_mixing=expert_mixing), bag_of(60)
    before = logits(model, bag)
    with torch.no_grad():
        model.task_parameters("task 1")[0] += 1.0  # the token
    after = logits(model, bag)
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [True, False, True]


def test_with_a_shared_stream_experts_do_change_what_others_read_in_the_next_block() -> None:
    # Not a wish but a fact of the published model, on which extension="isolated" rests.
    model, bag = built(blocks=2), bag_of(60)
    before = logits(model, bag)
    perturb(model, "task 1")
    assert not torch.equal(logits(model, bag)[0], before[0])


@pytest.mark.parametrize(("options", "zero"), [({"blocks": 1}, True), ({"streams": "private"}, True), ({}, False)])
def test_a_tasks_loss_has_no_gradient_for_the_others_unless_they_share_a_stream(
    options: dict[str, object], zero: bool
) -> None:
    model = built(**options)
    model(bag_of(40)).tasks["task 0"].logits.sum().backward()
    others = [p.grad for name in ("task 1", "task 2") for p in model.task_parameters(name)]
    assert all(gradient is None or not gradient.any() for gradient in others) == zero


@pytest.mark.parametrize("expert_mixing", ["mlp", "token", "full"])
@pytest.mark.parametrize("router_grad", ["weighted", "st"])
def test_every_router_gets_a_gradient_of_weight(expert_mixing: str, router_grad: str) -> None:
    model = built(expert_mixing=expert_mixing, router_grad=router_grad, streams="private")
    model(bag_of(50)).tasks["task 0"].logits.sum().backward()
    experts = dict(model.branches[0].experts.named_parameters())
    scale = torch.stack([p.grad.norm() for p in experts.values() if p.grad is not None]).median()
    for router in model.branches[0].routers:
        # Far above rounding: features scaled before a layer norm would leave a gradient of its epsilon only.
        assert max(p.grad.norm() for p in router.parameters() if p.grad is not None) > 1e-3 * scale


def test_the_printed_router_gets_no_gradient() -> None:
    model = built(router_grad="none")
    model(bag_of(50)).tasks["task 0"].logits.sum().backward()
    assert all(p.grad is None for p in model.branches[0].routers.parameters())


def test_other_bags_beside_it_change_nothing_because_bags_are_never_padded() -> None:
    """Padding invariance, the way it can be asked here.

    A batch of padded bags would need a key-padding mask, which costs flash attention; the model takes one bag at a time
    instead and offers no padding. What padding invariance is for, that a bag's answer does not depend on the length of
    its neighbours in a batch, is asked directly: the same bag, alone and after longer and shorter ones, gives the same
    bits. And a tile that is really there, even one of zeros, does count.
    """
    model, bag = built(), bag_of(30)
    alone = logits(model, bag)
    for neighbour in (bag_of(300, seed=2), bag_of(1, seed=3)):
        logits(model, neighbour)
        assert all(torch.equal(a, b) for a, b in zip(alone, logits(model, bag), strict=True))
    padded = torch.cat([bag, torch.zeros(20, FEATURES)])
    assert not torch.allclose(logits(model, padded)[0], alone[0], atol=1e-4)


@pytest.mark.parametrize("mixing", ["full", "landmark", "none"])
@pytest.mark.parametrize("expert_mixing", ["mlp", "token", "full"])
@pytest.mark.parametrize("combine", ["residual", "sum"])
@pytest.mark.parametrize("streams", ["shared", "private"])
def test_order_of_tiles_changes_no_answer_and_maps_follow_it(
    mixing: str, expert_mixing: str, combine: str, streams: str
) -> None:
    model = built(mixing=mixing, expert_mixing=expert_mixing, combine=combine, streams=streams)
    bag, order = bag_of(50), torch.randperm(50, generator=seeded(4))
    with torch.inference_mode():
        plain, shuffled = model(bag), model(bag[order])
    for before, after in zip(plain.tasks.values(), shuffled.tasks.values(), strict=True):
        torch.testing.assert_close(after.logits, before.logits, atol=1e-4, rtol=1e-4)
        assert before.routing is not None
        torch.testing.assert_close(after.routing, before.routing[order], atol=1e-5, rtol=1e-4)


def test_the_chosen_block_is_the_one_shown() -> None:
    model, bag = built(blocks=3), bag_of(25)
    with torch.inference_mode():
        maps = [model(bag, explain=True, block=block).tasks["task 0"] for block in (0, 1, 2, -1)]
        first = torch.softmax(model.branches[0].routers[0].layers(self_mixed(model, bag)).squeeze(1), dim=0)
    assert not torch.equal(maps[0].routing, maps[1].routing)
    assert not torch.equal(maps[0].attention, maps[1].attention)
    assert torch.equal(maps[2].routing, maps[3].routing)
    assert torch.equal(maps[2].attention, maps[3].attention)
    assert torch.equal(maps[0].logits, maps[3].logits)
    torch.testing.assert_close(maps[0].routing, first)


def self_mixed(model: MECDS, bag: Tensor) -> Tensor:
    return model.blocks[0](model.projection(bag), []).tiles


def test_a_block_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="2 blocks"):
        built(blocks=2)(bag_of(3), block=2)


def test_unchosen_tiles_stay_with_the_residual_and_vanish_with_the_printed_sum() -> None:
    bag = bag_of(40)
    for combine in ("residual", "sum"):
        model = built(count=1, combine=combine, mixing="none")
        entered: list[Tensor] = []
        model.blocks[1].register_forward_pre_hook(lambda _, args, seen=entered: seen.append(args[0]))
        with torch.inference_mode():
            selected = model(bag, block=0).tasks["task 0"].selected
            trunk = self_mixed(model, bag)
        assert selected is not None
        expected = trunk[~selected] if combine == "residual" else torch.zeros_like(trunk[~selected])
        assert torch.equal(entered[0][~selected], expected)
        assert not torch.allclose(entered[0][selected], trunk[selected], atol=1e-3)


@pytest.mark.parametrize("expert_mixing", ["mlp", "token", "full"])
def test_tile_logits_are_the_answers_of_the_last_expert_to_each_tile_alone(expert_mixing: str) -> None:
    model, bag = built(expert_mixing=expert_mixing, token_dropout=0.0), bag_of(12)
    branch = model.branches[0]
    caught: list[Tensor] = []
    branch.experts[-1].register_forward_pre_hook(lambda _, args: caught.append(args[0]))
    with torch.inference_mode():
        said = model(bag, explain=True).tasks["task 0"].tile_logits
        tiles = model.blocks[1](self_written(model, bag), []).tiles
        alone = [
            branch.head(branch.experts[-1](caught[0], tile, torch.zeros(1), write=False).token).logits
            for tile in tiles.split(1)
        ]
    torch.testing.assert_close(said, torch.cat(alone), atol=1e-5, rtol=1e-5)


def self_written(model: MECDS, bag: Tensor) -> Tensor:
    entered: list[Tensor] = []
    hook = model.blocks[1].register_forward_pre_hook(lambda _, args: entered.append(args[0]))
    model(bag)
    hook.remove()
    return entered[0]


def test_tile_logits_of_a_model_that_trains_without_its_token_do_not_depend_on_it() -> None:
    model, bag = built(blocks=1, mixing="none"), bag_of(12)
    with torch.inference_mode():
        before = model(bag, explain=True).tasks["task 0"]
        model.task_parameters("task 0")[0].add_(1.0)
        after = model(bag, explain=True).tasks["task 0"]
    assert torch.equal(before.tile_logits, after.tile_logits)
    assert not torch.equal(before.logits, after.logits)


@pytest.mark.parametrize("expert_mixing", ["mlp", "token", "full"])
def test_the_token_is_left_out_as_often_as_asked_and_never_in_evaluation(expert_mixing: str) -> None:
    options = {"blocks": 1, "dropout": 0.0, "token_dropout": 0.25, "expert_mixing": expert_mixing}
    model, bag = built(count=1, **options), bag_of(8)
    kept = logits(model, bag)[0]
    model.train()
    torch.manual_seed(0)
    answers = [logits(model, bag)[0] for _ in range(100)]
    share = sum(not torch.equal(answer, kept) for answer in answers) / len(answers)
    assert share == pytest.approx(0.25, abs=0.15)  # 3.5 standard deviations


@pytest.mark.parametrize("expert_mixing", ["mlp", "token", "full"])
def test_without_its_token_an_expert_passes_on_nothing_but_the_chosen_tiles(expert_mixing: str) -> None:
    model = built(count=1, blocks=1, token_dropout=0.99, expert_mixing=expert_mixing).train()
    expert, tile = model.branches[0].experts[0], torch.randn(1, 24, generator=seeded(2))
    torch.manual_seed(0)  # the first draw is 0.50: left out
    token = torch.randn(1, 24, generator=seeded(3), requires_grad=True)
    routed = expert(token, tile, torch.zeros(1), write=True)
    # With one tile even the query has no say.
    (routed.token.sum() + routed.tiles.sum()).backward()
    assert token.grad is None or not token.grad.any()
    assert all(p.grad.isfinite().all() for p in expert.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixing": "ful"}, "one of full, landmark, none; found 'ful'. Did you mean 'full'"),
        ({"width": 25}, "multiple of 'heads'"),
        ({"blocks": 0}, "'blocks' must be a whole number of at least 1"),
        ({"width": "wide"}, "'width' must be a number of type int"),
        ({"p": 1.0}, r"'p' must lie in \[0, 1\)"),
        ({"dropout": 1}, r"'dropout' must lie in \[0, 1\)"),
        ({"extensions": {"task 2": "isolatd"}}, "Did you mean 'isolated'"),
        ({"extensions": {"task 0": "isolated"}}, "last tasks in order"),
    ],
)
def test_impossible_options_are_refused_in_words(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        built(**options)
