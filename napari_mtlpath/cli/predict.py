"""`mtlpath predict`: what a model says about slides, as files."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_mtlpath.cli.console import RESEARCH_USE_ONLY, add_row, console, print_json, printable, table
from napari_mtlpath.cli.isolation import Failed, IsolatedWork
from napari_mtlpath.cli.prediction import SlideDone, SlideProgress, Wishes, prepare
from napari_mtlpath.encoders.backend import Backend

if TYPE_CHECKING:
    from rich.progress import Progress

SOME_FAILED = 3
"""Exit status when slides could not be done."""


@dataclass(kw_only=True)
class _Outcome:
    slide: Path
    status: str
    message: str = ""
    folder: Path | None = None
    predictions: dict[str, Any] = field(default_factory=dict)


def predict(
    slides: Annotated[list[Path], typer.Argument(metavar="SLIDE...", help="The slide files.", show_default=False)],
    model: Annotated[str, typer.Option(help="Name of a model (see `mtlpath models`), or its folder.")],
    out: Annotated[Path, typer.Option(help="Folder for the results; made where missing.")],
    mpp: Annotated[
        float | None, typer.Option(help="Microns per pixel of these slides; needed where a slide does not say.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    backend: Annotated[
        Backend, typer.Option(help="What computes the encoder; auto takes OpenVINO where it gives torch's features.")
    ] = Backend.TORCH,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do finished slides again.")] = False,
    tiles: Annotated[bool, typer.Option(help="Write tiles.csv.")] = True,
    heatmaps: Annotated[bool, typer.Option(help="Write a heatmap OME-TIFF per task and kind.")] = True,
    geojson: Annotated[
        bool, typer.Option(help="Write tiles.geojson for QuPath, of pixel models contours.geojson.")
    ] = True,
    features: Annotated[
        bool, typer.Option(help="Write the embeddings as features/SLIDE.h5, as STAMP reads them.")
    ] = True,
    masks: Annotated[
        bool, typer.Option(help="Write a mask OME-TIFF per task of pixels (models that answer pixel by pixel).")
    ] = True,
    patience: Annotated[
        float, typer.Option(min=1.0, help="Seconds without a sign of life after which a slide is given up.")
    ] = 600.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """Write what a model says about slides.

    Predictions, tiles, heatmaps and features go below OUT. Run again, it does only what is missing. A slide that
    cannot be done is reported at the end, the others are done, and the exit status is 3.
    """
    from napari_mtlpath.inference.export.outputs import Outputs

    outputs = Outputs(tiles=tiles, heatmaps=heatmaps, geojson=geojson, features=features, masks=masks)
    wishes = Wishes(
        model=model, device=device, backend=str(backend), root=out, mpp=mpp, overwrite=overwrite, outputs=outputs
    )
    outcomes = _run(_without_repeats(slides), wishes, patience=patience)
    if as_json:
        print_json({"use": RESEARCH_USE_ONLY, "slides": [_as_dict(outcome) for outcome in outcomes]})
    else:
        _print(outcomes)
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    for outcome in failed:
        typer.echo(f"Error: {printable(outcome.slide)}: {printable(outcome.message)}", err=True)
    if failed:
        raise typer.Exit(SOME_FAILED)


def _without_repeats(slides: list[Path]) -> list[Path]:
    return list({slide.absolute(): slide for slide in slides}.values())


def _run(slides: list[Path], wishes: Wishes, *, patience: float) -> list[_Outcome]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    work: IsolatedWork[Path, SlideProgress | SlideDone] = IsolatedWork(
        partial(prepare, wishes), silence_seconds=patience
    )
    outcomes = []
    try:
        with Progress(*columns, console=console(stderr=True), transient=True) as progress:
            for number, slide in enumerate(slides, start=1):
                name = f"{printable(slide.name)} ({number} of {len(slides)})"
                outcomes.append(_one(slide, name, work, progress))
    finally:
        work.close()
    return outcomes


def _one(slide: Path, name: str, work: IsolatedWork[Path, SlideProgress | SlideDone], progress: "Progress") -> _Outcome:
    bar = progress.add_task(name, total=None)
    try:
        for report in work.run(slide):
            match report:
                case SlideProgress():
                    progress.update(bar, completed=report.known, total=report.total)
                case SlideDone():
                    status = "already done" if report.skipped else "done"
                    return _Outcome(slide=slide, status=status, folder=report.folder, predictions=report.predictions)
                case Failed(fatal=True):
                    raise ValueError(report.message)
                case Failed():
                    return _Outcome(slide=slide, status="failed", message=report.message)
    finally:
        progress.remove_task(bar)
    return _Outcome(slide=slide, status="failed", message="The analysis ended without a result.")


def _as_dict(outcome: _Outcome) -> dict[str, Any]:
    return {
        "slide": str(outcome.slide),
        "status": outcome.status,
        "message": outcome.message,
        "folder": str(outcome.folder) if outcome.folder is not None else None,
        "predictions": outcome.predictions,
    }


def _print(outcomes: list[_Outcome]) -> None:
    out = console()
    made = table("Slide", "", "Task", "Answer", "Tiles")
    for outcome in outcomes:
        tasks = outcome.predictions.get("tasks", {})
        tiles = f"{outcome.predictions.get('tiles_known')} of {outcome.predictions.get('tiles_total')} tissue tiles"
        if not tasks:
            add_row(made, outcome.slide.name, outcome.status, "", "", "")
        for number, (name, answer) in enumerate(tasks.items()):
            first = (outcome.slide.name, outcome.status) if number == 0 else ("", "")
            add_row(made, *first, name, answer_words(answer), tiles if number == 0 else "")
    out.print(made)
    folders = sorted({str(outcome.folder.parent) for outcome in outcomes if outcome.folder is not None})
    for folder in folders:
        out.print(f"Results: {printable(folder)}")
    out.print(f"{RESEARCH_USE_ONLY}.")


def answer_words(answer: dict[str, Any]) -> str:
    """Return one task's answer of predictions.json in words.

    Examples
    --------
    >>> classes = {"no": 0.75, "yes": 0.25}
    >>> answer_words({"kind": "classification", "score": 0.25, "classes": classes, "positive_class": "yes"})
    'yes: score 0.250'
    >>> possible = {"classes": ["no", "yes"], "coverage": 0.9}
    >>> binary = {"kind": "classification", "probability": 0.25, "classes": classes, "positive_class": "yes"}
    >>> answer_words(binary | {"possible": possible})
    'yes: probability 0.250. At 90 % coverage: no or yes, so undecided'
    >>> answer_words({"kind": "regression", "value": 0.5, "unit": "share"})
    '0.500 share'
    >>> parts = {"area_shares": {"glass": 0.9, "nucleus": 0.1}, "areas_mm2": {"glass": 1.8, "nucleus": 0.2}}
    >>> answer_words({"kind": "segmentation", "over": "pixels", **parts})
    'nucleus 10.0% of 2 mm2'
    >>> answer_words({"kind": "regression", "value": 0.5, "unit": "share", "over": "tiles"})
    'mean over tiles 0.500 share'
    """
    if answer["kind"] == "segmentation":
        shares = ", ".join(f"{name} {share:.1%}" for name, share in list(answer["area_shares"].items())[1:])
        return f"{shares} of {sum(answer['areas_mm2'].values()):.3g} mm2"
    over = "mean over tiles " if answer.get("over") == "tiles" else "mean over pixels " if "over" in answer else ""
    return over + _whole_words(answer)


def _whole_words(answer: dict[str, Any]) -> str:
    if answer["kind"] in ("regression", "pixel_regression"):
        return "unknown" if answer["value"] is None else f"{answer['value']:.3f} {answer['unit']}".strip()
    word = "probability" if "probability" in answer else "score"
    classes = {name: value for name, value in answer["classes"].items() if value is not None}
    if not classes:
        return "unknown"
    name = answer["positive_class"] or max(classes, key=lambda key: classes[key])
    said = f"{name}: {word} {classes.get(name, float('nan')):.3f}"
    if "possible" in answer:
        from napari_mtlpath.evaluation.class_sets import set_words

        said += f". {set_words(answer['possible']['classes'], coverage=answer['possible']['coverage'])}"
    return said
