"""The card of a pixel model: what its `model.toml` says about it, as a checked value."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict

from napari_mtlpath.encoders.card_file import CardError, pop_table, read_toml, validated, write_toml
from napari_mtlpath.tasks import AnyTask, Classification, PixelRegression, PixelTask, Regression, Segmentation, Task
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.zoo.card import FORMAT, MODEL_FILE, PIXELS, check_model, read_tasks, task_called

PIXEL_MODELS_FOLDER = "pixel-models"

KINDS: dict[str, type[AnyTask]] = {
    "segmentation": Segmentation,
    "pixel_regression": PixelRegression,
    "classification": Classification,
    "regression": Regression,
}


@dataclass(frozen=True, kw_only=True)
class PixelCard:
    """What a pixel model answers, what it is made of, how good it is and what it was made for.

    Attributes
    ----------
    name
        What users type: the name of its folder.
    title, summary
        What a person reads first.
    tasks
        The questions it answers: of every pixel of a tile, and of the tile as a whole.
    tile
        The tile that it was made for.
    network, options
        Name of a module of ``napari_mtlpath.nn.pixel_networks``, and that network's settings.
    metrics
        By task: a value under its metric's name, the trivial answer's under ``<metric>_floor``, its 95 % interval under
        ``<metric>_low`` and ``<metric>_high``.
    made_for
        Stain and organ, in words.
    masks
        Where the masks come from that it learned and is judged by: who drew them, or how they were derived.
    licence, attribution, limits
        Of the weights and of the data behind them; what it must not be trusted with.
    provenance
        Data, seed, machine, command.
    weights_sha256
        SHA-256 of `model.safetensors`.
    folder
        Where the card lies, or None before it is saved.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    tasks: tuple[AnyTask, ...]
    tile: TileSpec
    network: str
    licence: str
    options: dict[str, Any] = field(default_factory=dict)
    title: str = ""
    summary: str = ""
    made_for: str = ""
    masks: str = ""
    limits: str = ""
    attribution: str = ""
    metrics: dict[str, dict[str, float | str]] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    weights_sha256: str = ""
    folder: Path | None = None

    def __post_init__(self) -> None:
        check_model(self.name, self.tasks, licence=self.licence)

    @property
    def pixel_tasks(self) -> tuple[PixelTask, ...]:
        """The tasks with an answer for every pixel."""
        return tuple(task for task in self.tasks if isinstance(task, Segmentation | PixelRegression))

    @property
    def tile_tasks(self) -> tuple[Task, ...]:
        """The tasks with one answer per tile."""
        return tuple(task for task in self.tasks if isinstance(task, Classification | Regression))

    def task(self, name: str) -> AnyTask:
        """Return the task called `name`; raise ValueError naming the known ones."""
        return task_called(name, self.tasks, model=self.name)


def read_pixel_card(folder: Path) -> PixelCard:
    """Read the card of the pixel model in `folder`.

    Raises
    ------
    FileNotFoundError
        If there is no `model.toml`.
    CardError
        If it cannot be read, is that of another kind of model, or a value is missing, unknown or of the wrong kind.
    """
    what = f"The card {MODEL_FILE} of model {folder.name!r}"
    tables = read_toml(folder / MODEL_FILE, newest=FORMAT)
    kind = tables.pop("kind", None)
    if kind != PIXELS:
        raise CardError(f"{what} is not that of a pixel model, which says kind = {PIXELS!r}; found {kind!r}.")
    architecture = pop_table(tables, "architecture", MODEL_FILE)
    tables["tasks"] = read_tasks(tables, KINDS, what=what)
    tables |= {"network": architecture.pop("network", ""), "options": architecture, "folder": folder}
    return validated(PixelCard, tables, what=what)


def pixel_toml(card: PixelCard) -> str:
    """Return the text of `model.toml` for a card."""
    architecture = {"network": card.network, **card.options}
    return write_toml(card, version=FORMAT, kind=PIXELS, architecture=architecture, without=("network", "options"))
