"""A job of three tasks on a small table with unknown labels: everything that training does, in milliseconds."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from napari_mtlpath.balancing.balancer import parse
from napari_mtlpath.training.loop.job import Job, Validation
from napari_mtlpath.training.loop.loop import Loop
from napari_mtlpath.training.step.optimisation import Optimisation
from napari_mtlpath.training.step.update import Update

TASKS = ("a", "b", "c")


class TableNet(nn.Module):
    """A trunk with dropout, and a linear head per task."""

    def __init__(self, *, dropout: float) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(dropout))
        self.heads = nn.ModuleDict({task: nn.Linear(8, 1) for task in TASKS})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        shared = self.trunk(x)
        return {task: head(shared)[:, 0] for task, head in self.heads.items()}

    def shared_parameters(self) -> list[nn.Parameter]:
        return list(self.trunk.parameters())

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        return list(self.heads[task].parameters())


class TableJob(Job):
    """Learns three linear functions of which some values are unknown."""

    def __init__(self, *, rows: int = 24, batch: int = 4, dropout: float = 0.0, unknown: float = 0.3) -> None:
        generator = torch.Generator().manual_seed(7)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.module = TableNet(dropout=dropout)
        self.x = torch.randn(rows, 6, generator=generator)
        self.labels = self.x @ torch.randn(6, 3, generator=generator)
        self.labels[torch.rand(rows, 3, generator=generator) < unknown] = torch.nan
        self.batch = batch
        self.steps_per_epoch = rows // batch
        self.seen: list[list[int]] = []
        self.published: dict[str, Tensor] = {}

    @property
    def task_names(self) -> tuple[str, ...]:
        return TASKS

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[Tensor]:
        yield from torch.randperm(len(self.x), generator=generator).split(self.batch)[: self.steps_per_epoch]

    def batch_losses(self, batch: Tensor) -> dict[str, Tensor]:
        self.seen.append(batch.tolist())
        answers = self.module(self.x[batch])
        losses = {}
        for column, task in enumerate(TASKS):
            known = ~self.labels[batch, column].isnan()
            if known.any():
                losses[task] = (answers[task][known] - self.labels[batch, column][known]).square().mean()
        return losses

    def label_counts(self, batch: Tensor) -> dict[str, int]:
        return {task: int((~self.labels[batch, column].isnan()).sum()) for column, task in enumerate(TASKS)}

    def split(self, batch: Tensor) -> tuple[Tensor, Tensor] | None:
        middle = len(batch) // 2
        return (batch[:middle], batch[middle:]) if middle else None

    def validation_batch(self, generator: torch.Generator) -> Tensor:
        return torch.randperm(len(self.x), generator=generator)[: self.batch]

    @torch.no_grad()
    def validate(self) -> Validation:
        answers = self.module(self.x)
        scores = {
            task: -float((answers[task] - self.labels[:, column]).square().nanmean())
            for column, task in enumerate(TASKS)
        }
        return Validation(score=sum(scores.values()) / 3, metrics={"error": -sum(scores.values())}, scores=scores)

    def publish(self, folder: Path, *, facts: Mapping[str, str | int | float]) -> Path:
        self.published = {name: value.clone() for name, value in self.module.state_dict().items()}
        return folder


def table_loop(job: Job, folder: Path, *, method: str = "equal", **settings: object) -> Loop:
    """Return a loop over `job` with a balancing method."""
    chosen = {"epochs": 3, "learning_rate": 1e-2, "average": 0.5} | settings
    update = Update(job.module, parse(method, tasks=job.task_names), generator=torch.Generator().manual_seed(5))
    return Loop(job, Optimisation(**chosen), seed=3, folder=folder, key="key", update=update)
