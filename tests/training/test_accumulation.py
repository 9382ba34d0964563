"""Parts of a step add up to one large batch: exactly in what is computed, to rounding in the result."""

from pathlib import Path

import pytest
import torch
from table_job import TASKS, TableJob, table_loop
from torch import nn

from napari_mtlpath.balancing.balancer import parse
from napari_mtlpath.training.loop.distributed import ALONE
from napari_mtlpath.training.loop.private_random import PrivateRandom
from napari_mtlpath.training.step.gathered import GatheredGradients
from napari_mtlpath.training.step.loss_scale import FIRST_SCALE, LossScale
from napari_mtlpath.training.step.optimisation import Optimisation, Precision
from napari_mtlpath.training.step.step import Step
from napari_mtlpath.training.step.step_gradients import OVERFLOW
from napari_mtlpath.training.step.update import Update

METHODS = ("equal", "uncert", "dwa", "famo", "pcgrad", "graddrop", "uncert+cagrad", "mgda")


def trained(batch: int, folder: Path, *, method: str, accumulate: int) -> dict[str, torch.Tensor]:
    job = TableJob(batch=batch)
    list(table_loop(job, folder, method=method, accumulate=accumulate).run(output=folder / "model"))
    return job.published


@pytest.mark.parametrize("method", METHODS)
def test_accumulated_batches_equal_one_large_batch(method: str, tmp_path: Path):
    large = trained(8, tmp_path / "large", method=method, accumulate=1)
    parts = trained(2, tmp_path / "parts", method=method, accumulate=4)
    for name, value in large.items():
        torch.testing.assert_close(parts[name], value, atol=2e-5, rtol=2e-4)


def test_tasks_are_weighed_by_their_labels_not_by_their_batches():
    job = TableJob(batch=24, unknown=0.0)
    job.labels[3:, 1] = torch.nan  # all labels of b lie in the first part
    parts = [torch.arange(0, 8), torch.arange(8, 24)]
    step = make_step(job)
    outcome = step.take(parts)
    whole = {task: float(loss) for task, loss in make_step(job_like(job)).job.batch_losses(torch.arange(24)).items()}
    assert outcome.facts is not None
    assert outcome.facts.losses == pytest.approx(whole, rel=1e-5)


def test_task_that_no_part_labels_keeps_its_head_where_it_is():
    job = TableJob(unknown=0.0)
    job.labels[:, 2] = torch.nan
    before = [parameter.detach().clone() for parameter in job.module.heads["c"].parameters()]
    for method in ("equal", "pcgrad"):
        make_step(job, method=method).take([torch.arange(0, 4), torch.arange(4, 8)])
    after = list(job.module.heads["c"].parameters())
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_memory_of_gathered_gradients_does_not_grow_with_the_parts():
    job = TableJob()
    gathered = GatheredGradients(TASKS, list(job.module.parameters()))
    sizes = set()
    for start in range(0, 24, 4):
        gathered.add(job.batch_losses(torch.arange(start, start + 4)))
        sizes.add(sum(piece.numel() for row in gathered.rows.values() for piece in row if piece is not None))
        assert not any(piece.requires_grad for row in gathered.rows.values() for piece in row if piece is not None)
    assert len(sizes) == 1


def test_losses_that_stand_for_gradients_have_exactly_these():
    layer = nn.Linear(3, 2)
    gathered = GatheredGradients(["a"], list(layer.parameters()))
    gathered.add({"a": layer(torch.ones(1, 3)).square().sum()})
    expected = [piece.clone() for piece in gathered.rows["a"] if piece is not None]
    loss = gathered.losses({"a": 0.25})["a"]
    loss.backward()
    assert float(loss.detach()) == 0.25
    assert all(torch.equal(p.grad, piece) for p, piece in zip(layer.parameters(), expected, strict=True))


def make_step(job: TableJob, *, method: str = "equal", scale: LossScale | None = None) -> Step:
    update = Update(job.module, parse(method, tasks=TASKS))
    settings = Optimisation(epochs=1, learning_rate=1e-2)
    step = Step(job, settings, update, random=PrivateRandom(0), processes=ALONE)
    step.gradients.scale = scale  # as on CUDA, where float16 brings one
    return step


def job_like(job: TableJob) -> TableJob:
    other = TableJob(batch=job.batch)
    other.labels = job.labels
    return other


@pytest.mark.parametrize("method", ["equal", "pcgrad", "cagrad", "uncert"])
def test_loss_scale_is_divided_out_before_tasks_are_balanced(method: str):
    plain, scaled = TableJob(), TableJob()
    make_step(plain, method=method).take([torch.arange(4)])
    make_step(scaled, method=method, scale=LossScale()).take([torch.arange(4)])
    for one, other in zip(plain.module.parameters(), scaled.module.parameters(), strict=True):
        torch.testing.assert_close(other, one, atol=1e-6, rtol=1e-5)


def test_overflow_leaves_the_step_out_and_halves_the_scale():
    job = TableJob()
    before = [parameter.detach().clone() for parameter in job.module.parameters()]
    scale = LossScale()
    scale.value = 2.0**128  # more than float32 holds
    outcome = make_step(job, scale=scale).take([torch.arange(4)])
    assert outcome.skipped == OVERFLOW
    assert scale.value == 2.0**127
    assert all(torch.equal(old, new) for old, new in zip(before, job.module.parameters(), strict=True))


def test_scale_grows_after_many_good_steps_and_gives_up_when_nothing_helps():
    scale = LossScale()
    for _ in range(2000):
        scale.note(overflow=False)
    assert scale.value == 2 * FIRST_SCALE
    restored = LossScale()
    restored.load_state_dict(scale.state_dict())
    assert restored.value == scale.value
    while scale.value > 2.0**-14:
        scale.note(overflow=True)
    with pytest.raises(FloatingPointError, match="again and again"):
        scale.note(overflow=True)


def test_float16_without_a_gpu_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="'float16' needs a CUDA GPU; this training runs on cpu"):
        table_loop(TableJob(), tmp_path, precision=Precision.FLOAT16)


def test_more_parts_than_batches_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="An epoch has 6 batches, and one step takes 7"):
        table_loop(TableJob(), tmp_path, accumulate=7)


def test_looking_ahead_with_accumulation_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="looks one batch ahead"):
        table_loop(TableJob(), tmp_path, method="autol", accumulate=2)
