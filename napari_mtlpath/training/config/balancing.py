"""The ``[balancing]`` table of a training config."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from napari_mtlpath.balancing.balancer import DEFAULT, Balancer, parse
from napari_mtlpath.training.config.table import Table


class BalancingTable(Table):
    """The ``[balancing]`` table: how the tasks share the parameters that belong to all of them.

    Attributes
    ----------
    method
        A loss method, a gradient method, or both: ``equal``, ``uncert``, ``pcgrad``, ``dwa+cagrad``.
    level
        Whether a gradient method sees the gradients of all shared parameters, or (faster, an approximation) those of
        the shared representation.
    cosines_every
        Measure the cosines between the tasks' gradients every so many steps, which costs a backward pass per task; 0
        leaves it to the methods that have them anyway.
    options
        A table for each of the methods named, such as ``[balancing.options.cagrad]`` with ``c = 0.4``.
    """

    method: str = DEFAULT
    level: Literal["parameters", "representation"] = "parameters"
    cosines_every: int = Field(default=0, ge=0)
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @field_validator("method")
    @classmethod
    def _known(cls, method: str) -> str:
        return parse(method, tasks=("a", "b")).name

    @model_validator(mode="after")
    def _fitting_options(self) -> "BalancingTable":
        # What tasks `main` of autol may name is known only when the training starts.
        known = {
            name: {key: value for key, value in table.items() if key != "main"} for name, table in self.options.items()
        }
        parse(self.method, tasks=("a", "b"), options=known)
        return self

    def balancer(self, tasks: tuple[str, ...]) -> Balancer:
        """Return the balancer of the tasks named."""
        return parse(self.method, tasks=tasks, options=self.options)
