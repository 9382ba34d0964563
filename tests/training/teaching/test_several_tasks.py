"""Several tasks learn in one run: each from its own labels, new ones and the model's own, and the others stay."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from taught_world import OLD, bag_of, lesson_of, quick, same_bits, saved_model, taught_reports, weights_of

from napari_mtlpath.balancing.balancer import names
from napari_mtlpath.tasks import Classification, Regression
from napari_mtlpath.training.teaching.guard import Guard
from napari_mtlpath.training.teaching.lesson import Lesson
from napari_mtlpath.training.teaching.report import TeachPhase
from napari_mtlpath.training.teaching.run_folder import own_run_folder
from napari_mtlpath.training.teaching.taught_model import remove_task, save
from napari_mtlpath.zoo.load import load_model
from napari_mtlpath.zoo.model import SlideModel

SECOND = Classification(name="other", classes=("a", "b"))


@pytest.fixture
def parent(tmp_path: Path) -> SlideModel:
    """A model whose tasks are apart, so that its own can be taught further in isolation."""
    return saved_model(tmp_path, streams="private")


def dark() -> Lesson:
    return lesson_of(3, task=OLD[0])


def second() -> Lesson:
    return lesson_of(2, 4, task=SECOND)


def test_new_tasks_and_an_own_one_learn_together_and_every_other_parameter_stays(parent: SlideModel, tmp_path: Path):
    before = weights_of(parent)
    lessons = [second(), lesson_of(), dark()]
    reports = taught_reports(parent, lessons, tmp_path / "run", retrain=("dark",))
    last = reports[-1]
    after = weights_of(last.model)
    assert [task.name for task in last.model.tasks] == ["dark", "share", "stain", "bright", "other"]
    aggregator = last.model.aggregator
    own = {id(parameter) for name in ("dark", "bright", "other") for parameter in aggregator.task_parameters(name)}
    learned = {name for name, value in aggregator.state_dict(keep_vars=True).items() if id(value) in own}
    moved = {name for name, value in after.items() if name not in before or not torch.equal(before[name], value)}
    assert moved
    assert moved <= learned
    assert {name.split(".")[1] for name in moved if name.startswith("branches.")} == {"0", "3", "4"}
    assert last.guard.identical
    assert set(last.guard.deltas) == {"share", "stain"}
    points = [report for report in reports if report.phase is TeachPhase.REFRESH]
    for point in points:
        assert set(point.validation_losses) == {"dark", "bright", "other"}
        assert set(point.scores) == {"dark", "bright", "other"}
    assert set(points[1].losses) == {"dark", "bright", "other"}


def test_two_tasks_are_both_learned(parent: SlideModel, tmp_path: Path):
    hidden = lesson_of(1, task=SECOND)
    flipped = Lesson(task=SECOND, bags=tuple(replace(bag, tile_labels=1 - bag.tile_labels) for bag in hidden.bags))
    config = quick(steps=20, refresh_every=10, learning_rate=0.02)
    *_, last = taught_reports(parent, [lesson_of(), flipped], tmp_path / "run", config=config)
    unseen = bag_of(9, labelled=20)
    with torch.inference_mode():
        answers = last.model.aggregator(torch.from_numpy(unseen.features), explain=True).tasks
    for name, sign in (("bright", 1.0), ("other", -1.0)):
        scores = sign * answers[name].tile_logits[:, 0].numpy()
        bright, others = scores[unseen.tile_labels == 1], scores[unseen.tile_labels == 0]
        assert (bright[:, None] > others[None, :]).mean() > 0.9, name


def test_order_of_the_lessons_changes_no_weight(parent: SlideModel, tmp_path: Path):
    one = taught_reports(parent, [lesson_of(), second()], tmp_path / "a")[-1]
    other = taught_reports(parent, [second(), lesson_of()], tmp_path / "b")[-1]
    assert same_bits(weights_of(one.model), weights_of(other.model))


def test_two_tasks_learn_without_held_out_labels_too(parent: SlideModel, tmp_path: Path):
    fixed = quick(steps=2, validation_share=0.0)
    reports = taught_reports(parent, [lesson_of(), second()], tmp_path / "run", config=fixed)
    assert set(reports[-2].losses) <= {"bright", "other"}
    assert reports[-1].guard.identical


@pytest.mark.parametrize("balancer", ["uncert", "equal+pcgrad", "dwa+cagrad", "autol"])
def test_balancers_weigh_tasks_that_learn_what_all_share(balancer: str, parent: SlideModel, tmp_path: Path):
    assert balancer in names()
    config = quick(mode="shared", balancer=balancer)
    lessons = [lesson_of(1, 2), lesson_of(3, task=OLD[1], tile_labels=numbers())]
    *_, last = taught_reports(parent, lessons, tmp_path / "run", config=config, retrain=("share",))
    assert set(last.guard.deltas) == {"dark", "stain"}
    assert not last.guard.identical
    assert all(bool(value.isfinite().all()) for value in weights_of(last.model).values())


def numbers():
    return torch.linspace(0, 1, 60).double().numpy()


def test_balancer_without_anything_to_balance_is_said(parent: SlideModel, tmp_path: Path):
    config = quick(balancer="pcgrad", steps=2)
    reports = taught_reports(parent, [lesson_of(), second()], tmp_path / "run", config=config)
    assert any("there is nothing to balance" in warning for report in reports for warning in report.warnings)
    plain = taught_reports(parent, [lesson_of(), second()], tmp_path / "plain", config=quick(steps=2))
    assert same_bits(weights_of(reports[-1].model), weights_of(plain[-1].model))


def test_model_says_of_each_task_what_it_was_taught_from_and_each_is_removed_again(parent: SlideModel, tmp_path: Path):
    *_, last = taught_reports(parent, [lesson_of(), dark()], tmp_path / "run", retrain=("dark",))
    card = save(last.taught, tmp_path / "longer")
    assert card.provenance["taught"] == ["bright", "dark"]
    assert "Task 'bright' was taught later" in card.summary
    assert "Task 'dark' was taught further" in card.summary
    assert card.tile_labels == {"bright": 24, "dark": 24}
    assert "auc" not in card.metrics.get("dark", {})
    assert {group.partition(",")[0] for group in card.metrics} == {"bright", "dark"}
    proof = json.loads((tmp_path / "longer" / "proof.json").read_text(encoding="utf-8"))
    told = [(lesson["task"]["name"], lesson["taught"]) for lesson in proof["lessons"]]
    assert told == [("bright", "anew"), ("dark", "further")]
    again = load_model(tmp_path / "longer", device="cpu")
    assert same_bits(weights_of(again), weights_of(last.model))
    shorter = remove_task(again, "bright", tmp_path / "shorter")
    assert [task.name for task in shorter.tasks] == ["dark", "share", "stain"]


def test_stopped_run_of_two_tasks_goes_on_to_the_same_bits(parent: SlideModel, tmp_path: Path):
    from napari_mtlpath.training.teaching.teach import teach

    lessons = [lesson_of(), second()]
    whole = taught_reports(parent, lessons, tmp_path / "whole")[-1]
    running = teach(parent, lessons, quick(), folder=tmp_path / "run")
    while next(running).step < 3:
        pass
    running.close()
    resumed = taught_reports(parent, lessons, tmp_path / "run")
    assert resumed[1].step >= 0
    assert same_bits(weights_of(whole.model), weights_of(resumed[-1].model))


def test_what_does_not_go_together_is_refused(parent: SlideModel, tmp_path: Path):
    with pytest.raises(ValueError, match="at least one lesson"):
        taught_reports(parent, [], tmp_path / "run")
    with pytest.raises(ValueError, match="'bright' is given more than once"):
        taught_reports(parent, [lesson_of(), lesson_of(2)], tmp_path / "run")
    with pytest.raises(ValueError, match="'dark' is to be taught further, but no lesson is about it"):
        taught_reports(parent, [lesson_of()], tmp_path / "run", retrain=("dark",))
    with pytest.raises(ValueError, match="already has a task 'dark'"):
        taught_reports(parent, [lesson_of(), dark()], tmp_path / "run")


def test_guard_without_another_task_says_so(tmp_path: Path):
    parent = saved_model(tmp_path)
    guard = Guard.of(parent, [bag_of(1)], except_for=[task.name for task in OLD])
    assert "no other task" in guard.check(parent).sentence


def test_two_teachings_of_the_same_task_at_once_have_folders_of_their_own(parent: SlideModel):
    with own_run_folder(parent, ["b", "a"]) as first, own_run_folder(parent, ["a", "b"]) as second_folder:
        assert first != second_folder
        with own_run_folder(parent, ["a", "b"], ending="-files") as files:
            assert files not in (first, second_folder)
    with own_run_folder(parent, ["a", "b"]) as again:
        assert again == first


def test_regression_and_classification_learn_together(parent: SlideModel, tmp_path: Path):
    lessons = [lesson_of(), lesson_of(task=Regression(name="fat", high=40.0), tile_labels=40 * numbers())]
    *_, last = taught_reports(parent, lessons, tmp_path / "run")
    assert last.score_names == {"bright": "tile AUC", "fat": "tile R2"}
    assert all(math.isfinite(score) for score in last.scores.values())
