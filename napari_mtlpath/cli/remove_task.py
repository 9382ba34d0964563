"""`mtlpath remove-task`: a model without one of its tasks, with proof that the others answer as before."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_mtlpath.cli.console import RESEARCH_USE_ONLY, print_json, printable

if TYPE_CHECKING:
    from napari_mtlpath.zoo.card import ModelCard


def remove_task(
    model: Annotated[str, typer.Option(help="Name of a model (see `mtlpath models`), or its folder.")],
    task: Annotated[str, typer.Option(help="Name of the task to remove.")],
    out: Annotated[Path, typer.Option(help="The model folder to write; its name becomes the model's.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """Save a model without one of its tasks; the other tasks' answers stay the same bit by bit, or nothing is saved.

    They are compared on every slide that the model's encoder has left in the feature store, and on made-up bags. OUT
    gets the model, and proof.json: the answers' hashes before and after. The model itself stays as it is.
    """
    from napari_mtlpath.features.store import FeatureStore
    from napari_mtlpath.session.reference_bags import reference_bags
    from napari_mtlpath.training.teaching import taught_model
    from napari_mtlpath.zoo.load import load_model

    if out.exists():
        raise ValueError(f"There is a folder {out} already, and no model is ever overwritten. Choose another name.")
    parent = load_model(model, device="cpu")
    parent.card.task(task)
    references = reference_bags(FeatureStore(), parent)
    _say(taught_model.remove_task(parent, task, out, references=references), task, out, as_json=as_json)


def _say(card: "ModelCard", task: str, out: Path, *, as_json: bool) -> None:
    from napari_mtlpath.training.teaching.proof import PROOF_FILE

    proof = json.loads((out / PROOF_FILE).read_text(encoding="utf-8"))
    tasks = [known.name for known in card.tasks]
    if as_json:
        facts = {"model": card.name, "weights_sha256": card.weights_sha256, "tasks": tasks, "removed": task}
        print_json({"use": RESEARCH_USE_ONLY, "folder": str(out), **facts, "proof": proof})
        return
    typer.echo(printable(f"Removed {task!r}. Left: {', '.join(tasks)}."))
    typer.echo(printable(proof["statement"]))
    typer.echo(f"Wrote {printable(out)}. {RESEARCH_USE_ONLY}.")
