"""Which tasks of a model were taught after its training."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from napari_mtlpath.tasks import Task

if TYPE_CHECKING:
    from napari_mtlpath.zoo.card import ModelCard

MOST_GENERATIONS = 256
"""A model has at most so many tasks; a longer chain of parents was not written by us."""


def taught_tasks(card: "ModelCard") -> tuple[Task, ...]:
    """Return the tasks that a card says were taught, to the model itself or to one that it descends from."""
    names: set[object] = set()
    provenance: object = card.provenance
    for _ in range(MOST_GENERATIONS):
        if not isinstance(provenance, Mapping):
            break
        taught = provenance.get("taught")
        names.update(taught if isinstance(taught, list | tuple) else [taught])
        provenance = provenance.get("parent_provenance")
    return tuple(task for task in card.tasks if task.name in names)
