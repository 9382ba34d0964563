"""What a lesson says about its labels before anything is taught."""

from dataclasses import replace

import numpy as np
import pytest
from taught_world import NEW, bag_of, lesson_of

from napari_mtlpath.tasks import Classification, Regression
from napari_mtlpath.training.teaching.lesson import Lesson


def sentences(lesson: Lesson, *, fatal: bool) -> str:
    return " ".join(problem.sentence for problem in lesson.problems() if problem.fatal is fatal)


def test_labels_are_counted_by_class_for_tiles_and_slides_and_by_origin():
    bags = (bag_of(1, label=1.0), bag_of(2, labelled=3, label=0.0, origins={"region": 4, "slide": 1}))
    counts = Lesson(task=NEW, bags=bags).counts()
    assert counts.tiles == {"absent": 15, "present": 15}
    assert counts.slides == {"absent": 1, "present": 1}
    assert counts.origins == {"tile": 24, "region": 4, "slide": 1}


def test_regression_counts_values():
    values = np.linspace(0.0, 1.0, 60)
    assert lesson_of(1, task=Regression(name="fat"), tile_labels=values).counts().tiles == {"value": 60}


@pytest.mark.parametrize(
    ("lesson", "words"),
    [
        (lesson_of(labelled=0), "no label yet"),
        (lesson_of(tile_labels=np.where(np.arange(60) < 9, 1.0, np.nan)), "no label of class 'absent'"),
        (lesson_of(tile_labels=np.where(np.arange(60) < 9, 5.0, np.nan)), "must be 0 to 1, one per class; found 5"),
        (lesson_of(1, 1), "'slide 1' is given more than once"),
        (lesson_of(label=0.0), "labelled 'absent' as a whole, but 12 of its tiles 'present'"),
        (lesson_of(task=Regression(name="fat"), tile_labels=np.ones(60)), "the same value"),
    ],
)
def test_what_cannot_be_taught_is_named_with_what_to_do(lesson: Lesson, words: str):
    assert words in sentences(lesson, fatal=True)


def test_few_and_unequal_labels_are_said_and_not_fatal():
    labels = np.full(60, np.nan)
    labels[0], labels[1:50] = 1.0, 0.0
    said = sentences(lesson_of(tile_labels=labels), fatal=False)
    assert "Only 1 tile labelled 'present'" in said
    assert "Class 'present' has 1 of the labelled tiles and another 49" in said
    assert not sentences(lesson_of(), fatal=False)


def test_digest_knows_labels_and_embeddings_but_neither_order_nor_names():
    one, two = bag_of(1), bag_of(2)
    lesson = Lesson(task=NEW, bags=(one, two))
    order = np.random.default_rng(0).permutation(60)
    turned = replace(
        one,
        name="another name",
        features=one.features[order],
        positions=one.positions[order],
        tile_labels=one.tile_labels[order],
    )
    assert Lesson(task=NEW, bags=(two, turned)).digest() == lesson.digest()
    changed = one.tile_labels.copy()
    changed[np.flatnonzero(changed == 1.0)[0]] = 0.0
    assert Lesson(task=NEW, bags=(replace(one, tile_labels=changed), two)).digest() != lesson.digest()
    assert Lesson(task=NEW, bags=(replace(one, features=one.features * 2), two)).digest() != lesson.digest()
    assert Lesson(task=Classification(name="other"), bags=(one, two)).digest() != lesson.digest()


def test_bag_of_the_wrong_shape_or_with_values_that_are_not_finite_is_refused():
    with pytest.raises(ValueError, match=r"expected positions \[60, 2\] and labels \[60\]"):
        bag_of(1, tile_labels=np.zeros(3))
    with pytest.raises(ValueError, match="is not finite"):
        bag_of(1, features=np.full((60, 42), np.nan, dtype=np.float32))
    with pytest.raises(ValueError, match="at least one tile"):
        bag_of(1, features=np.empty((0, 42), dtype=np.float32))
