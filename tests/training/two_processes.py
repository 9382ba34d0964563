"""One of two processes that train together; started by test_distributed_training with the variables of torchrun."""

import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
from made_cohort import cohort_config
from table_job import TASKS, TableJob

from napari_mtlpath.balancing.balancer import parse
from napari_mtlpath.training.loop import loop as loop_module
from napari_mtlpath.training.loop.distributed import Processes, joined
from napari_mtlpath.training.loop.job import Batch
from napari_mtlpath.training.loop.loop import Loop
from napari_mtlpath.training.step.optimisation import Optimisation
from napari_mtlpath.training.step.update import Update
from napari_mtlpath.training.train import train

DEATH = 7


class DyingJob(TableJob):
    """Ends its process without a word at the fourth batch."""

    def batch_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        if len(self.seen) == 3:
            os._exit(DEATH)
        return super().batch_losses(batch)


def make_loop(job: TableJob, folder: Path, processes: Processes, *, method: str) -> Loop:
    update = Update(job.module, parse(method, tasks=TASKS), generator=torch.Generator().manual_seed(5))
    settings = Optimisation(epochs=2, learning_rate=1e-2, average=0.5)
    return Loop(job, settings, seed=3, folder=folder, key="key", update=update, processes=processes)


def train_folds_and_teachers(home: Path, *, batch: int) -> None:
    """Train a teacher and its student for each of two folds, in as many processes as there are."""
    optimisation = {"epochs": 2, "batch": batch, "learning_rate": 0.02, "weight_decay": 0.0}
    tables = {"distillation": {"teacher_epochs": 2}, "optimisation": optimisation}
    config = cohort_config("both", tables=tables, folds=2)
    list(train(config, output=home / "both", runs=home / "runs", data=(home / "cohort",)))


def main(home: Path) -> None:
    """Train folds and teachers; train with several methods; stop and resume; lose the other process."""
    last_port = os.environ["MASTER_PORT"]
    os.environ["MASTER_PORT"] = os.environ["FIRST_PORT"]  # each group of processes meets at a port of its own
    train_folds_and_teachers(home, batch=4)
    os.environ["MASTER_PORT"] = last_port
    with joined(wait=timedelta(seconds=120)) as processes:
        for method in ("equal", "uncert+pcgrad"):
            job = TableJob(batch=4)
            list(make_loop(job, home / method, processes, method=method).run(output=home / method / "model"))
            if processes.leads:
                torch.save(job.published, home / f"{method}.pt")
            assert processes.leads or not job.published
        stop_and_go_on(home, processes)
        lose_the_other(home, processes)


def stop_and_go_on(home: Path, processes: Processes) -> None:
    """Close the training in the second process only; both must stop at that step and go on from it."""
    loop_module.REPORT_SECONDS = -1.0
    reports = make_loop(TableJob(dropout=0.3), home / "stop", processes, method="equal").run(output=home / "model")
    last = 0
    for report in reports:
        last = report.step
        if last == 2 and not processes.leads:
            reports.close()
    assert last == 2, f"rank {processes.rank} stopped at step {last}"
    processes.any(False)  # the leader has written its checkpoint, from which both go on
    for name in ("stop", "whole"):
        job = TableJob(dropout=0.3)
        list(make_loop(job, home / name, processes, method="equal").run(output=home / "model"))
        if processes.leads:
            torch.save(job.published, home / f"{name}.pt")


def lose_the_other(home: Path, processes: Processes) -> None:
    job = TableJob() if processes.leads else DyingJob()
    try:
        list(make_loop(job, home / "lost", processes, method="equal").run(output=home / "model"))
    except ConnectionError as error:
        (home / "said.txt").write_text(str(error), encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
