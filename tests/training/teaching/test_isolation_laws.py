"""Every aggregator that is taught in isolation leaves the old answers the same bits; any other is refused."""

from pathlib import Path

import pytest
import torch
from taught_world import NEW, bag_of, lesson_of, quick, saved_model, taught_reports, weights_of

from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.plugins import PluginFolder
from napari_mtlpath.training.teaching.extension import check_isolation, with_task, without_task
from napari_mtlpath.training.teaching.guard import Guard
from napari_mtlpath.training.teaching.lesson import Lesson

NAMES = PluginFolder("napari_mtlpath.nn.aggregators", contract=Aggregator, noun="aggregator").names()


@pytest.mark.parametrize("name", NAMES)
def test_isolated_teaching_keeps_the_old_bits_or_is_refused(name: str, tmp_path: Path):
    parent = saved_model(tmp_path, aggregator=name)
    lesson, config = lesson_of(1, 2), quick(steps=2, refresh_every=2)
    claim = type(parent.aggregator).isolating
    extends = name == "mecds" or claim == {}
    if not extends:
        with pytest.raises(ValueError, match=r"cannot be taught in isolation here.*mode 'shared'"):
            taught_reports(parent, lesson, tmp_path / "run", config=config)
        if claim is None:
            return
        parent = saved_model(tmp_path, aggregator=name, name="apart", **claim)
    before = weights_of(parent)
    guard = Guard.of(parent, lesson.bags)
    *_, last = taught_reports(parent, lesson, tmp_path / "run", config=config)
    after = weights_of(last.model)
    assert last.guard.identical
    assert guard.check(last.model).identical
    assert all(torch.equal(after[key], value) for key, value in before.items())
    learned = [key for key in after if key not in before]
    fresh = with_task(parent.aggregator, NEW, mode="isolated", generator=torch.Generator().manual_seed(0)).state_dict()
    assert any(not torch.equal(after[key], fresh[key]) for key in learned)


@pytest.mark.parametrize("name", NAMES)
def test_task_that_was_added_is_removed_without_a_trace(name: str, tmp_path: Path):
    aggregator = saved_model(tmp_path, aggregator=name).aggregator
    longer = with_task(aggregator, NEW, mode="isolated", generator=torch.Generator().manual_seed(0))
    shorter = without_task(longer, NEW.name)
    assert shorter.options == aggregator.options
    pairs = zip(shorter.state_dict().items(), aggregator.state_dict().items(), strict=True)
    assert all(mine[0] == yours[0] and torch.equal(mine[1], yours[1]) for mine, yours in pairs)


def test_aggregator_without_answers_about_tiles_learns_from_slides_alone(tmp_path: Path):
    parent, config = saved_model(tmp_path, aggregator="transmil"), quick(mode="shared", steps=2)
    with pytest.raises(ValueError, match="gives no answers tile by tile, so labels of tiles cannot teach it"):
        taught_reports(parent, lesson_of(), tmp_path / "tiles", config=config)
    bags = tuple(bag_of(n, labelled=0, bright=20 * (n % 2), label=float(n % 2)) for n in range(1, 9))
    *_, last = taught_reports(parent, Lesson(task=NEW, bags=bags), tmp_path / "slides", config=config)
    assert [task.name for task in last.model.tasks][-1] == "bright"
    assert not last.guard.identical


def test_leak_from_the_new_task_into_an_old_answer_is_found(tmp_path: Path):
    aggregator = saved_model(tmp_path, aggregator="abmil").aggregator
    longer = with_task(aggregator, NEW, mode="isolated", generator=torch.Generator().manual_seed(0))
    check_isolation(aggregator, longer, (NEW.name,))
    longer.pools[0].head.weight = longer.pools[-1].head.weight  # an old task reads what the new one learns
    with pytest.raises(ValueError, match="cannot be taught in isolation"):
        check_isolation(aggregator, longer, (NEW.name,))
