"""Predictions on disk: a table that a spreadsheet opens, a card that says what its columns mean, embeddings beside."""

import csv
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from pydantic import TypeAdapter, ValidationError
from safetensors.numpy import load_file, save_file

from napari_mtlpath.evaluation.predictions import Predictions, check_parts
from napari_mtlpath.files import replacing
from napari_mtlpath.folders import patients_folder
from napari_mtlpath.tasks import UNKNOWN_LABEL, Classification, Regression, Task

TABLE = "predictions.csv"
CARD = "predictions.toml"
EMBEDDINGS = "predictions.safetensors"
FORMAT = 1
"""Version of the layout of the three files."""

FIRST_COLUMNS = ("sample", "patient", "part")


def write_predictions(folder: Path, parts: Sequence[Predictions]) -> Path:
    """Write all parts of one run below `folder` and return the table's path.

    ``predictions.csv`` has one row per sample (columns sample, patient, part, then per task its label, its logits and
    those of the trivial answers), ``predictions.toml`` says what the tasks and the run are, and
    ``predictions.safetensors`` holds embeddings where there are any. Sample and patient names are those of the user's
    table: the file is as private as that table.

    Raises
    ------
    ValueError
        If the parts are not those of one run, or a patient is in two of them.
    """
    check_parts(parts)
    folder.mkdir(parents=True, exist_ok=True)
    embeddings = {
        f"{part.part}/{task}": np.ascontiguousarray(values, dtype=np.float32)
        for part in parts
        for task, values in part.embeddings.items()
    }
    if embeddings:
        with replacing(folder / EMBEDDINGS) as temporary:
            save_file(embeddings, temporary)
    with replacing(folder / CARD) as temporary:
        temporary.write_text(tomli_w.dumps(_card_of(parts, embeddings=bool(embeddings))), encoding="utf-8")
    _write_table(folder / TABLE, parts)
    return folder / TABLE


def folder_of_predictions(folder: Path) -> Path | None:
    """Return where the predictions of a run lie: in `folder`, or beside it where it is a model's; None if nowhere."""
    for place in (folder, patients_folder(folder)):
        if (place / CARD).is_file() and (place / TABLE).is_file():
            return place
    return None


def remove_predictions(folder: Path) -> None:
    """Remove predictions from `folder`, where there are any."""
    for name in (TABLE, CARD, EMBEDDINGS):
        (folder / name).unlink(missing_ok=True)


def read_predictions(folder: Path) -> dict[str, Predictions]:
    """Return the parts that a run wrote, by name.

    Parameters
    ----------
    folder
        Where they lie, or the model's folder beside it.

    Raises
    ------
    FileNotFoundError
        If the folder holds no predictions.
    ValueError
        If the table does not fit its card; the message says where.
    """
    found = folder_of_predictions(folder)
    if found is None:
        raise FileNotFoundError(
            f"There are no predictions ({TABLE}, {CARD}) in '{folder}', nor in '{patients_folder(folder).name}' beside "
            "it. Give the folder that `mtlpath train` wrote."
        )
    folder = found
    card = _card(folder / CARD)
    tasks = tuple(_task(values) for values in card["tasks"])
    with (folder / TABLE).open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        missing = sorted({*FIRST_COLUMNS, *_columns(tasks, [])} - set(reader.fieldnames or ()))
        if missing:
            raise ValueError(f"{TABLE} lacks the columns {', '.join(missing)}. Write the predictions again.")
        rows = list(reader)
    vectors = load_file(folder / EMBEDDINGS) if card["embeddings"] else {}
    return {name: _part(name, card, tasks, rows, vectors) for name in card["parts"]}


def _part(
    name: str,
    card: Mapping[str, Any],
    tasks: tuple[Task, ...],
    rows: Sequence[Mapping[str, str]],
    vectors: Mapping[str, np.ndarray],
) -> Predictions:
    about = card["parts"][name]
    chosen = [row for row in rows if row["part"] == name]
    return Predictions(
        samples=tuple(row["sample"] for row in chosen),
        patients=tuple(row["patient"] for row in chosen),
        tasks=tasks,
        labels=np.array([[_label(task, row) for task in tasks] for row in chosen], dtype=np.float64),
        logits={task.name: _outputs("logit", task, chosen) for task in tasks},
        embeddings={
            task.name: vectors[f"{name}/{task.name}"].astype(np.float64)
            for task in tasks
            if f"{name}/{task.name}" in vectors
        },
        floors={
            floor: {task.name: _outputs(floor, task, chosen) for task in tasks if task.name in answered}
            for floor, answered in about["floors"].items()
        },
        part=name,
        facts=about["facts"],
        **{key: card[key] for key in ("run", "seed", "fold", "model")},
    )


def _card_of(parts: Sequence[Predictions], *, embeddings: bool) -> dict[str, Any]:
    first = parts[0]
    return {
        "format": FORMAT,
        "run": first.run,
        "seed": first.seed,
        "fold": first.fold,
        "model": first.model,
        "embeddings": embeddings,
        "tasks": [TypeAdapter(type(task)).dump_python(task, mode="json") for task in first.tasks],
        "parts": {
            part.part: {
                "floors": {name: list(answers) for name, answers in part.floors.items()},
                "facts": dict(part.facts),
            }
            for part in parts
        },
    }


def _write_table(path: Path, parts: Sequence[Predictions]) -> None:
    floors = list(dict.fromkeys(name for part in parts for name in part.floors))
    columns = [*FIRST_COLUMNS, *_columns(parts[0].tasks, floors)]
    if len(set(columns)) != len(columns):
        raise ValueError(f"Two columns of {TABLE} would have one name. Rename a task or a class.")
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        for part in parts:
            writer.writerows(_rows(part, floors))


def _columns(tasks: Sequence[Task], floors: Sequence[str]) -> list[str]:
    made = []
    for task in tasks:
        made.append(f"{task.name}: label")
        for kind in ("logit", *floors):
            made.extend(_output_columns(kind, task))
    return made


def _output_columns(kind: str, task: Task) -> list[str]:
    if isinstance(task, Classification) and not task.is_binary:
        return [f"{task.name}: {kind} of {name}" for name in task.classes]
    return [f"{task.name}: {kind}"]


def _rows(part: Predictions, floors: Sequence[str]) -> Iterator[list[str]]:
    for number, (sample, patient) in enumerate(zip(part.samples, part.patients, strict=True)):
        row = [sample, patient, part.part]
        for task in part.tasks:
            row.append(_label_text(task, float(part.truth(task.name)[number])))
            for answers in (part.logits, *(part.floors.get(name, {}) for name in floors)):
                given = answers.get(task.name)
                row.extend([""] * task.outputs if given is None else [repr(float(value)) for value in given[number]])
        yield row


def _label_text(task: Task, label: float) -> str:
    if np.isnan(label):
        return ""
    return task.classes[int(label)] if isinstance(task, Classification) else repr(label)


def _label(task: Task, row: Mapping[str, str]) -> float:
    text = row[f"{task.name}: label"]
    if not text:
        return UNKNOWN_LABEL
    if isinstance(task, Regression):
        return _number(text, f"{task.name}: label")
    if text not in task.classes:
        raise ValueError(f"{TABLE}: task {task.name!r} has the classes {', '.join(task.classes)}; found {text!r}.")
    return float(task.classes.index(text))


def _outputs(kind: str, task: Task, rows: Sequence[Mapping[str, str]]) -> np.ndarray:
    columns = _output_columns(kind, task)
    values = [[_number(row.get(column, ""), column) for column in columns] for row in rows]
    return np.array(values, dtype=np.float64).reshape(len(rows), len(columns))


def _number(text: str | None, column: str) -> float:
    try:
        return float(text or "")
    except ValueError as error:
        raise ValueError(f"{TABLE}: column {column!r} must hold numbers; found {text!r}.") from error


def _card(path: Path) -> dict[str, Any]:
    try:
        card = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} is not valid TOML: {error}.") from error
    if card.get("format") != FORMAT:
        raise ValueError(
            f"{path.name} must say format = {FORMAT}; found {card.get('format')!r}. Update napari-mtlpath."
        )
    missing = {"run", "seed", "fold", "model", "embeddings", "tasks", "parts"} - set(card)
    if missing:
        raise ValueError(f"{path.name} lacks {', '.join(sorted(missing))}. Write the predictions again.")
    return card


def _task(values: Mapping[str, Any]) -> Task:
    kind: type[Task] = Classification if values.get("kind") == "classification" else Regression
    plain = {key: value for key, value in values.items() if key != "kind"}
    try:
        return TypeAdapter(kind).validate_python(plain)
    except ValidationError as error:
        raise ValueError(f"{CARD} describes a task that cannot be: {error.errors()[0]['msg']}.") from error
