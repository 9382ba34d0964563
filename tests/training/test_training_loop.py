"""The training loop: learns, resumes bit by bit, stops on NaN with what was good, and can be closed at any time."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from table_job import TableJob, table_loop
from torch import Tensor, nn

from napari_mtlpath.training.loop.averaging import round_to_float16
from napari_mtlpath.training.loop.checkpoint import CHECKPOINT_FILE
from napari_mtlpath.training.loop.job import WHOLE, Job, Validation
from napari_mtlpath.training.loop.loop import Loop, Optimisation
from napari_mtlpath.training.loop.report import Phase, TrainingReport


class LineJob(Job):
    """Learns y = 2 x with dropout, so that every kind of chance takes part."""

    def __init__(self, *, nan_at: int | None = None, scores: list[float] | None = None) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.module = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.2), nn.BatchNorm1d(16), nn.Linear(16, 1))
        self.steps_per_epoch = 6
        self.nan_at = nan_at
        self.scores = scores
        self.steps = 0
        self.published: dict[str, Tensor] = {}

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[Tensor]:
        for _ in range(self.steps_per_epoch):
            yield torch.randn(32, 4, generator=generator)

    def batch_losses(self, batch: Tensor) -> dict[str, Tensor]:
        loss = (self.module(batch) - 2 * batch[:, :1]).square().mean()
        self.steps += 1
        return {WHOLE: loss * math.nan if self.steps == self.nan_at else loss}

    def validate(self) -> Validation:
        if self.scores is not None:
            return Validation(score=self.scores.pop(0))
        x = torch.linspace(-1, 1, 32).view(8, 4)
        return Validation(score=-float((self.module(x) - 2 * x[:, :1]).detach().square().mean()))

    def publish(self, folder: Path, *, facts: Mapping[str, str | int | float]) -> Path:
        self.published = {name: value.clone() for name, value in self.module.state_dict().items()}
        return folder


def run(job: Job, folder: Path, *, stop_after: int | None = None, **settings: float) -> list[TrainingReport]:
    """Train `job` for 5 epochs, or close the generator after the epoch `stop_after`."""
    chosen = {"epochs": 5, "learning_rate": 1e-2, "average": 0.5, **settings}
    loop = Loop(job, Optimisation(**chosen), seed=3, folder=folder, key="key")
    reports = []
    generator = loop.run(output=folder / "model")
    for report in generator:
        reports.append(report)
        if report.phase is Phase.EPOCH and report.epoch == stop_after:
            generator.close()
    return reports


def test_training_improves_and_ends_with_the_folder(tmp_path: Path):
    reports = run(LineJob(), tmp_path, epochs=20)
    epochs = [report for report in reports if report.phase is Phase.EPOCH]
    assert epochs[-1].best_score > epochs[0].score + 0.1
    assert reports[-1].phase is Phase.DONE
    assert reports[-1].output == tmp_path / "model"
    assert not (tmp_path / CHECKPOINT_FILE).exists()


def test_resumed_training_ends_with_the_same_bits(tmp_path: Path):
    whole, first, second = LineJob(), LineJob(), LineJob()
    run(whole, tmp_path / "whole")
    run(first, tmp_path / "halved", stop_after=2)
    torch.rand(7)  # what else runs in the process draws random numbers too
    run(second, tmp_path / "halved")
    assert second.steps == 3 * second.steps_per_epoch
    assert all(torch.equal(whole.published[name], second.published[name]) for name in whole.published)


def test_equal_weights_take_the_plain_step_bit_by_bit(tmp_path: Path):
    job, plain = TableJob(batch=8), TableJob(batch=8)
    list(table_loop(job, tmp_path, average=0.0, epochs=2).run(output=tmp_path / "model"))
    weights = [parameter for parameter in plain.module.parameters() if parameter.ndim >= 2]
    others = [parameter for parameter in plain.module.parameters() if parameter.ndim < 2]
    optimizer = torch.optim.AdamW([{"params": weights, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}])
    generator = torch.Generator().manual_seed(3)
    for step, batch in enumerate(batch for epoch in (0, 1) for batch in plain.batches(epoch, generator)):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * 0.5 * (1 + math.cos(math.pi * step / 6))
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(plain.batch_losses(batch).values())).mean().backward()
        torch.nn.utils.clip_grad_norm_(plain.module.parameters(), 5.0)
        optimizer.step()
    assert job.seen == plain.seen
    last = dict(plain.module.state_dict())
    assert all(torch.equal(value, last[name]) for name, value in job.published.items())


def test_training_leaves_the_global_random_state_alone(tmp_path: Path):
    state = torch.get_rng_state()
    run(LineJob(), tmp_path)
    assert torch.equal(torch.get_rng_state(), state)


def test_closing_leaves_the_last_whole_epoch_and_nothing_half_written(tmp_path: Path):
    job = LineJob()
    run(job, tmp_path, stop_after=2)
    assert not job.published
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_FILE]


def test_nan_loss_stops_and_keeps_the_last_good_weights(tmp_path: Path):
    job = LineJob(nan_at=15)
    reports = run(job, tmp_path)
    assert reports[-1].phase is Phase.DONE
    assert "nan in epoch 3, step 3; kept the weights of epoch 2" in reports[-1].stopped
    assert all(torch.isfinite(value).all() for value in job.published.values())


def test_nan_in_the_first_epoch_publishes_nothing(tmp_path: Path):
    job = LineJob(nan_at=2)
    with pytest.raises(FloatingPointError, match="No epoch was finished"):
        run(job, tmp_path)
    assert not job.published


def test_best_epoch_is_kept_and_patience_ends_the_training(tmp_path: Path):
    job = LineJob(scores=[0.1, 0.9, 0.5, 0.4, 0.3])
    reports = run(job, tmp_path, patience=2)
    epochs = [report.epoch for report in reports if report.phase is Phase.EPOCH]
    assert epochs == [1, 2, 3, 4]
    assert reports[-1].best_epoch == 2
    assert "kept the weights of epoch 2" in reports[-1].stopped


class TwoScores(LineJob):
    """Its mean score rises while that of task `b` falls after the second epoch."""

    @property
    def task_names(self) -> tuple[str, ...]:
        return ("a", "b")

    def batch_losses(self, batch: Tensor) -> dict[str, Tensor]:
        return dict.fromkeys(("a", "b"), super().batch_losses(batch)[WHOLE])

    def validate(self) -> Validation:
        assert self.scores is not None
        epoch = self.scores.pop(0)
        return Validation(score=epoch, scores={"a": 3 * epoch, "b": -abs(epoch - 2.0)})


def test_main_task_decides_which_epoch_is_best_and_when_to_stop(tmp_path: Path):
    reports = run(TwoScores(scores=[1.0, 2.0, 3.0, 4.0, 5.0]), tmp_path / "main", patience=2, main_task="b")
    assert [report.epoch for report in reports if report.phase is Phase.EPOCH] == [1, 2, 3, 4]
    assert reports[-1].best_epoch == 2
    assert run(TwoScores(scores=[1.0, 2.0, 3.0, 4.0, 5.0]), tmp_path / "mean", patience=2)[-1].best_epoch == 5


def test_unknown_main_task_is_refused_with_the_nearest(tmp_path: Path):
    with pytest.raises(ValueError, match=r"main_task: there is no task 'los'. Did you mean 'loss'\?"):
        run(LineJob(), tmp_path, main_task="los")


def test_training_that_cannot_be_judged_keeps_its_last_epoch_and_says_so(tmp_path: Path):
    reports = run(LineJob(scores=[math.nan] * 5), tmp_path)
    assert reports[-1].best_epoch == 5
    assert all("could not be judged" in report.warnings[0] for report in reports[:-1])


def test_checkpoint_of_another_config_is_refused(tmp_path: Path):
    run(LineJob(), tmp_path, stop_after=1)
    loop = Loop(LineJob(), Optimisation(epochs=2, learning_rate=1e-2), seed=3, folder=tmp_path, key="other")
    with pytest.raises(ValueError, match="another config"):
        next(loop.run(output=tmp_path / "model"))


def test_float16_rounding_is_stable():
    module = nn.Linear(8, 8)
    round_to_float16(module)
    once = module.weight.detach().clone()
    round_to_float16(module)
    assert torch.equal(once, module.weight)
    assert torch.equal(once, once.half().float())
