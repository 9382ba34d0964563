"""`mtlpath evaluate`: how good a model is, how sure that is, and what its numbers may be called."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_mtlpath.cli.console import RESEARCH_USE_ONLY, add_row, console, print_json, printable, table
from napari_mtlpath.folders import patients_folder

if TYPE_CHECKING:
    from napari_mtlpath.cli.judging import Progress, Sources
    from napari_mtlpath.evaluation.fit_tables import FitOptions
    from napari_mtlpath.evaluation.gain import Gain
    from napari_mtlpath.evaluation.judge import JudgeOptions, ModelTables, RunReport
    from napari_mtlpath.evaluation.predictions import Predictions

SOME_FAILED = 3
"""Exit status when slides could not be done."""


def evaluate(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|COHORT", help="A folder that `mtlpath train` wrote, or a slide table.", show_default=False
        ),
    ],
    model: Annotated[
        str, typer.Option(help="Name or folder of the model to judge on COHORT; without it, RUN's own answers are.")
    ] = "",
    clinical: Annotated[Path | None, typer.Option(help="The clinical table, if the slide table has no labels.")] = None,
    task: Annotated[list[str], typer.Option(help="Judge only this task of the model; may be repeated.")] = [],  # noqa: B006
    features: Annotated[Path | None, typer.Option(help="Folder of feature files; by default OUT/features.")] = None,
    slides: Annotated[Path | None, typer.Option(help="Folder of slide files for those without features.")] = None,
    mpp: Annotated[float | None, typer.Option(help="Microns per pixel of slides that do not say theirs.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    part: Annotated[str, typer.Option(help="Part of RUN to judge: test, selection or external.")] = "test",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the report; by default RUN/evaluation, with names RUN.patients/evaluation."),
    ] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Fit probabilities, operating points and sets on held-out data.")
    ] = False,
    coverage: Annotated[float, typer.Option(help="Coverage that prediction sets promise to each class.")] = 0.9,
    specificity: Annotated[float, typer.Option(help="Specificity at which sensitivity is given.")] = 0.9,
    rule: Annotated[str, typer.Option(help="How operating points are chosen: youden or specificity.")] = "youden",
    single: Annotated[list[Path], typer.Option(help="A single-task run to compute gains over; may be repeated.")] = [],  # noqa: B006
    draws: Annotated[int, typer.Option(min=100, help="Resamples of the bootstrap.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    with_names: Annotated[
        bool, typer.Option("--with-names", help="List wrongly answered samples by name: they may identify patients.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """Judge a model on patients that it did not learn from.

    Writes evaluation.json, .csv, .md and .html (one page that loads nothing), each figure with its interval and beside
    the trivial answers. With --calibrate, what turns scores into probabilities is fitted on the selection part (or on
    COHORT) and stored in the model's folder; the test part is never used for it.
    """
    from napari_mtlpath.cli.cohort_answers import CohortFiles
    from napari_mtlpath.cli.judging import CohortWishes, cohort_sources, run_sources
    from napari_mtlpath.evaluation.fit_tables import FitOptions

    options = judge_options(specificity=specificity, rule=rule, draws=draws, seed=seed)
    target = out if out is not None else _target(source, model=model, with_names=with_names)
    if model:
        files = CohortFiles(
            features=features if features is not None else target / "features",
            slides=slides,
            mpp=mpp,
            work=target / "slides",
        )
        wishes = CohortWishes(
            slide_table=source,
            clinical_table=clinical,
            tasks=task,
            files=files,
            model=model,
            device=device,
            calibrate=calibrate,
        )
        with _progress() as progress:
            sources = cohort_sources(wishes, progress=progress)
    else:
        sources = run_sources(source, part=part)
    fit = FitOptions(coverage=coverage, judging=options) if calibrate else None
    _judge(sources, options, fit, single=single, target=target, with_names=with_names, as_json=as_json)
    for failure in sources.failed:
        typer.echo(f"Error: {printable(failure.slide)}: {printable(failure.message)}", err=True)
    if sources.failed:
        raise typer.Exit(SOME_FAILED)


def _target(source: Path, *, model: str, with_names: bool) -> Path:
    """Return where a report goes: beside the model's folder, not into it, where it names samples."""
    if model:
        return Path("evaluation")
    return (patients_folder(source) if with_names else source) / "evaluation"


def _judge(
    sources: "Sources",
    options: "JudgeOptions",
    fit: "FitOptions | None",
    *,
    single: list[Path],
    target: Path,
    with_names: bool,
    as_json: bool,
) -> None:
    """Fit what is asked for, judge what there is to judge, write the report and print it."""
    from napari_mtlpath.cli.judging import card_tables
    from napari_mtlpath.evaluation.judge import judge
    from napari_mtlpath.evaluation.report.files import NO_PICTURES, has_pictures, write_run_report
    from napari_mtlpath.evaluation.report.values import run_values

    notes = list(sources.notes)
    tables = card_tables(sources.card)
    if fit is not None:
        tables, said = _calibrate(sources, fit)
        notes += said
    values: dict[str, object] = {"notes": notes}
    report = None
    if sources.test is not None:
        report = judge(sources.test, selection=sources.held_out, tables=tables, options=options)
        gain = _gain(sources.test, sources.held_out, single, options) if single else None
        notes += [] if has_pictures() else [NO_PICTURES]
        written = write_run_report(target, report, with_names=with_names, gain=gain)
        values = run_values(report, gain=gain) | {"notes": [*notes, *report.notes], "files": list(map(str, written))}
    if as_json:
        print_json(values)  # type: ignore[arg-type]  # plain values, as the report writes them
    else:
        _print(report, tables, notes, target)


def judge_options(*, specificity: float, rule: str, draws: int, seed: int) -> "JudgeOptions":
    """Return checked options of judging; ValueError names the rules that there are."""
    from napari_mtlpath.evaluation.judge import JudgeOptions
    from napari_mtlpath.evaluation.metrics import MetricOptions
    from napari_mtlpath.evaluation.operating_point import Rule

    if rule not in list(Rule):
        raise ValueError(f"--rule must be one of {', '.join(Rule)}; found {rule!r}.")
    return JudgeOptions(metrics=MetricOptions(specificity=specificity), rule=Rule(rule), draws=draws, seed=seed)


def _calibrate(sources: "Sources", options: "FitOptions") -> "tuple[ModelTables, list[str]]":
    """Fit on the held-out answers, write the model's card anew, and return what it holds now."""
    from napari_mtlpath.cli.calibration_patients import remember_calibration
    from napari_mtlpath.cli.judging import card_tables, with_tables
    from napari_mtlpath.evaluation.fit_tables import fit_tables
    from napari_mtlpath.zoo.save import rewrite_card

    if sources.card is None or sources.card.folder is None:
        raise ValueError(
            "--calibrate writes into a model's folder; this run has no model.toml. Give the model's folder."
        )
    if sources.held_out is None:
        raise ValueError("--calibrate needs answers about a selection part; this run kept none. Use --model M COHORT.")
    fitted = fit_tables(sources.held_out, fitted_on=sources.fitted_on, options=options)
    if not fitted.tables.calibration:
        raise ValueError(f"Nothing was calibrated. {' '.join(fitted.notes) or 'No task is a classification.'}")
    card = rewrite_card(with_tables(sources.card, fitted.tables, patients=sources.held_out.patients))
    remember_calibration(sources.card.folder, fitted.tables.calibration, sources.held_out.patients)
    names = ", ".join(fitted.tables.calibration)
    return card_tables(card), [f"Calibrated {names} on {sources.fitted_on}; stored in {card.folder}.", *fitted.notes]


def _gain(test: "Predictions", held_out: "Predictions | None", single: list[Path], options: "JudgeOptions") -> "Gain":
    from napari_mtlpath.cli.compare import read_runs
    from napari_mtlpath.evaluation.comparison import Judged, RunGroup, compare, group_runs

    together = RunGroup(name="together", repeats=(Judged(test=test, selection=held_out),))
    gains = compare([together], alone=group_runs(read_runs(single, part=test.part)), options=options).gains
    if "together" not in gains:
        raise ValueError(f"The single-task runs have none of the tasks {', '.join(test.task_names)}.")
    return gains["together"]


@contextmanager
def _progress() -> "Iterator[Progress]":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bars:
        bar = bars.add_task("", total=None)
        yield lambda what, known, total: bars.update(bar, description=printable(what), completed=known, total=total)


def _print(report: "RunReport | None", tables: "ModelTables", notes: list[str], target: Path) -> None:
    from napari_mtlpath.evaluation.report.run_document import figure_table

    out = console()
    for task in report.tasks if report is not None else ():
        counts = ", ".join(f"{count} {name}" for name, count in task.counts.items())
        out.print(printable(f"{task.task.title or task.task.name}: {counts}"))
        figures = figure_table(task)
        made = table(*figures.headings)
        for row in figures.rows:
            add_row(made, *row)
        out.print(made)
        for note in task.notes:
            out.print(printable(note))
    if report is None:
        made = table("task", "method", "ECE before", "ECE after (cross-fitted)", "by chance")
        for name, stored in tables.calibration.items():
            figures_of = (stored.get(key) for key in ("ece_uncalibrated", "ece", "ece_by_chance"))
            cells = [f"{value:.3f}" if isinstance(value, float) else "-" for value in figures_of]
            add_row(made, name, stored.get("method", ""), *cells)
        out.print(made)
    for note in [*notes, *(report.notes if report is not None else ())]:
        out.print(printable(note))
    if report is not None:
        out.print(f"Report: {printable(target)}")
    out.print(f"{RESEARCH_USE_ONLY}.")
