"""What all tables of a training config share: no unknown keys, no changes after reading."""

from pydantic import BaseModel, ConfigDict


class Table(BaseModel):
    """One table of a training config."""

    model_config = ConfigDict(extra="forbid", frozen=True)
