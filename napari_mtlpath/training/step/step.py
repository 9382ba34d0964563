"""One optimisation step: batches in, moved weights out, whatever the method, the precision and the processes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from napari_mtlpath.training.loop.averaging import WeightAverage
from napari_mtlpath.training.loop.distributed import Processes
from napari_mtlpath.training.loop.job import Batch, Job
from napari_mtlpath.training.loop.private_random import PrivateRandom
from napari_mtlpath.training.step.optimisation import (
    FACTOR,
    Optimisation,
    Precision,
    make_optimizer,
    parameter_groups,
)
from napari_mtlpath.training.step.step_gradients import Outcome, StepGradients
from napari_mtlpath.training.step.update import StepFacts, Update


class Step:
    """Takes optimisation steps.

    Parameters
    ----------
    job
        Whose batches and losses.
    settings
        How weights move.
    update
        How the tasks are balanced.
    random
        The training's own random numbers; active while :meth:`take` runs.
    processes
        Those that train together.
    seed
        Of the choice of validation batches, for methods that look ahead.

    Raises
    ------
    ValueError
        If the settings cannot be had together, or not on this device.
    """

    def __init__(
        self,
        job: Job,
        settings: Optimisation,
        update: Update,
        *,
        random: PrivateRandom,
        processes: Processes,
        seed: int = 0,
    ) -> None:
        self.job = job
        self.settings = settings
        self.update = update
        self.random = random
        self.processes = processes
        self.device = next(job.module.parameters()).device
        self.generator = torch.Generator().manual_seed(seed)
        _check(settings, update, processes, self.device)
        self.gradients = StepGradients(job, update, precision=settings.precision, random=random, processes=processes)
        groups = parameter_groups(
            job.module, settings.weight_decay, undecayed=update.own_parameters(), factors=job.rate_factors()
        )
        self.optimizer = make_optimizer(groups, settings)
        self.average = WeightAverage(job.module, decay=settings.average)

    def take(self, batches: Sequence[Batch], *, cosines: bool = False) -> Outcome:
        """Move the weights by what this process's `batches` and those of the others say.

        Parameters
        ----------
        batches
            The step's batches of this process, one per accumulation.
        cosines
            Measure how far the tasks conflict, even if the method does not need it.

        Raises
        ------
        FloatingPointError
            If a loss or a gradient is not finite; no weight has moved.
        MemoryError
            If memory ran out, also with half a batch at a time; no weight has moved.
        """
        before = self.random.now()
        self._look_ahead(batches)
        outcome = self.gradients.compute(batches, cosines=cosines)
        if outcome.facts is None:
            return outcome
        norm = float(torch.nn.utils.clip_grad_norm_(self.job.module.parameters(), self.settings.clip_norm))
        if not math.isfinite(norm):
            raise FloatingPointError(f"The norm of the gradient became {norm}")
        self.optimizer.step()
        self._agree_on_buffers()
        self.average.update(self.job.module)
        self._look_back(batches, outcome.facts, before)
        return outcome

    def set_learning_rate(self, rate: float) -> None:
        """Set the rate of all parameters; that of some is a multiple of it."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get(FACTOR, 1.0)

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed training needs, the module's own state left out."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state,
            "average_steps": self.average.steps,
            "update": self.update.state_dict(),
            "generator": self.generator.get_state(),
            "scale": self.gradients.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.state, self.average.steps = state["average"], state["average_steps"]
        self.update.load_state_dict(state["update"])
        self.generator.set_state(state["generator"])
        self.gradients.load_state_dict(state["scale"])

    def _agree_on_buffers(self) -> None:
        """Give all processes the mean of what their batch norms measured."""
        if self.processes.size > 1:
            buffers = [buffer for buffer in self.job.module.buffers() if buffer.is_floating_point()]
            self.processes.sum_all(buffers)
            for buffer in buffers:
                buffer /= self.processes.size

    def _look_ahead(self, batches: Sequence[Batch]) -> None:
        """Let a loss balancer that learns its weights from validation batches look where the step would lead."""
        if not self.update.balancer.losses.needs_virtual_step or not self.job.label_counts(batches[0]):
            return
        held_out = self.job.validation_batch(self.generator)
        self.update.virtual_step(
            train=lambda: self.job.batch_losses(batches[0]),  # in float32: less would drown the finite difference
            validation=lambda: self.job.batch_losses(held_out),
            learning_rate=float(self.optimizer.param_groups[0]["lr"]),
            weight_decay=self.settings.weight_decay,
        )

    def _look_back(self, batches: Sequence[Batch], facts: StepFacts, before: Mapping[str, Tensor]) -> None:
        """Tell the loss balancer what the step changed, if it asks; with the same dropout as before the step."""
        losses = self.update.balancer.losses
        after = None
        if losses.needs_losses_after_step:
            now = self.random.now()
            buffers = {name: buffer.clone() for name, buffer in self.job.module.named_buffers()}
            self.random.restore(before)
            after = self.gradients.losses_now(batches)
            self.random.restore(now)
            for name, buffer in self.job.module.named_buffers():
                buffer.copy_(buffers[name])
        losses.step_ended(facts.losses, after)


def _check(settings: Optimisation, update: Update, processes: Processes, device: torch.device) -> None:
    if settings.precision is Precision.FLOAT16 and device.type != "cuda":
        raise ValueError(
            f"optimisation.precision = 'float16' needs a CUDA GPU; this training runs on {device}. "
            "Use 'bfloat16' or 'float32'."
        )
    parts = settings.accumulate > 1 or processes.size > 1 or settings.precision is Precision.FLOAT16
    if update.uses_representation and parts:
        raise ValueError(
            "balancing.level = 'representation' compares the tasks within one batch: it does not go with "
            "optimisation.accumulate above 1, several processes, or float16. Set level to 'parameters'."
        )
    if update.balancer.losses.needs_virtual_step and parts:
        raise ValueError(
            f"balancing.method = {update.balancer.name!r} looks one batch ahead: it does not go with "
            "optimisation.accumulate above 1, several processes, or float16. Choose another method, or do without them."
        )
