"""An aggregator whose architecture is one value: what building and describing it have in common."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from napari_mtlpath.nn.aggregator import Aggregator, check_tasks
from napari_mtlpath.nn.options import check_count, plain_options, read_options
from napari_mtlpath.nn.seeding import initialised_by
from napari_mtlpath.tasks import Task


class ConfiguredAggregator(Aggregator):
    """An aggregator that names its frozen dataclass of options and assembles its modules from it.

    A subclass sets `options_kind`, annotates `architecture` with it, and makes its modules in :meth:`_assemble`.

    Parameters
    ----------
    tasks, features
        As in :meth:`build`.
    architecture
        A value of `options_kind`.
    generator
        Makes the starting weights reproducible.
    """

    options_kind: ClassVar[type[Any]]
    architecture: Any

    def __init__(
        self,
        *,
        tasks: Sequence[Task],
        features: int,
        architecture: object,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_count("features", features)
        self.tasks = check_tasks(tasks)
        self.features = features
        self.architecture = architecture
        with initialised_by(generator):
            self._assemble()

    @classmethod
    def build(
        cls,
        *,
        tasks: Sequence[Task],
        features: int,
        options: Mapping[str, Any],
        generator: torch.Generator | None = None,
    ) -> "ConfiguredAggregator":
        """Build from a plain table of the options of `options_kind`."""
        architecture = read_options(cls.options_kind, options)
        return cls(tasks=tasks, features=features, architecture=architecture, generator=generator)

    @property
    def options(self) -> dict[str, Any]:
        """The plain table from which :meth:`build` makes this architecture again."""
        return plain_options(self.architecture)

    @abstractmethod
    def _assemble(self) -> None:
        """Make the modules from `tasks`, `features` and `architecture`."""
