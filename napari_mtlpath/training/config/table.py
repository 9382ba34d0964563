"""What all tables of a training config share: no unknown keys, no changes after reading."""

from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_serializer


class Table(BaseModel):
    """One table of a training config.

    Attributes
    ----------
    later
        Keys that came after the first release. They are left out of what is written while they have their defaults, so
        that the digest of an old config (see :func:`napari_mtlpath.training.config.train_config.config_key`) stays what
        it was.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    later: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, write: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        fields = type(self).model_fields
        return {
            key: value
            for key, value in write(self).items()
            if key not in self.later or getattr(self, key) != fields[key].get_default(call_default_factory=True)
        }
