"""Bags with planted tiles: from one label per bag the routers learn which tiles carry it."""

import pytest
import torch
from shape_checks import without_shape_checks
from torch import Tensor
from torch.nn import functional

from napari_mtlpath.nn.aggregators.mecds import MECDS
from napari_mtlpath.tasks import Classification

FEATURES, TILES, PLANTED = 12, 100, 2
TASKS = (Classification(name="first"), Classification(name="second"))


def planted_bags(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return bags, labels [bag, task] and where each task's tiles lie [bag, task, tile]: 2 % of a positive bag."""
    bags = torch.randn(count, TILES, FEATURES, generator=generator)
    labels = torch.randint(0, 2, (count, len(TASKS)), generator=generator)
    truth = torch.zeros(count, len(TASKS), TILES, dtype=torch.bool)
    for bag, label, where in zip(bags, labels, truth, strict=True):
        order = torch.randperm(TILES, generator=generator)
        for task in range(len(TASKS)):
            if label[task]:
                tiles = order[task * PLANTED : (task + 1) * PLANTED]
                bag[tiles, task] += 8.0
                where[task, tiles] = True
    return bags, labels.float(), truth


@pytest.fixture(scope="module")
def trained() -> MECDS:
    generator = torch.Generator().manual_seed(0)
    options = {"width": 32, "heads": 4, "blocks": 1, "feedforward": 2, "mixing": "none", "dropout": 0.0}
    model = MECDS.build(tasks=TASKS, features=FEATURES, options=options, generator=generator).train()
    bags, labels, _ = planted_bags(100, generator)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, total_steps=14 * 20)
    torch.manual_seed(0)
    with without_shape_checks():  # the tests below check them
        for _ in range(14):
            for batch in torch.randperm(len(bags), generator=generator).split(5):
                optimiser.zero_grad()
                for index in batch.tolist():
                    answers = torch.cat([answer.logits for answer in model(bags[index]).tasks.values()])
                    (functional.binary_cross_entropy_with_logits(answers, labels[index]) / len(batch)).backward()
                optimiser.step()
                schedule.step()
    return model.eval()


@pytest.fixture(scope="module")
def unseen() -> tuple[Tensor, Tensor, Tensor]:
    return planted_bags(60, torch.Generator().manual_seed(1))


def test_slide_labels_are_learned(trained: MECDS, unseen: tuple[Tensor, Tensor, Tensor]) -> None:
    bags, labels, _ = unseen
    with torch.inference_mode():
        said = torch.stack([torch.cat([a.logits for a in trained(bag).tasks.values()]) for bag in bags])
    assert ((said > 0) == labels.bool()).float().mean() > 0.9


def test_routers_choose_their_own_tasks_tiles_far_beyond_chance(
    trained: MECDS, unseen: tuple[Tensor, Tensor, Tensor]
) -> None:
    bags, labels, truth = unseen
    for task, known in enumerate(TASKS):
        positive = labels[:, task].bool()
        with torch.inference_mode():
            chosen = torch.stack([trained(bag).tasks[known.name].selected for bag in bags[positive]])
        hits = (chosen & truth[positive, task]).sum()
        enrichment = (hits / chosen.sum()) / (PLANTED / TILES)
        assert enrichment > 5.0
        assert hits / truth[positive, task].sum() > 0.6


def test_an_untrained_router_is_near_chance(unseen: tuple[Tensor, Tensor, Tensor]) -> None:
    # So that the test above measures what was learned, not how the planted tiles look.
    bags, labels, truth = unseen
    positive = labels[:, 0].bool()
    options = {"width": 32, "heads": 4, "blocks": 1, "mixing": "none"}
    hits = chosen = 0
    for seed in range(5):
        fresh = MECDS.build(
            tasks=TASKS, features=FEATURES, options=options, generator=torch.Generator().manual_seed(seed)
        ).eval()
        with torch.inference_mode():
            selected = torch.stack([fresh(bag).tasks["first"].selected for bag in bags[positive]])
        hits += int((selected & truth[positive, 0]).sum())
        chosen += int(selected.sum())
    assert (hits / chosen) / (PLANTED / TILES) < 2.5


def test_tile_logits_rank_the_planted_tiles_first(trained: MECDS, unseen: tuple[Tensor, Tensor, Tensor]) -> None:
    bags, labels, truth = unseen
    positive = labels[:, 0].bool()
    with torch.inference_mode():
        logits = torch.stack([trained(bag, explain=True).tasks["first"].tile_logits[:, 0] for bag in bags[positive]])
    first = logits.topk(PLANTED, dim=1).indices
    assert truth[positive, 0].gather(1, first).float().mean() > 0.6
