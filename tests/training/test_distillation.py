"""What a student learns from its teacher, task by task."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from napari_mtlpath.encoders.families.colour_stats import ColourStatistics
from napari_mtlpath.nn.aggregators.mean_pool import MeanPool
from napari_mtlpath.tasks import Classification, Regression, Task
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.training.bags.bags import Bag
from napari_mtlpath.training.config.systems import DistillationTable
from napari_mtlpath.training.distillation import Teacher, distillation_losses, load_teacher
from napari_mtlpath.training.losses.akd import AsymmetricDistillation
from napari_mtlpath.units import Microns, TilePixels
from napari_mtlpath.zoo.card import ModelCard
from napari_mtlpath.zoo.save import save_model

TASKS = (
    Classification(name="tumour"),
    Classification(name="grade", classes=("a", "b", "c")),
    Regression(name="score", high=4.0),
)
CPU = torch.device("cpu")


def batch() -> tuple[dict[str, torch.Tensor], list[dict[str, torch.Tensor]], torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    student = {task.name: torch.randn(4, task.outputs, generator=generator) for task in TASKS}
    teacher = [{task.name: torch.randn(task.outputs, generator=generator) for task in TASKS} for _ in range(4)]
    labels = torch.tensor([[0.0, 1.0, 2.0], [1.0, torch.nan, 1.0], [torch.nan, 2.0, 0.5], [1.0, 0.0, torch.nan]])
    return student, teacher, labels


def losses(table: DistillationTable) -> dict[str, torch.Tensor]:
    student, teacher, labels = batch()
    return distillation_losses(table, TASKS, student=student, teacher=teacher, labels=labels)


def test_a_binary_task_has_the_asymmetric_loss_over_the_samples_with_its_label():
    student, teacher, _ = batch()
    rows = [0, 1, 3]
    said = torch.stack([teacher[row]["tumour"] for row in rows])[:, 0]
    expected = AsymmetricDistillation()(student["tumour"][rows, 0], said)
    torch.testing.assert_close(losses(DistillationTable())["tumour"], expected)


def test_kl_of_a_binary_task_is_the_divergence_of_two_softened_answers():
    student, teacher, _ = batch()
    rows, temperature = [0, 1, 3], 3.0

    def pair(logits: torch.Tensor) -> torch.Tensor:
        both = torch.stack([torch.zeros_like(logits), logits], dim=1) / temperature
        return both.log_softmax(dim=1)

    said = torch.stack([teacher[row]["tumour"] for row in rows])[:, 0]
    divergence = functional.kl_div(pair(student["tumour"][rows, 0]), pair(said), reduction="batchmean", log_target=True)
    found = losses(DistillationTable(kind="kl", temperature=temperature))["tumour"]
    torch.testing.assert_close(found, temperature**2 * divergence)


def test_several_classes_have_the_divergence_in_both_kinds():
    asymmetric, plain = losses(DistillationTable())["grade"], losses(DistillationTable(kind="kl"))["grade"]
    torch.testing.assert_close(asymmetric, plain)
    student, _, labels = batch()
    same = [{name: student[name][row] for name in student} for row in range(4)]
    zero = distillation_losses(DistillationTable(), TASKS, student=student, teacher=same, labels=labels)
    assert float(zero["grade"]) == pytest.approx(0.0, abs=1e-6)


def test_a_regression_learns_from_its_teacher_only_when_asked():
    assert set(losses(DistillationTable())) == {"tumour", "grade"}
    student, teacher, _ = batch()
    rows = [0, 1, 2]
    said = torch.stack([teacher[row]["score"] for row in rows])
    expected = ((student["score"][rows] - said) / 4.0).square().mean()
    torch.testing.assert_close(losses(DistillationTable(regression="squared_error"))["score"], expected)


def test_tasks_without_a_label_or_unknown_to_the_teacher_are_left_out():
    student, teacher, labels = batch()
    fewer = [{"tumour": said["tumour"]} for said in teacher]
    found = distillation_losses(DistillationTable(), TASKS, student=student, teacher=fewer, labels=labels)
    assert set(found) == {"tumour"}
    labels[:, 0] = torch.nan
    assert not distillation_losses(DistillationTable(), TASKS, student=student, teacher=fewer, labels=labels)


def saved_teacher(folder: Path, tasks: tuple[Task, ...] = TASKS) -> tuple[Path, ColourStatistics]:
    encoder = ColourStatistics.build(name="tiny", options={"tile_px": 16}, state=None)
    module = MeanPool.build(
        tasks=tasks, features=encoder.features, options={}, generator=torch.Generator().manual_seed(0)
    )
    card = ModelCard(
        name="old",
        tasks=tasks,
        encoder="tiny",
        encoder_sha256=encoder.digest,
        tile=TileSpec(tile_um=Microns(36.0), tile_px=TilePixels(16)),
        aggregator="mean_pool",
        licence="CC0-1.0",
    )
    save_model(folder / "old", card, module.state_dict())
    return folder / "old", encoder


def test_a_teacher_answers_whole_bags_once_and_learns_nothing(tmp_path: Path):
    folder, encoder = saved_teacher(tmp_path)
    teacher = load_teacher(folder, encoder=encoder, tasks=TASKS, device=CPU)
    assert not any(parameter.requires_grad for parameter in teacher.module.parameters())
    assert not teacher.module.training
    whole = Bag(features=torch.randn(9, encoder.features), labels=torch.zeros(3), name="p1")
    said = teacher.answer(whole)
    torch.testing.assert_close(said["grade"], teacher.module(whole.features).tasks["grade"].logits)
    part = Bag(features=whole.features[:2], labels=whole.labels, name="p1")
    assert teacher.answer(part) is said
    assert teacher.facts["teacher_sha256"] == teacher.card.weights_sha256


def test_a_teacher_that_does_not_fit_is_refused(tmp_path: Path):
    folder, encoder = saved_teacher(tmp_path)
    other = ColourStatistics.build(name="other", options={"tile_px": 32}, state=None)
    with pytest.raises(ValueError, match="made with another tile encoder"):
        load_teacher(folder, encoder=other, tasks=TASKS, device=CPU)
    with pytest.raises(ValueError, match="has none of the tasks stage; it has tumour, grade, score"):
        load_teacher(folder, encoder=encoder, tasks=[Classification(name="stage")], device=CPU)
    with pytest.raises(ValueError, match=r"'grade' otherwise: expected the classes a, b, found the classes a, b, c"):
        load_teacher(folder, encoder=encoder, tasks=[Classification(name="grade", classes=("a", "b"))], device=CPU)
    with pytest.raises(FileNotFoundError, match="no slide model"):
        load_teacher("nobody", encoder=encoder, tasks=TASKS, device=CPU)


def test_the_printed_variant_and_detached_weights_can_be_chosen():
    table = DistillationTable(variant="printed", detach_weights=True, margin=0.1)
    loss = table.binary_loss()
    assert (loss.variant, loss.detach_weights, loss.margin) == ("printed", True, 0.1)
    assert float(losses(table)["tumour"]) != pytest.approx(float(losses(DistillationTable())["tumour"]))


def test_teachers_are_values(tmp_path: Path):
    folder, encoder = saved_teacher(tmp_path)
    teacher = load_teacher(folder, encoder=encoder, tasks=TASKS, device=CPU)
    assert isinstance(teacher, Teacher)
    assert teacher.card.name == "old"
