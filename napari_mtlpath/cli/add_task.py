"""`mtlpath add-task`: teaches a model one more task from labels in files, with proof that nothing old changed."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_mtlpath.cli.console import RESEARCH_USE_ONLY, console, print_json, printable
from napari_mtlpath.cli.train import STOPPED, changed, interruption
from napari_mtlpath.review.task_draft import TaskKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from napari_mtlpath.features.store import FeatureStore
    from napari_mtlpath.review.events import SlideSeen
    from napari_mtlpath.training.teaching.config import TeachConfig
    from napari_mtlpath.training.teaching.lesson import Lesson
    from napari_mtlpath.training.teaching.report import Taught, TeachReport
    from napari_mtlpath.zoo.card import ModelCard
    from napari_mtlpath.zoo.model import SlideModel

ENCODER_LEARNS = "The encoder learns, too: every task's answers change on every slide. How far is said in the end."


def add_task(
    model: Annotated[str, typer.Option(help="Name of a model (see `mtlpath models`), or its folder.")],
    out: Annotated[Path, typer.Option(help="The model folder to write; its name becomes the model's.")],
    task: Annotated[str, typer.Option(help="Name of the new task, such as eosinophils.")] = "",
    labels: Annotated[
        list[Path], typer.Option(help="Labels: a GeoJSON of a slide, or a cohort table; may be repeated.")
    ] = [],  # noqa: B006  typer reads the default, nobody changes it
    lessons: Annotated[
        Path | None, typer.Option(help="Several tasks at once: a TOML file with a table [tasks.NAME] for each.")
    ] = None,
    slides: Annotated[list[Path], typer.Option(help="A slide file that the labels are about; may be repeated.")] = [],  # noqa: B006
    kind: Annotated[TaskKind, typer.Option(help="What an answer is.")] = TaskKind.BINARY,
    classes: Annotated[
        str, typer.Option(help="Classes with commas between them; of two the last is the positive one.")
    ] = "",
    unit: Annotated[str, typer.Option(help="Unit of a regression's answer.")] = "",
    low: Annotated[float, typer.Option(help="Lowest answer of a regression.")] = 0.0,
    high: Annotated[float, typer.Option(help="Highest answer of a regression.")] = 1.0,
    features: Annotated[
        Path | None, typer.Option(help="Folder of feature files (.h5) of slides that a table names.")
    ] = None,
    mpp: Annotated[float | None, typer.Option(help="Microns per pixel; needed where a slide does not say.")] = None,
    mode: Annotated[
        str | None,
        typer.Option(help="isolated: no old answer changes in one bit; shared: what all tasks use learns, too."),
    ] = None,
    encoder_blocks: Annotated[
        int | None,
        typer.Option(help="With --mode shared: the tile encoder's last blocks that learn, too; all answers change."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Most steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of all chance.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings of teaching in a TOML file.")] = None,
    change: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, such as learning_rate=1e-3.")
    ] = [],  # noqa: B006
    further: Annotated[
        bool, typer.Option("--further", help="Teach the task of that name further, which the model has already.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    fresh: Annotated[bool, typer.Option("--fresh", help="Start anew, though there is a checkpoint.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """Teach a model one more task, or several at once, from labelled tiles, regions or slides.

    Slides that the model's encoder has not seen go through it first. Ctrl-C stops after a whole step and keeps it; the
    same command goes on from there. OUT gets the model, and proof.json: the old answers' hashes before and after.
    """
    from napari_mtlpath.cli.lesson_files import lesson_of_files, slides_seen
    from napari_mtlpath.cli.lesson_plan import LessonPlan, PlannedTask, planned, read_plan
    from napari_mtlpath.features.store import FeatureStore
    from napari_mtlpath.zoo.load import load_model

    if out.exists():
        raise ValueError(f"There is a folder {out} already, and no model is ever overwritten. Choose another name.")
    named = {"mode": mode, "encoder_blocks": encoder_blocks, "steps": steps, "seed": seed}
    settings = _settings(config, change, named)
    if lessons is not None:
        if task or labels or slides:
            raise ValueError("Give --lessons FILE, or --task with --labels and --slides; not both.")
        plan, folder = read_plan(lessons), lessons.parent
    else:
        if not task or not labels:
            raise ValueError("Expected --task NAME and --labels FILE, or --lessons FILE for several tasks at once.")
        words = tuple(name.strip() for name in classes.split(",") if name.strip())
        answers: dict[str, Any] = {"kind": kind, "classes": words, "unit": unit, "low": low, "high": high}
        one = PlannedTask(labels=tuple(labels), further=further, **answers)
        plan, folder = LessonPlan(tasks={task: one}, slides=tuple(slides), features=features, mpp=mpp), Path()
    parent = load_model(model, device=device)
    err = console(stderr=True)
    store = FeatureStore()
    every = planned(plan, parent, folder=folder)
    made = [
        lesson_of_files(each.files, each.draft, parent, store, tell=lambda line: err.print(printable(line)))
        for each in every
    ]
    known = [each.draft.name for each in every if each.further]
    seen = slides_seen([each.files for each in every]) if settings.trains_encoder else {}
    if settings.trains_encoder:
        err.print(ENCODER_LEARNS)
    taught = _teach(parent, made, settings, store, seen=seen, retrain=known, resume=not fresh)
    _save(taught, out, as_json=as_json)


def _settings(path: Path | None, change: list[str], named: dict[str, Any]) -> "TeachConfig":
    from napari_mtlpath.training.teaching.config import parse_teach_config, read_teach_config

    table = read_teach_config(path).model_dump() if path else {}
    table = changed(table, change) | {key: value for key, value in named.items() if value is not None}
    return parse_teach_config(table)


def _teach(
    parent: "SlideModel",
    lessons: "Sequence[Lesson]",
    settings: "TeachConfig",
    store: "FeatureStore",
    *,
    seen: "Mapping[str, SlideSeen]",
    retrain: "Sequence[str]",
    resume: bool,
) -> "Taught":
    from napari_mtlpath.session.reference_bags import reference_bags
    from napari_mtlpath.session.slide_pixels import with_pixels
    from napari_mtlpath.training.teaching.run_folder import own_run_folder
    from napari_mtlpath.training.teaching.teach import teach

    references = reference_bags(store, parent, [bag for lesson in lessons for bag in lesson.bags])
    names = [lesson.task.name for lesson in lessons]

    def tell(text: str) -> None:
        console(stderr=True).print(printable(text))

    with (
        own_run_folder(parent, names, ending="-files") as folder,
        with_pixels(settings, parent, lessons, references, seen=seen, tell=tell) as ready,
        interruption() as interrupted,
    ):
        reports = teach(
            parent,
            ready.lessons,
            settings,
            references=ready.references,
            folder=folder,
            resume=resume,
            retrain=retrain,
        )
        last = _show(reports, interrupted)
        reports.close()  # after Ctrl-C: keeps the last whole step
    if last is None or last.taught is None:
        typer.echo("Stopped after a whole step. The same command goes on from there.", err=True)
        raise typer.Exit(STOPPED)
    return last.taught


def _show(reports: "Iterator[TeachReport]", interrupted: "Callable[[], bool]") -> "TeachReport | None":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    last = None
    with Progress(*columns, console=console(stderr=True)) as progress:
        bar = progress.add_task("steps", total=None)
        for last in reports:
            progress.update(bar, completed=last.step, total=last.steps, description=str(last.phase))
            for warning in last.warnings:
                progress.console.print(printable(warning))
            if last.phase == "refresh":
                progress.console.print(point_words(last))
            if interrupted():
                break
    return last


def point_words(report: "TeachReport") -> str:
    """Return one point of the curves in words."""
    parts = [f"step {report.step}"]
    for name, loss in report.validation_losses.items():
        score = report.scores.get(name, math.nan)
        known = (
            "" if math.isnan(score) else f", {report.score_names[name]} {score:.4f} (floor {report.floors[name]:.2f})"
        )
        parts.append(f"{name}: held-out loss {loss:.4f}{known}")
    return "; ".join(parts)


def _save(taught: "Taught", out: Path, *, as_json: bool) -> None:
    from napari_mtlpath.training.teaching.card import counts_text
    from napari_mtlpath.training.teaching.taught_model import save

    card = save(taught, out)
    if as_json:
        print_json(_as_dict(taught, card, out))
        return
    for lesson in taught.lessons:
        typer.echo(printable(f"Taught {lesson.task.name!r} from {counts_text(lesson.counts())}."))
    for group, row in taught.metrics.items():
        figures = ", ".join(f"{name} {value}" for name, value in row.items())
        typer.echo(printable(f"{group}: {figures}"))
    typer.echo(printable(taught.guard.sentence))
    for name, delta in taught.guard.deltas.items() if not taught.guard.identical else ():
        typer.echo(printable(f"{name} moved by {delta.words}"))
    typer.echo(f"Wrote {printable(out)}. {RESEARCH_USE_ONLY}.")


def _as_dict(taught: "Taught", card: "ModelCard", out: Path) -> dict[str, Any]:
    from napari_mtlpath.training.teaching.proof import proof_of

    return {
        "use": RESEARCH_USE_ONLY,
        "folder": str(out),
        "model": card.name,
        "weights_sha256": card.weights_sha256,
        "tasks": [task.name for task in card.tasks],
        "metrics": {group: dict(row) for group, row in taught.metrics.items()},
        "warnings": list(taught.warnings),
        "proof": proof_of(taught, taught.guard),
    }
