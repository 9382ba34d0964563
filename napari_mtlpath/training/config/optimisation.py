"""The ``[optimisation]`` table of a training config."""

from typing import ClassVar, Literal

from pydantic import Field

from napari_mtlpath.training.config.table import Table
from napari_mtlpath.training.step.optimisation import Optimisation, Optimizer, Pace, Precision


class OptimisationTable(Table):
    """The ``[optimisation]`` table; see :class:`napari_mtlpath.training.step.optimisation.Optimisation`.

    One step learns from `batch` x `accumulate` samples, times the number of processes that ``torchrun`` starts.
    """

    later: ClassVar[frozenset[str]] = frozenset({"schedule", "main_task", "accumulate", "optimizer", "momentum"})

    epochs: int = Field(ge=1)
    batch: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    warmup_epochs: float = Field(default=0.0, ge=0)
    clip_norm: float = Field(default=5.0, gt=0)
    average: float = Field(default=0.0, ge=0, lt=1)
    patience: int = Field(default=0, ge=0)
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    schedule: Literal["step", "epoch", "constant"] = "step"
    main_task: str = ""
    accumulate: int = Field(default=1, ge=1)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    momentum: float = Field(default=0.9, ge=0, lt=1)

    def settings(self) -> Optimisation:
        """Return what the loop takes."""
        plain = {name: getattr(self, name) for name in type(self).model_fields if name != "batch"}
        plain |= {"schedule": Pace(self.schedule), "precision": Precision(self.precision)}
        plain |= {"optimizer": Optimizer(self.optimizer)}
        return Optimisation(**plain)
