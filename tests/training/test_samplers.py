"""Balanced draws, parts of bags, class weights and scaled targets."""

import pytest
import torch

from napari_mtlpath.tasks import Classification, Regression
from napari_mtlpath.training.bags.bag_sampling import thinned
from napari_mtlpath.training.bags.bags import Bag
from napari_mtlpath.training.bags.samplers import draw_all, draw_balanced, epoch_length, masked, rows_of_epoch
from napari_mtlpath.training.bags.target_scaling import TargetScaling
from napari_mtlpath.training.config.systems import SamplingTable
from napari_mtlpath.training.losses.supervised import balanced_weights, task_loss
from napari_mtlpath.zoo.aggregators import AGGREGATORS

SMALL = {
    "mecds": {"width": 8, "heads": 2, "blocks": 1},
    "abmil": {"width": 8, "attention_width": 4},
    "joint_transformer": {"width": 8, "heads": 2},
    "transmil": {"width": 8, "heads": 2, "landmarks": 2},
    "dsmil": {"width": 8, "query_width": 4},
    "clam_sb": {"width": 8, "attention_width": 4},
}

RARE = Classification(name="rare")
COMMON = Classification(name="common")
SCORE = Regression(name="score", low=100.0, high=200.0)
TASKS = (RARE, COMMON, SCORE)


def labels(samples: int = 100) -> torch.Tensor:
    """The first task has 4 positives and unknown labels, the second is even, the third known for every third."""
    number = torch.arange(samples)
    rare = (number < 4).float()
    rare[number % 5 == 4] = torch.nan
    score = torch.where(number % 3 == 0, 100.0 + number, torch.nan)
    return torch.stack([rare, (number % 2).float(), score], dim=1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_class_of_every_task_is_as_frequent_as_any_other():
    given = labels()
    draw = draw_balanced(TASKS, given, seeded())
    rows = torch.tensor(draw.samples)
    assert len(set(draw.samples)) == len(draw.samples)
    for column in (0, 1):
        drawn = given[rows[draw.counts_for[:, column]], column]
        assert not drawn.isnan().any()
        assert int((drawn == 0).sum()) == int((drawn == 1).sum())
    assert int(draw.counts_for[:, 0].sum()) == 8
    assert int(draw.counts_for[:, 1].sum()) == 100


def test_a_sample_counts_only_for_the_tasks_it_was_drawn_for():
    draw = draw_balanced(TASKS, labels(), seeded())
    only_common = ~draw.counts_for[:, 0] & draw.counts_for[:, 1]
    assert bool(only_common.any())
    row = int(torch.nonzero(only_common)[0])
    kept = masked(labels()[draw.samples[row]], draw.counts_for[row])
    assert bool(kept[0].isnan())
    assert not bool(kept[1].isnan())


def test_regressions_count_wherever_a_drawn_sample_has_a_label():
    given = labels()
    draw = draw_balanced((RARE, SCORE), given[:, [0, 2]], seeded())
    assert torch.equal(draw.counts_for[:, 1], ~given[list(draw.samples), 2].isnan())
    alone = draw_balanced((SCORE,), given[:, [2]], seeded())
    assert len(alone.samples) == int((~given[:, 2].isnan()).sum())


def test_draws_differ_and_go_on_without_an_end():
    given = labels()
    length = epoch_length((RARE,), given[:, [0]], balanced=True)
    assert length == 8
    rows = rows_of_epoch((RARE,), given[:, [0]], seeded(), balanced=True)
    first, second = ([next(rows)[0] for _ in range(length)] for _ in range(2))
    assert {0, 1, 2, 3} < set(first)
    assert set(first) != set(second)


def test_samples_without_any_label_are_never_drawn():
    given = torch.tensor([[torch.nan, torch.nan], [0.0, torch.nan], [torch.nan, 1.0]])
    assert sorted(draw_all(given, seeded()).samples) == [1, 2]


def test_one_class_alone_cannot_be_balanced():
    with pytest.raises(ValueError, match=r"'rare' cannot be balanced: .* found 3 labels of 1 of them"):
        draw_balanced((RARE,), torch.zeros(3, 1), seeded())


def bag(tiles: int) -> Bag:
    features = torch.arange(float(tiles))[:, None].repeat(1, 2)
    return Bag(
        features=features,
        labels=torch.zeros(1),
        coordinates=features.clone(),
        truth={"witness": features[:, 0] == 3},
        name="a",
    )


def test_a_random_part_of_the_tiles_is_kept_in_order_with_all_that_belongs_to_it():
    part = thinned(bag(10), SamplingTable(tile_share=0.5), seeded())
    assert len(part.features) == 5
    assert part.features[:, 0].tolist() == sorted(part.features[:, 0].tolist())
    assert torch.equal(part.coordinates, part.features)
    assert bool(part.truth["witness"].any()) == (3.0 in part.features[:, 0].tolist())
    other = thinned(bag(10), SamplingTable(tile_share=0.5), seeded(1))
    assert not torch.equal(part.features, other.features)


def test_most_tiles_bounds_a_step_and_a_bag_of_one_stays_whole():
    assert len(thinned(bag(50_000), SamplingTable(most_tiles=4096), seeded()).features) == 4096
    whole = bag(1)
    assert thinned(whole, SamplingTable(tile_share=0.01), seeded()) is whole


def test_balanced_weights_make_both_classes_weigh_the_same():
    given = torch.tensor([0.0] * 9 + [1.0] + [torch.nan] * 3)
    weights = balanced_weights(RARE, given)
    logits = torch.zeros(10, 1, requires_grad=True)
    task_loss(RARE, logits, given[:10], class_weights=weights).backward()
    assert logits.grad is not None
    assert float(logits.grad[:9].sum()) == pytest.approx(-float(logits.grad[9]))
    assert float(weights[given[:10].long()].mean()) == pytest.approx(1.0)


def test_weights_of_several_classes_scale_their_losses():
    task = Classification(name="grade", classes=("a", "b", "c"))
    logits, given = torch.randn(3, 3, generator=seeded()), torch.tensor([0.0, 1.0, 2.0])
    weights = torch.tensor([2.0, 0.0, 1.0])
    each = torch.stack([task_loss(task, logits[row : row + 1], given[row : row + 1]) for row in range(3)])
    torch.testing.assert_close(task_loss(task, logits, given, class_weights=weights), (each * weights).mean())


@pytest.mark.parametrize("kind", ["min_max", "standard"])
@pytest.mark.parametrize("aggregator", AGGREGATORS.names())
def test_folded_scaling_answers_in_the_unit_of_the_task(aggregator: str, kind: str):
    tasks = (RARE, SCORE)
    given = torch.tensor([[0.0, 120.0], [1.0, 160.0], [torch.nan, 140.0], [0.0, torch.nan]])
    scaling = TargetScaling.of(tasks, given, kind=kind)
    learned = scaling.scaled(tasks, given)
    known = learned[:3, 1]
    if kind == "min_max":
        assert known.tolist() == pytest.approx([0.0, 1.0, 0.5])
    else:
        assert float(known.mean()) == pytest.approx(0.0, abs=1e-5)
        assert float(known.std()) == pytest.approx(1.0, abs=1e-5)
    assert torch.equal(learned[:3, 0].isnan(), given[:3, 0].isnan())
    network = AGGREGATORS.load(aggregator)
    module = network.build(tasks=tasks, features=5, options=SMALL.get(aggregator, {}), generator=seeded()).eval()
    tiles = torch.randn(6, 5, generator=seeded())
    with torch.inference_mode():
        before = scaling.in_units(module(tiles, explain=True)).tasks
    scaling.fold_into(module)
    with torch.inference_mode():
        after = module(tiles, explain=True).tasks
    torch.testing.assert_close(after["score"].logits, before["score"].logits, atol=1e-3, rtol=1e-4)
    tiles_before = before["score"].tile_logits
    if tiles_before is not None:
        torch.testing.assert_close(after["score"].tile_logits, tiles_before, atol=1e-3, rtol=1e-4)
    assert torch.equal(after["rare"].logits, before["rare"].logits)
    assert [task.high - task.low for task in scaling.learned_tasks(tasks) if isinstance(task, Regression)] == [1.0]
