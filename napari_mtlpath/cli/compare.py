"""`mtlpath compare`: runs side by side, with intervals, paired tests, and no ranking by luck."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_mtlpath.cli.console import RESEARCH_USE_ONLY, add_row, console, print_json, printable, table
from napari_mtlpath.cli.evaluate import judge_options

if TYPE_CHECKING:
    from napari_mtlpath.evaluation.comparison import Comparison, Judged

SELECTION = "selection"


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Folders that `mtlpath train` wrote.", show_default=False),
    ],
    baseline: Annotated[
        str, typer.Option(help="Name of the run that the others are tested against; else the first.")
    ] = "",
    single: Annotated[list[Path], typer.Option(help="A single-task run to compute gains over; may be repeated.")] = [],  # noqa: B006
    part: Annotated[str, typer.Option(help="Part to compare on: test, selection or external.")] = "test",
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("comparison"),
    specificity: Annotated[float, typer.Option(help="Specificity at which sensitivity is given.")] = 0.9,
    rule: Annotated[str, typer.Option(help="How operating points are chosen: youden or specificity.")] = "youden",
    draws: Annotated[int, typer.Option(min=100, help="Resamples of the bootstrap.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """Compare runs on the same patients.

    Runs of one name (the `name` of their config) that differ in seed or fold are one row. Writes comparison.json, .csv,
    .md and .html: every figure with its interval, the trivial answers, and each run's difference to the baseline with
    p-values corrected for their number. Where intervals overlap, no ranking is given, and the report says so.
    """
    from napari_mtlpath.evaluation.comparison import compare as compare_groups
    from napari_mtlpath.evaluation.comparison import group_runs
    from napari_mtlpath.evaluation.report.files import NO_PICTURES, has_pictures, write_comparison
    from napari_mtlpath.evaluation.report.values import comparison_values

    options = judge_options(specificity=specificity, rule=rule, draws=draws, seed=seed)
    comparison = compare_groups(
        group_runs(read_runs(runs, part=part)),
        baseline=baseline or None,
        alone=group_runs(read_runs(single, part=part)),
        options=options,
    )
    written = write_comparison(out, comparison)
    if as_json:
        print_json(comparison_values(comparison) | {"files": [str(path) for path in written]})
        return
    _print(comparison)
    if not has_pictures():
        console().print(NO_PICTURES)
    console().print(f"Report: {printable(out)}")
    console().print(f"{RESEARCH_USE_ONLY}.")


def read_runs(folders: Sequence[Path], *, part: str) -> "list[Judged]":
    """Return what runs kept of a part, each with its selection part where it has one.

    A folder without predictions whose subfolders have some (the folds or seeds of a run) stands for those.

    Raises
    ------
    FileNotFoundError, ValueError
        If a folder holds no predictions, or none of that part.
    """
    from napari_mtlpath.evaluation.comparison import Judged
    from napari_mtlpath.evaluation.prediction_files import CARD, folder_of_predictions, read_predictions

    runs = []
    for folder in folders:
        alone = folder_of_predictions(folder) is not None
        below = [] if alone else sorted(path.parent for path in folder.glob(f"*/{CARD}"))
        for place in below or [folder]:
            parts = read_predictions(place)
            if part not in parts:
                raise ValueError(f"Run '{place.name}' kept no part {part!r}. It has: {', '.join(parts)}.")
            runs.append(Judged(test=parts[part], selection=parts.get(SELECTION) if part != SELECTION else None))
    return runs


def _print(comparison: "Comparison") -> None:
    from napari_mtlpath.evaluation.report.comparison_document import comparison_document

    out = console()
    overview = comparison_document(comparison, pictures=False).sections[0]
    shown = overview.tables[0]
    made = table(*shown.headings)
    for row in shown.rows:
        add_row(made, *row)
    out.print(made)
    for run, gain in comparison.gains.items():
        mean = gain.mean
        out.print(f"{printable(run)}: gain over single tasks {mean.value:+.1f} % ({mean.low:+.1f} to {mean.high:+.1f})")
    for sentence in overview.sentences:
        out.print(printable(sentence))
