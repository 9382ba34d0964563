"""Teaching a task: what learns, what stays, and how it is stopped, continued and ended."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from taught_world import (
    NEW,
    OLD,
    bag_of,
    lesson_of,
    quick,
    same_bits,
    saved_model,
    taught_reports,
    weights_of,
)

from napari_mtlpath.tasks import Classification, Regression
from napari_mtlpath.training.loop.checkpoint import CHECKPOINT_FILE
from napari_mtlpath.training.teaching import job as job_module
from napari_mtlpath.training.teaching.job import TeachJob
from napari_mtlpath.training.teaching.lesson import Lesson
from napari_mtlpath.training.teaching.report import Command, TeachPhase
from napari_mtlpath.training.teaching.teach import teach
from napari_mtlpath.zoo.model import SlideModel


@pytest.fixture
def parent(tmp_path: Path) -> SlideModel:
    return saved_model(tmp_path)


def test_only_the_new_tasks_parameters_learn_and_the_parent_stays(tmp_path: Path):
    parent = saved_model(tmp_path, blocks=2)
    before = weights_of(parent)
    *_, last = taught_reports(parent, lesson_of(), tmp_path / "run")
    after = weights_of(last.model)
    assert same_bits(before, weights_of(parent))
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert set(after) - set(before)
    assert [task.name for task in last.model.tasks] == [*(task.name for task in OLD), "bright"]
    assert last.guard.identical
    assert last.guard.before == last.guard.after


def test_taught_task_tells_its_tiles_apart_on_a_slide_that_it_never_saw(parent: SlideModel, tmp_path: Path):
    config = quick(steps=20, refresh_every=10, learning_rate=0.02)
    *_, last = taught_reports(parent, lesson_of(), tmp_path / "run", config=config)
    unseen = bag_of(9, labelled=20)
    with torch.inference_mode():
        answer = last.model.aggregator(torch.from_numpy(unseen.features), explain=True).tasks["bright"]
    scores = answer.tile_logits[:, 0].numpy()
    bright, others = scores[unseen.tile_labels == 1], scores[unseen.tile_labels == 0]
    assert (bright[:, None] > others[None, :]).mean() > 0.9
    assert float(answer.logits[0]) > 0


def test_curves_have_losses_scores_and_floors_from_before_the_first_step(parent: SlideModel, tmp_path: Path):
    reports = taught_reports(parent, lesson_of(), tmp_path / "run")
    points = [report for report in reports if report.phase is TeachPhase.REFRESH]
    assert [point.step for point in points] == [0, 2, 4]
    for point in points:
        assert math.isfinite(point.validation_losses["bright"])
        assert 0.0 <= point.scores["bright"] <= 1.0
        assert point.floors["bright"] == 0.5
        assert point.score_names["bright"] == "tile AUC"
        assert [task.name for task in point.model.tasks][-1] == "bright"
    assert all(math.isfinite(point.losses["bright"]) for point in points[1:])
    assert reports[-1].phase is TeachPhase.DONE
    assert reports[-1].taught is not None
    assert len({point.model.digest for point in points}) == len(points)


@pytest.mark.parametrize(
    ("task", "labels", "name"),
    [
        (Regression(name="fat", high=40.0), [10.0 * (number % 4) for number in range(60)], "tile R2"),
        (Classification(name="kind", classes=("a", "b", "c")), [float(n % 3) for n in range(60)], "tile macro-F1"),
    ],
)
def test_other_kinds_of_tasks_are_taught_too(task, labels, name: str, parent: SlideModel, tmp_path: Path):
    lesson = lesson_of(task=task, tile_labels=np.array(labels))
    *_, last = taught_reports(parent, lesson, tmp_path / "run", config=quick(steps=2))
    assert last.score_names[task.name] == name
    assert math.isfinite(last.scores[task.name])
    assert last.guard.identical


def test_labels_of_slides_teach_as_in_training(parent: SlideModel, tmp_path: Path):
    bags = tuple(bag_of(n, labelled=0, bright=20 * (n % 2), label=float(n % 2)) for n in range(1, 9))
    *_, last = taught_reports(parent, Lesson(task=NEW, bags=bags), tmp_path / "run")
    assert last.score_names["bright"] == "slide AUC"
    assert "bright" not in last.model.card.tile_labels


def test_order_of_labels_and_consumer_change_no_weight(parent: SlideModel, tmp_path: Path):
    one, two = bag_of(1), bag_of(2)
    *_, straight = taught_reports(parent, Lesson(task=NEW, bags=(one, two)), tmp_path / "a")
    torch.manual_seed(99)
    running = teach(parent, Lesson(task=NEW, bags=(two, one)), quick(), folder=tmp_path / "b")
    for report in running:
        torch.rand(3)  # somebody else draws from torch's global numbers between two reports
        slow = report
    assert same_bits(weights_of(straight.model), weights_of(slow.model))


def test_cancelled_anywhere_it_goes_on_to_the_same_bits(parent: SlideModel, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("napari_mtlpath.training.teaching.teach.REPORT_SECONDS", 0.0)
    *_, straight = taught_reports(parent, lesson_of(), tmp_path / "straight")
    for after in (2, 3, 4):  # within the first part, at a look, within the second part
        running = teach(parent, lesson_of(), quick(), folder=tmp_path / str(after))
        steps = (report for report in running if report.phase in (TeachPhase.STEP, TeachPhase.REFRESH))
        for _ in range(after):
            next(steps)
        running.close()
        *_, resumed = taught_reports(parent, lesson_of(), tmp_path / str(after))
        assert same_bits(weights_of(straight.model), weights_of(resumed.model))
        assert straight.guard == resumed.guard


def test_killed_at_any_moment_it_goes_on_from_the_last_whole_checkpoint(parent: SlideModel, tmp_path: Path):
    config = quick(refresh_every=1)
    running = teach(parent, lesson_of(), config, folder=tmp_path / "run")
    left_behind = {}
    for report in running:
        checkpoint = tmp_path / "run" / CHECKPOINT_FILE
        if report.step in (2, 3) and checkpoint.is_file():  # what a kill at this moment leaves on the disk
            left_behind[report.step] = checkpoint.read_bytes()
    for step, content in left_behind.items():
        folder = tmp_path / f"killed after {step}"
        folder.mkdir()
        (folder / CHECKPOINT_FILE).write_bytes(content)
        first, *_, resumed = [
            each for each in taught_reports(parent, lesson_of(), folder, config=config) if each.step > 0
        ]
        assert first.step > step
        assert same_bits(weights_of(report.model), weights_of(resumed.model))
    assert set(left_behind) == {2, 3}


def test_checkpoint_of_other_labels_is_left_and_said(parent: SlideModel, tmp_path: Path):
    running = teach(parent, lesson_of(), quick(), folder=tmp_path / "run")
    while next(running).step < 2:
        pass
    running.close()
    assert (tmp_path / "run" / CHECKPOINT_FILE).is_file()
    reports = taught_reports(parent, lesson_of(2), tmp_path / "run")
    assert "Started anew" in " ".join(warning for report in reports for warning in report.warnings)
    *_, fresh = taught_reports(parent, lesson_of(2), tmp_path / "other")
    assert same_bits(weights_of(reports[-1].model), weights_of(fresh.model))


def test_asked_to_finish_it_ends_at_the_next_look(parent: SlideModel, tmp_path: Path):
    running = teach(parent, lesson_of(), quick(steps=3000), folder=tmp_path / "run")
    report = next(running)
    while report.step < 1:
        report = next(running)
    report = running.send(Command.FINISH)
    while report.phase is not TeachPhase.DONE:
        report = next(running)
    assert report.step <= 4
    assert report.taught.facts["ended"] == "as asked"


def test_loss_that_is_not_finite_is_said_and_the_last_good_weights_are_kept(
    parent: SlideModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = TeachJob.batch_losses
    calls = iter(range(100))

    def spoiled(job: TeachJob, batch):
        factor = math.nan if next(calls) == 3 else 1.0
        return {name: loss * factor for name, loss in whole(job, batch).items()}

    monkeypatch.setattr(TeachJob, "batch_losses", spoiled)
    *_, last = taught_reports(parent, lesson_of(), tmp_path / "run")
    assert "became nan" in last.stopped
    assert last.taught.facts["kept_step"] == 2
    assert all(bool(value.isfinite().all()) for value in weights_of(last.model).values())
    calls = iter(range(3, 100))
    with pytest.raises(FloatingPointError, match="Lower the learning rate"):
        taught_reports(parent, lesson_of(2), tmp_path / "other")


def test_out_of_memory_steps_are_computed_in_halves_and_said(
    parent: SlideModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = TeachJob.batch_losses

    def narrow(job: TeachJob, batch):
        if len(batch) > 1:
            raise torch.OutOfMemoryError("made up")
        return whole(job, batch)

    monkeypatch.setattr(TeachJob, "batch_losses", narrow)
    reports = taught_reports(parent, lesson_of(), tmp_path / "run")
    said = [warning for report in reports for warning in report.warnings]
    assert job_module.HALVED in said
    assert reports[-1].guard.identical
    monkeypatch.setattr(TeachJob, "batch_losses", lambda job, batch: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(MemoryError, match="Memory ran out"):
        taught_reports(parent, lesson_of(2), tmp_path / "other")


def test_fatal_problems_are_refused_before_anything_is_done(parent: SlideModel, tmp_path: Path):
    with pytest.raises(ValueError, match="no label yet"):
        taught_reports(parent, lesson_of(labelled=0), tmp_path / "run")
    with pytest.raises(ValueError, match="already has a task 'dark'"):
        taught_reports(parent, lesson_of(task=OLD[0]), tmp_path / "run")
    narrow = torch.zeros(60, 5).numpy()
    with pytest.raises(ValueError, match=r"reads 42 features per tile; slide 'slide 1' has 5"):
        taught_reports(parent, lesson_of(features=narrow), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_existing_task_is_taught_further_while_the_others_stay(tmp_path: Path):
    parent = saved_model(tmp_path, streams="private")
    before = weights_of(parent)
    *_, last = taught_reports(parent, lesson_of(task=OLD[0]), tmp_path / "run", retrain=("dark",))
    after = weights_of(last.model)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith("branches.0.") for name in moved)
    assert last.guard.identical
    assert set(last.guard.deltas) == {"share", "stain"}
    assert "dark" not in last.model.card.calibration


def test_shared_mode_tells_how_far_each_old_task_moved(parent: SlideModel, tmp_path: Path):
    config = quick(mode="shared", balancer="pcgrad")
    reports = taught_reports(parent, lesson_of(1, 2, 3), tmp_path / "run", config=config)
    last = reports[-1]
    assert not last.guard.identical
    assert {*last.losses, *reports[-4].losses} <= {"bright", "dark", "share", "stain"}
    assert set(last.guard.deltas) == {"dark", "share", "stain"}
    for delta in last.guard.deltas.values():
        assert 0.0 < delta.mean <= delta.largest
        assert delta.low <= delta.mean <= delta.high


def test_distillation_holds_the_old_tasks_nearer_than_none(parent: SlideModel, tmp_path: Path):
    far, near = (
        taught_reports(
            parent,
            lesson_of(1, 2),
            tmp_path / kind,
            config=quick(mode="shared", steps=8, distillation=kind, learning_rate=2e-3),
        )
        for kind in ("off", "kl")
    )
    moved = [sum(delta.mean for delta in reports[-1].guard.deltas.values()) for reports in (far, near)]
    assert moved[1] < moved[0]
