"""Bags composed from labelled and unlabelled tiles hold what their label says, and never what is held out."""

import numpy as np
import torch
from taught_world import NEW, bag_of, lesson_of, quick

from napari_mtlpath.tasks import Classification, Regression
from napari_mtlpath.training.teaching.composed_bags import BagComposer, ComposedBag
from napari_mtlpath.training.teaching.lesson import Lesson
from napari_mtlpath.training.teaching.split import split


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def composed(
    lesson: Lesson, *, count: int = 40, share: float = 0.25, kept: bool = False, **settings: object
) -> list[ComposedBag]:
    lesson = lesson.ordered()
    composer = BagComposer(lesson, split(lesson, share=share, generator=seeded()), quick(**settings))
    set_aside = torch.full((len(composer.pool),), not kept)
    return composer.bags(count, set_aside=set_aside, generator=seeded(1))


def rows(features: np.ndarray | torch.Tensor) -> set[bytes]:
    return {np.asarray(row, dtype=np.float32).tobytes() for row in features}


def test_positive_bags_hold_labelled_positives_at_varied_rates_and_negative_ones_none():
    bags = composed(lesson_of(), kept=True, lowest_rate=0.1, highest_rate=0.5)
    rates = [float((bag.tile_labels == 1).float().mean()) for bag in bags if bag.label == 1]
    assert len(rates) == 20
    assert min(rates) > 0
    assert max(rates) > 3 * min(rates)
    assert all(not bool((bag.tile_labels == 1).any()) for bag in bags if bag.label == 0)


def test_sizes_keep_to_their_range():
    sizes = [len(bag.features) for bag in composed(lesson_of(), smallest_bag=5, largest_bag=20)]
    assert min(sizes) >= 5
    assert max(sizes) <= 20
    assert len(set(sizes)) > 3


def test_held_out_tiles_are_in_no_bag():
    lesson = lesson_of().ordered()
    held = split(lesson, share=0.25, generator=seeded()).tiles[0]
    assert held.sum() == 6
    shown = rows(torch.cat([bag.features for bag in composed(lesson, kept=True)]))
    assert not shown & rows(lesson.bags[0].features[held])


def test_held_out_slides_are_in_no_bag_with_their_unlabelled_tiles():
    lesson = lesson_of(1, 2, 3, 4, 5, 6).ordered()
    chosen = split(lesson, share=0.25, generator=seeded())
    assert chosen.by_slide
    shown = rows(torch.cat([bag.features for bag in composed(lesson, kept=True)]))
    for bag, held in zip(lesson.bags, chosen.tiles, strict=True):
        assert bool(shown & rows(bag.features)) is not bool(held.any())


def test_unlabelled_tiles_set_aside_fill_no_bag():
    unlabelled = rows(lesson_of().bags[0].features[np.isnan(lesson_of().bags[0].tile_labels)])
    assert not rows(torch.cat([bag.features for bag in composed(lesson_of())])) & unlabelled
    assert rows(torch.cat([bag.features for bag in composed(lesson_of(), kept=True)])) & unlabelled


def test_tiles_of_a_slide_labelled_negative_always_fill_bags():
    negative = bag_of(2, bright=0, labelled=0, label=0.0)
    positive_only = bag_of(1, tile_labels=np.where(np.arange(60) < 9, 1.0, np.nan))
    bags = composed(Lesson(task=NEW, bags=(positive_only, negative)), share=0.0)
    filling = [bag for bag in bags if len(bag.features) < 60]
    assert {bag.label for bag in filling} == {0.0, 1.0}
    assert all(rows(bag.features[bag.tile_labels.isnan()]) <= rows(negative.features) for bag in filling)


def test_slides_with_a_label_are_shown_whole_and_evenly_by_class():
    bags = tuple(bag_of(number, labelled=0, label=float(number == 1)) for number in (1, 2, 3, 4))
    drawn = composed(Lesson(task=NEW, bags=bags), share=0.0)
    assert {len(bag.features) for bag in drawn} == {60}
    assert sum(bag.label for bag in drawn) == len(drawn) / 2


def test_bag_of_one_of_several_classes_holds_no_tile_of_another_but_the_first():
    task = Classification(name="kind", classes=("none", "small", "large"))
    labels = np.where(np.arange(60) < 45, np.arange(60) % 3, np.nan)
    for bag in composed(lesson_of(1, task=task, tile_labels=labels)):
        known = bag.tile_labels[~bag.tile_labels.isnan()]
        assert set(known.tolist()) <= {0.0, bag.label}
        assert bag.label == 0 or bool((known == bag.label).any())


def test_bag_of_a_regression_is_labelled_with_the_mean_of_its_tiles():
    values = np.where(np.arange(60) < 30, np.arange(60) / 30, np.nan)
    for bag in composed(lesson_of(1, task=Regression(name="fat"), tile_labels=values)):
        assert abs(float(bag.tile_labels.mean()) - bag.label) < 1e-6


def test_same_generator_draws_the_same_bags():
    once, again = composed(lesson_of()), composed(lesson_of())
    assert all(torch.equal(one.features, two.features) for one, two in zip(once, again, strict=True))
