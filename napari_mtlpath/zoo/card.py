"""The card of a slide model: what `model.toml` says about it, as a checked value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import ConfigDict

from napari_mtlpath.encoders.card_file import CardError, check_name, pop_table, read_toml, validated, write_toml
from napari_mtlpath.tasks import AnyTask, Classification, Regression, Task
from napari_mtlpath.tiles.spec import TileSpec

MODEL_FILE = "model.toml"
MODEL_WEIGHTS = "model.safetensors"
FORMAT = 1
"""Version of the layout of `model.toml`."""

MAX_TASKS = 256

PIXELS = "pixels"
"""What the card of a pixel model says under ``kind``; that of a slide model says nothing."""

KnownTask = TypeVar("KnownTask", bound=AnyTask)


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a slide model answers, what it is made of, how good it is and what it was made for.

    Attributes
    ----------
    name
        What users type: the name of its folder.
    title, summary
        What a person reads first.
    tasks
        The questions it answers, in the order of its outputs.
    encoder, encoder_sha256
        Name of its tile encoder, and that encoder's ``digest``: weights, architecture and preprocessing.
    tile
        The tile that it was made for.
    aggregator, options
        Name of a module of ``napari_mtlpath.nn.aggregators``, and that aggregator's settings.
    metrics
        By task: a value under its metric's name, the trivial answer's under ``<metric>_floor``, its 95 % interval under
        ``<metric>_low`` and ``<metric>_high``.
    made_for
        Stain and organ, in words.
    licence, attribution, limits
        Of the weights and of the data behind them; what it must not be trusted with.
    calibration
        By task: what ``mtlpath evaluate --calibrate`` fitted, such as ``{"temperature": 1.4}``, with what it was fitted
        on and its error. A task that is not listed gives scores, not probabilities.
    operating_points
        By binary task: the raw ``logit`` from which on it is called positive, chosen on selection data.
    conformal
        By classification: ``coverage`` and per class ``thresholds`` of prediction sets, set on selection data.
    slide_labels_only
        Whether it learned from labels of whole slides alone: then answers tile by tile, which the network could give,
        are not shown, because nobody has judged them.
    tile_labels
        By task that learned from labelled tiles, how many: its answers tile by tile are shown although the model's
        first tasks learned from whole slides alone.
    tile_tasks
        Tasks that are asked of each tile: the model's answer about a slide is the mean over its tiles, never a
        prediction about the slide, and has to be called so.
    provenance
        Data, seed, machine, command.
    weights_sha256
        SHA-256 of `model.safetensors`.
    folder
        Where the card lies, or None before it is saved.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    tasks: tuple[Task, ...]
    encoder: str
    encoder_sha256: str
    tile: TileSpec
    aggregator: str
    options: dict[str, Any] = field(default_factory=dict)
    licence: str
    title: str = ""
    summary: str = ""
    made_for: str = ""
    limits: str = ""
    attribution: str = ""
    metrics: dict[str, dict[str, float | str]] = field(default_factory=dict)
    calibration: dict[str, dict[str, float | str]] = field(default_factory=dict)
    operating_points: dict[str, dict[str, float | str]] = field(default_factory=dict)
    conformal: dict[str, dict[str, float | str | list[float]]] = field(default_factory=dict)
    slide_labels_only: bool = False
    tile_labels: dict[str, int] = field(default_factory=dict)
    tile_tasks: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    weights_sha256: str = ""
    folder: Path | None = None

    def __post_init__(self) -> None:
        names = check_model(self.name, self.tasks, licence=self.licence)
        strangers = sorted({*self.calibration, *self.operating_points, *self.conformal} - set(names))
        if strangers:
            raise ValueError(f"Model {self.name!r} is calibrated for {strangers}, which are none of its tasks {names}.")
        unknown = sorted(set(self.tile_tasks) - set(names))
        if unknown:
            raise ValueError(f"Model {self.name!r} names {unknown} in tile_tasks, which are none of its tasks {names}.")

    def task(self, name: str) -> Task:
        """Return the task called `name`; raise ValueError naming the known ones."""
        return task_called(name, self.tasks, model=self.name)


def check_model(name: str, tasks: Sequence[AnyTask], *, licence: str) -> list[str]:
    """Return the tasks' names; raise ValueError where a model's name, tasks or licence cannot be."""
    check_name(name, noun="model")
    names = [task.name for task in tasks]
    if not 1 <= len(names) <= MAX_TASKS or len(set(names)) != len(names):
        raise ValueError(f"Model {name!r} needs 1 to {MAX_TASKS} tasks of different names; found {names}.")
    if not licence.strip():
        raise ValueError(f"Model {name!r} states no licence. Name it, for example licence = 'CC-BY-4.0'.")
    return names


def task_called(name: str, tasks: Sequence[KnownTask], *, model: str) -> KnownTask:
    """Return the task called `name`; raise ValueError naming the known ones."""
    for task in tasks:
        if task.name == name:
            return task
    raise ValueError(f"Model {model!r} has no task {name!r}. Known: {', '.join(t.name for t in tasks)}.")


def read_model_card(folder: Path) -> ModelCard:
    """Read the card of the slide model in `folder`.

    Raises
    ------
    FileNotFoundError
        If there is no `model.toml`.
    CardError
        If it cannot be read or a value is missing, unknown or of the wrong kind; the message names it.
    """
    what = f"The card {MODEL_FILE} of model {folder.name!r}"
    tables = read_toml(folder / MODEL_FILE, newest=FORMAT)
    if tables.get("kind") == PIXELS:
        raise CardError(
            f"Model {folder.name!r} is a pixel model: it answers about pixels and tiles, not about slides, and no task "
            "can be added to it in isolation, because its tasks share what they learn. Choose a slide model here."
        )
    architecture = pop_table(tables, "architecture", MODEL_FILE)
    tables["tasks"] = read_tasks(tables, {"classification": Classification, "regression": Regression}, what=what)
    tables |= {"aggregator": architecture.pop("aggregator", ""), "options": architecture, "folder": folder}
    return validated(ModelCard, tables, what=what)


def model_toml(card: ModelCard) -> str:
    """Return the text of `model.toml` for a card."""
    architecture = {"aggregator": card.aggregator, **card.options}
    return write_toml(card, version=FORMAT, architecture=architecture, without=("aggregator", "options"))


def read_tasks(tables: dict[str, Any], kinds: Mapping[str, type[KnownTask]], *, what: str) -> tuple[KnownTask, ...]:
    """Take the ``[[tasks]]`` tables off a card and return them as tasks of the kinds given by name.

    Raises
    ------
    CardError
        If they are missing, or one is of another kind or not valid.
    """
    listed = tables.pop("tasks", None)
    if not isinstance(listed, list):
        raise CardError(
            f"{what} needs its tasks as [[tasks]] tables; found {'none' if listed is None else repr(listed)}."
        )
    return tuple(_task(entry, kinds, what=what) for entry in listed)


def _task(entry: object, kinds: Mapping[str, type[KnownTask]], *, what: str) -> KnownTask:
    kind = entry.get("kind") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(kind, str) or kind not in kinds:
        names = " or ".join(map(repr, kinds))
        raise CardError(f"{what} needs kind = {names} in each of [[tasks]]; found {kind!r}.")
    values = {key: value for key, value in entry.items() if key != "kind"}
    return validated(kinds[kind], values, what=f"{what}, task {entry.get('name', '?')!r},")
