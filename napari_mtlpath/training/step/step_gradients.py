"""The gradients of one step: of one batch, or summed over batches and processes, in halves where memory is short."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from napari_mtlpath.balancing.balancer import DEFAULT
from napari_mtlpath.training.loop.distributed import Processes
from napari_mtlpath.training.loop.job import Batch, Job
from napari_mtlpath.training.loop.private_random import PrivateRandom
from napari_mtlpath.training.step.gathered import GatheredGradients
from napari_mtlpath.training.step.loss_scale import LossScale
from napari_mtlpath.training.step.memory import is_out_of_memory, release_memory
from napari_mtlpath.training.step.optimisation import Precision
from napari_mtlpath.training.step.small_images import exact_on_small_images
from napari_mtlpath.training.step.update import StepFacts, Update

logger = logging.getLogger(__name__)

NO_LABELS = "no sample of it has a label"
OVERFLOW = "its gradient overflowed float16"
TOTAL = "total"
"""Name of the mean over the tasks where their gradients need not be told apart."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a step: facts of one that was taken, or why it was left out."""

    facts: StepFacts | None = None
    skipped: str = ""


class StepGradients:
    """Computes the gradients of a step.

    A step of one batch in one process computes its gradients directly. Otherwise (several batches, processes, or a loss
    scale) the gradients of each task are summed over all parts first, each weighted by its share of the task's labels,
    so that a balancing method sees what it would see in one large batch. That takes the memory of one batch and of one
    copy of the parameters per task.

    Parameters
    ----------
    job
        Whose module and losses.
    update
        How the tasks are balanced.
    precision
        Of the forward pass; float16 brings a loss scale.
    random
        The training's own random numbers; active while :meth:`compute` runs.
    processes
        Those that train together.
    """

    def __init__(
        self, job: Job, update: Update, *, precision: Precision, random: PrivateRandom, processes: Processes
    ) -> None:
        self.job = job
        self.update = update
        self.precision = precision
        self.random = random
        self.processes = processes
        self.device = next(job.module.parameters()).device
        self.parameters = [parameter for parameter in job.module.parameters() if parameter.requires_grad]
        self.scale = LossScale() if precision is Precision.FLOAT16 else None

    def compute(self, batches: Sequence[Batch], *, cosines: bool) -> Outcome:
        """Set the gradient of every parameter that the batches reach, and say what the losses were.

        Parameters
        ----------
        batches
            The step's batches of this process.
        cosines
            Measure how far the tasks conflict, even if the method does not need it.

        Raises
        ------
        FloatingPointError
            If a loss is not finite.
        MemoryError
            If memory ran out, also with half a batch at a time.
        """
        self._forget()
        if len(batches) > 1 or self.processes.size > 1 or self.scale is not None:
            return self._of_parts(batches, cosines, may_split=True)
        before = self.random.now()
        try:
            return self._of_one(batches[0], cosines)
        except (RuntimeError, MemoryError) as error:
            halves = self._halves(batches[0], error)
        self._forget()
        release_memory()  # behind the `except`, whose error held on to the graph
        self.random.restore(before)
        return self._of_parts(halves, cosines, may_split=False)

    @torch.no_grad()
    def losses_now(self, batches: Sequence[Batch]) -> dict[str, float]:
        """Return the loss of each task with a label over all batches and processes, without gradients."""
        totals = self._label_totals(batches)
        tasks = [name for name, total in totals.items() if total > 0]
        parts = [self._losses(batch, totals) for batch in batches]
        sums = torch.tensor([sum(float(part[name]) for part in parts if name in part) for name in tasks]).double()
        return dict(zip(tasks, self.processes.sum(sums).tolist(), strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Return the loss scale's state; nothing where there is none."""
        return self.scale.state_dict() if self.scale else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        if self.scale and state:
            self.scale.load_state_dict(state)

    def _of_one(self, batch: Batch, cosines: bool) -> Outcome:
        losses = self._losses(batch)
        if not losses:
            return Outcome(skipped=NO_LABELS)
        _check_finite({name: float(loss.detach()) for name, loss in losses.items()})
        return Outcome(facts=self.update.backward(losses, cosines=cosines))

    def _of_parts(self, batches: Sequence[Batch], cosines: bool, *, may_split: bool) -> Outcome:
        totals = self._label_totals(batches)
        tasks = [name for name, total in totals.items() if total > 0]
        if not tasks:
            return Outcome(skipped=NO_LABELS)
        plain = self.update.balancer.name == DEFAULT and not cosines
        gathered = GatheredGradients(
            [TOTAL] if plain else tasks, self.parameters, scale=self.scale.value if self.scale else 1.0
        )
        values = self._sum(gathered, [(batch, may_split) for batch in batches], totals, plain=plain)
        _check_finite(values)
        if self._overflowed(gathered):
            return Outcome(skipped=OVERFLOW)
        if not plain:
            return Outcome(facts=self.update.backward(gathered.losses(values), cosines=cosines))
        gathered.write(TOTAL)
        return Outcome(facts=StepFacts(tasks=tuple(tasks), losses=values, weights=dict.fromkeys(tasks, 1.0)))

    def _sum(
        self,
        gathered: GatheredGradients,
        waiting: list[tuple[Batch, bool]],
        totals: Mapping[str, float],
        *,
        plain: bool,
    ) -> dict[str, float]:
        """Add up the gradients of all parts in all processes; return the loss of each task over all of them.

        `waiting` says of each batch whether it may be divided when it does not fit into the memory.
        """
        values = {name: 0.0 for name, total in totals.items() if total > 0}
        while waiting:
            batch, divisible = waiting.pop(0)
            halves = None
            try:
                part = self._add(gathered, batch, totals, plain=plain)
            except (RuntimeError, MemoryError) as error:
                if not divisible:
                    raise _too_large(error) from None
                halves = self._halves(batch, error)
            if halves is not None:
                release_memory()
                waiting[:0] = [(half, False) for half in halves]
                continue
            values = {name: value + part.get(name, 0.0) for name, value in values.items()}
        gathered.sum_over(self.processes)
        summed = self.processes.sum(torch.tensor(list(values.values()), dtype=torch.float64))
        return dict(zip(values, summed.tolist(), strict=True))

    def _add(
        self, gathered: GatheredGradients, batch: Batch, totals: Mapping[str, float], *, plain: bool
    ) -> dict[str, float]:
        """Add one batch's gradients; return its share of each task's loss."""
        losses = self._losses(batch, totals)
        if losses:
            present = sum(total > 0 for total in totals.values())
            gathered.add({TOTAL: torch.stack(list(losses.values())).sum() / present} if plain else losses)
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _losses(self, batch: Batch, totals: Mapping[str, float] | None = None) -> dict[str, Tensor]:
        """Return a batch's losses, weighted by its share of the labels if their totals are given."""
        precision = self.precision
        with (
            torch.autocast(
                self.device.type,
                dtype=precision.dtype if precision is not Precision.FLOAT32 else torch.bfloat16,
                enabled=precision is not Precision.FLOAT32,
            ),
            exact_on_small_images(),
            self.update.recording(),
        ):
            losses = dict(self.job.batch_losses(batch))
        if totals is None:
            return losses
        counts = self.job.label_counts(batch)
        return {name: loss * (counts[name] / totals[name]) for name, loss in losses.items()}

    def _label_totals(self, batches: Sequence[Batch]) -> dict[str, float]:
        counts = [self.job.label_counts(batch) for batch in batches]
        names = self.job.task_names
        totals = torch.tensor([float(sum(count.get(name, 0) for count in counts)) for name in names]).double()
        return dict(zip(names, self.processes.sum(totals).tolist(), strict=True))

    def _overflowed(self, gathered: GatheredGradients) -> bool:
        if self.scale is None:
            return False
        overflow = not gathered.finite
        self.scale.note(overflow=overflow)
        return overflow

    def _halves(self, batch: Batch, error: BaseException) -> tuple[Batch, Batch]:
        """Return the halves of a batch that did not fit; raise what cannot be helped."""
        if not is_out_of_memory(error):
            raise error
        halves = None if self.update.uses_representation else self.job.split(batch)
        if halves is None:
            raise _too_large(error) from None
        logger.warning("Memory ran out on %s; the batch is computed again in two halves.", self.device)
        return halves

    def _forget(self) -> None:
        for parameter in [*self.parameters, *self.update.own_parameters()]:
            parameter.grad = None  # not 0, so that an absent task's head is not moved by weight decay


def _check_finite(losses: Mapping[str, float]) -> None:
    for name, value in losses.items():
        if not math.isfinite(value):
            raise FloatingPointError(
                f"The loss of {name} became {value}" if len(losses) > 1 else f"The loss became {value}"
            )


def _too_large(error: BaseException) -> BaseException:
    if not is_out_of_memory(error):
        return error
    return MemoryError(
        "Memory ran out, also with half a batch at a time. Close other programs and run the same command again, or "
        "lower optimisation.batch (raise optimisation.accumulate by as much: the result is the same up to rounding), "
        f"or show fewer tiles of a slide at a time. ({str(error).splitlines()[0] if str(error) else 'no details'})"
    )
