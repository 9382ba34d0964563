"""`mtlpath models`: which models there are, what they answer and how well."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_mtlpath.cli.console import RESEARCH_USE_ONLY, add_row, console, print_json, table
from napari_mtlpath.tasks import AnyTask, Classification, Segmentation

if TYPE_CHECKING:
    from rich.table import Table

    from napari_mtlpath.encoders.cards import EncoderCard
    from napari_mtlpath.zoo.card import ModelCard
    from napari_mtlpath.zoo.pixel_card import PixelCard


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """List the models that there are.

    Says of each what it answers, its encoder, what it was made for, licence, and metrics beside their trivial floor.
    """
    from napari_mtlpath.encoders.load import encoder_names, find_encoder_card
    from napari_mtlpath.zoo.load import broken_models, list_models
    from napari_mtlpath.zoo.pixel_load import broken_pixel_models, list_pixel_models

    slide_models = list_models()
    encoders = [find_encoder_card(name) for name in encoder_names()]
    pixel_models = list_pixel_models()
    broken = (*broken_models(), *broken_pixel_models())
    if as_json:
        print_json(
            {
                "slide_models": [_card(card) for card in slide_models],
                "pixel_models": [_card(card) for card in pixel_models],
                "tile_encoders": [_card(card) for card in encoders],
                "broken": [{"name": entry.name, "reason": entry.reason} for entry in broken],
                "use": RESEARCH_USE_ONLY,
            }
        )
        return
    out = console()
    for card in slide_models:
        out.print(_slide_model(card))
    for pixel_card in pixel_models:
        out.print(_pixel_model(pixel_card))
    out.print(_encoders(encoders))
    for entry in broken:
        out.print(f"Cannot be used: {entry.name}: {entry.reason}")
    out.print(f"{RESEARCH_USE_ONLY}.")


def _card(card: "ModelCard | PixelCard | EncoderCard") -> dict[str, Any]:
    from pydantic import TypeAdapter

    values = TypeAdapter(type(card)).dump_python(card, mode="json")
    values.pop("folder")  # says where this user's files are
    return values


def _slide_model(card: "ModelCard") -> "Table":
    made = table(card.name, card.title or card.summary)
    for task in card.tasks:
        add_row(made, f"task {task.name}", f"{task.question or task.title} ({_kind(task)})")
        for group, metrics in groups_of(card.metrics, task.name).items():
            add_row(made, "", f"{group.removeprefix(task.name).strip()}: ".removeprefix(": ") + metric_words(metrics))
    add_row(made, "made for", card.made_for or "not stated")
    add_row(made, "encoder", f"{card.encoder}; tiles of {card.tile.tile_um:g} um, {card.tile.tile_px} px")
    add_row(made, "aggregator", card.aggregator)
    add_row(made, "licence", card.licence)
    add_row(made, "limits", card.limits or "not stated")
    return made


def _pixel_model(card: "PixelCard") -> "Table":
    made = table(card.name, card.title or card.summary)
    for task in card.tasks:
        asked = "every pixel" if task in card.pixel_tasks else "every tile"
        add_row(made, f"task {task.name}", f"{task.question or task.title} ({asked}: {_kind(task)})")
        for group, metrics in groups_of(card.metrics, task.name).items():
            add_row(made, "", f"{group.removeprefix(task.name).strip()}: ".removeprefix(": ") + metric_words(metrics))
    add_row(made, "made for", card.made_for or "not stated")
    add_row(made, "masks", card.masks or "not stated")
    add_row(made, "tiles", f"{card.tile.tile_um:g} um, {card.tile.tile_px} px")
    add_row(made, "network", card.network)
    add_row(made, "licence", card.licence)
    add_row(made, "limits", card.limits or "not stated")
    return made


def _kind(task: "AnyTask") -> str:
    if isinstance(task, Classification | Segmentation):
        return " / ".join(task.classes)
    return f"number, {task.unit or 'no unit'}"


def _encoders(cards: "list[EncoderCard]") -> "Table":
    made = table("Tile encoder", "Family", "Features", "Licence", "Made for")
    for card in cards:
        add_row(made, card.name, card.family, card.features, card.licence, card.made_for)
    return made


def groups_of(metrics: Mapping[str, Mapping[str, float | str]], task: str) -> Mapping[str, Mapping[str, float | str]]:
    """Return the groups of metrics whose first word is the task's name: its own, and those such as "dab of a tile".

    Examples
    --------
    >>> list(groups_of({"dab": {}, "dab of a tile": {}, "dabble": {}}, "dab"))
    ['dab', 'dab of a tile']
    """
    return {group: found for group, found in metrics.items() if group.split(" ")[0] == task} or {task: {}}


def metric_words(metrics: Mapping[str, float | str]) -> str:
    """Return metrics as words: each value with its interval and its trivial floor where the card has them.

    Examples
    --------
    >>> metric_words({"auc": 0.975, "auc_floor": 0.5, "auc_low": 0.95, "auc_high": 0.99})
    'auc 0.975 (0.950 to 0.990; floor 0.500)'
    """
    said = []
    for name, value in metrics.items():
        if name.endswith(("_floor", "_low", "_high")):
            continue
        notes = []
        if f"{name}_low" in metrics and f"{name}_high" in metrics:
            notes.append(f"{_shown(metrics[f'{name}_low'])} to {_shown(metrics[f'{name}_high'])}")
        if f"{name}_floor" in metrics:
            notes.append(f"floor {_shown(metrics[f'{name}_floor'])}")
        said.append(f"{name} {_shown(value)}" + (f" ({'; '.join(notes)})" if notes else ""))
    return ", ".join(said) or "no metrics stated"


def _shown(value: float | str) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
