"""A training stopped after any step goes on as if it had never stopped, whatever draws chance or remembers."""

from pathlib import Path

import pytest
import torch
from table_job import TableJob, table_loop

from napari_mtlpath.training.loop import loop as loop_module
from napari_mtlpath.training.loop.checkpoint import CHECKPOINT_FILE, load_checkpoint
from napari_mtlpath.training.loop.report import Phase

METHODS = ("equal", "uncert+graddrop", "dwa+pcgrad", "autol", "famo")


@pytest.fixture(autouse=True)
def _reports_after_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "REPORT_SECONDS", -1.0)


def stop_after(job: TableJob, folder: Path, *, steps: int, method: str, **settings: object) -> None:
    """Train until `steps` steps are done in all, and close the training there."""
    reports = table_loop(job, folder, method=method, **settings).run(output=folder / "model")
    for report in reports:
        if report.step == steps:
            reports.close()


def finish(job: TableJob, folder: Path, *, method: str, **settings: object) -> dict[str, torch.Tensor]:
    *_, last = table_loop(job, folder, method=method, **settings).run(output=folder / "model")
    assert last.phase is Phase.DONE
    return job.published


@pytest.mark.parametrize("method", METHODS)
def test_training_stopped_within_an_epoch_ends_with_the_same_bits(method: str, tmp_path: Path):
    whole = finish(TableJob(dropout=0.3), tmp_path / "whole", method=method)
    stop_after(TableJob(dropout=0.3), tmp_path / "parts", steps=8, method=method)
    stop_after(TableJob(dropout=0.3), tmp_path / "parts", steps=11, method=method)
    torch.rand(3)  # what else runs in the process draws random numbers too
    parts = finish(TableJob(dropout=0.3), tmp_path / "parts", method=method)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_resumed_epoch_shows_each_sample_once(tmp_path: Path):
    first, second = TableJob(), TableJob()
    stop_after(first, tmp_path, steps=2, method="equal", epochs=1)
    finish(second, tmp_path, method="equal", epochs=1)
    assert sorted(row for batch in first.seen + second.seen for row in batch) == list(range(24))


def test_accumulated_steps_resume_too(tmp_path: Path):
    whole = finish(TableJob(dropout=0.3), tmp_path / "whole", method="cagrad", accumulate=2)
    stop_after(TableJob(dropout=0.3), tmp_path / "parts", steps=4, method="cagrad", accumulate=2)
    parts = finish(TableJob(dropout=0.3), tmp_path / "parts", method="cagrad", accumulate=2)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_killed_training_loses_no_more_than_the_time_between_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loop_module, "CHECKPOINT_SECONDS", -1.0)
    reports = table_loop(TableJob(), tmp_path).run(output=tmp_path / "model")
    kept = (next(report for report in reports if report.step == 4), load_checkpoint(tmp_path, key="key"))
    assert kept[1] is not None
    assert kept[1]["step"] == 4


def test_closing_leaves_a_checkpoint_of_tensors_and_plain_values_only(tmp_path: Path):
    stop_after(TableJob(), tmp_path, steps=3, method="uncert+pcgrad")
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_FILE]
    assert torch.load(tmp_path / CHECKPOINT_FILE, weights_only=True)["step"] == 3


def test_reports_tell_losses_weights_conflicts_and_the_time_left(tmp_path: Path):
    reports = list(table_loop(TableJob(), tmp_path, method="uncert+pcgrad").run(output=tmp_path / "model"))
    within = reports[1]
    assert set(within.losses) == set(within.weights) == {"a", "b", "c"}
    assert within.loss == pytest.approx(sum(within.losses.values()) / 3)
    assert set(within.conflicts) == {("a", "b"), ("a", "c"), ("b", "c")}
    assert all(-1.0 <= cosine <= 1.0 for cosine in within.conflicts.values())
    assert within.seconds_left > 0
    assert reports[-1].seconds_left == 0
