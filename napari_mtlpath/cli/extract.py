"""`mtlpath extract`: features of many slides, resumable, on all cores or on any dask scheduler."""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, assert_never

import typer

from napari_mtlpath.cli.console import RESEARCH_USE_ONLY, add_row, console, print_json, printable, table
from napari_mtlpath.cohort.reports import NoWorkers, Report, SlideEnded, TilesDone, WorkerDied
from napari_mtlpath.encoders.backend import Backend

if TYPE_CHECKING:
    from rich.progress import Progress

    from napari_mtlpath.cohort.cluster import Pool
    from napari_mtlpath.cohort.find import CohortSlide
    from napari_mtlpath.cohort.ledger import Entry, Ledger
    from napari_mtlpath.cohort.plan import Looked, Plan

SOME_FAILED = 3
"""Exit status when slides could not be done."""

STOPPED = 130
"""Exit status after Ctrl-C, as shells have it."""


def extract(
    cohort: Annotated[
        str,
        typer.Argument(
            metavar="COHORT", help="A folder, a pattern in quotes such as 'scans/*.svs', or a slide table (CSV, XLSX)."
        ),
    ],
    encoder: Annotated[str, typer.Option(help="Name of a tile encoder, its folder, timm:NAME or hf-hub:ORG/NAME.")],
    out: Annotated[Path, typer.Option(help="Folder for the feature files; made where missing.")],
    tile_um: Annotated[
        float | None, typer.Option(help="Side of a tile in microns; needed where the encoder takes any.")
    ] = None,
    mpp: Annotated[
        float | None, typer.Option(help="Microns per pixel of all these slides; needed where slides do not say.")
    ] = None,
    slides: Annotated[
        Path | None, typer.Option(help="Folder that the slide table's file names are relative to.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a running dask scheduler; by default processes of this machine.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes of this machine; by default one per core.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads that compute in each worker.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps; decided on each worker.")] = "auto",
    backend: Annotated[
        Backend, typer.Option(help="What computes the encoder; auto takes OpenVINO where it gives torch's features.")
    ] = Backend.TORCH,
    patience: Annotated[
        float, typer.Option(min=1.0, help="Seconds without a sign of life after which a slide is given up.")
    ] = 600.0,
    retry: Annotated[bool, typer.Option("--retry", help="Try slides again that were found broken.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """Write the features of many slides as .h5 files that STAMP reads.

    Run again, it does only what is missing. A slide that cannot be done is put aside with its reason and listed at the
    end, the others are done, and the exit status is 3.
    """
    from napari_mtlpath.cohort.find import find_slides
    from napari_mtlpath.cohort.ledger import Ledger
    from napari_mtlpath.cohort.plan import plan_extraction, sweep
    from napari_mtlpath.cohort.recipe import recipe_for

    if scheduler is not None and workers is not None:
        raise ValueError("A scheduler has workers of its own: give --scheduler or --workers, not both.")
    found = find_slides(cohort, slides=slides)
    recipe = recipe_for(encoder, tile_um=tile_um, device=device, threads=threads, patience=patience, backend=backend)
    ended: list[Entry] = []
    with ExitStack() as stack:
        ledger = stack.enter_context(Ledger(out))
        sweep(out)
        stack.callback(sweep, out)
        plan = plan_extraction(_looked(found), recipe, out, ledger=ledger, mpp=mpp, retry=retry)
        _say(ledger.notice, *plan.notes)
        if plan.jobs:
            _say(f"{len(plan.jobs)} of {len(found)} slides to do, {len(plan.done)} done before. Starting workers.")
            with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C ends the run; what is done stays
                pool = stack.enter_context(_pool(scheduler, workers, device))
                _say(*pool.notes, f"Dashboard: {pool.dashboard}" if pool.dashboard else "")
                _run(plan, pool, ended, out=out, ledger=ledger)
    entries = [*plan.done, *plan.quarantined, *ended]
    _conclude(entries, out, before={entry.target for entry in plan.done}, as_json=as_json)
    if len(entries) < len(found):
        _say("Stopped. What is done is kept: the same command does what is missing.")
        raise typer.Exit(STOPPED)
    if any(entry.status == "quarantined" for entry in entries):
        raise typer.Exit(SOME_FAILED)


def _say(*sentences: str) -> None:
    screen = console(stderr=True)
    for sentence in filter(None, sentences):
        screen.print(printable(sentence))


def _looked(found: "tuple[CohortSlide, ...]") -> "Iterator[Looked]":
    """Look at all slides behind a bar: on a network drive that takes a while."""
    from rich.progress import track

    from napari_mtlpath.cohort.plan import look

    return iter(track(look(found), "Looking at slides", total=len(found), console=console(stderr=True), transient=True))


def _pool(scheduler: str | None, workers: int | None, device: str) -> "AbstractContextManager[Pool]":
    from napari_mtlpath.cohort.cluster import default_workers, own_workers, workers_at
    from napari_mtlpath.zoo.device import pick_device

    if scheduler is not None:
        return workers_at(scheduler)
    return own_workers(workers or default_workers(pick_device(device).device.type))


def _run(plan: "Plan", pool: "Pool", ended: "list[Entry]", *, out: Path, ledger: "Ledger") -> None:
    """Add to `ended` what ends."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from napari_mtlpath.cohort.extract import extract as extraction

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    reports = extraction(plan, pool, out=out, ledger=ledger)
    with (
        contextlib.closing(reports),
        Progress(*columns, console=console(stderr=True), transient=True) as progress,
    ):
        bars = _Bars(progress, slides=len(plan.jobs))
        for report in reports:
            bars.show(report)
            if isinstance(report, SlideEnded):
                ended.append(report.entry)


class _Bars:
    """A bar for the cohort, and one for the tiles of the slides in work."""

    def __init__(self, progress: "Progress", *, slides: int) -> None:
        self._progress = progress
        self._slides = progress.add_task("Slides", total=slides)
        self._tiles = progress.add_task("Tiles of the slides in work", total=None)
        self._in_work: dict[str, tuple[int, int]] = {}

    def show(self, report: "Report") -> None:
        match report:
            case TilesDone():
                self._in_work[report.slide] = (report.known, report.total)
            case SlideEnded(entry=entry):
                self._in_work.pop(entry.slide, None)
                self._progress.advance(self._slides)
                if entry.status == "quarantined":
                    self._progress.console.print(printable(f"Put aside: {entry.slide}: {entry.reason}"))
            case WorkerDied(slide=slide):
                self._in_work.pop(slide, None)
                self._progress.console.print(printable(f"The worker of {slide} ended unexpectedly; trying again."))
            case NoWorkers():
                self._progress.console.print("There is no worker; waiting for one.")
            case _:
                assert_never(report)
        known, total = (
            (sum(numbers) for numbers in zip(*self._in_work.values(), strict=True)) if self._in_work else (0, 0)
        )
        self._progress.update(self._tiles, completed=known, total=total or None)


def _conclude(entries: "list[Entry]", out: Path, *, before: set[str], as_json: bool) -> None:
    broken = [entry for entry in entries if entry.status == "quarantined"]
    if as_json:
        rows = [
            {
                "slide": entry.slide,
                "status": "already done" if entry.target in before else str(entry.status),
                "message": entry.reason,
                "features": str(out / entry.target) if entry.status == "done" else None,
                "tiles": entry.tiles,
                "unreadable_tiles": entry.unreadable,
            }
            for entry in entries
        ]
        print_json({"use": RESEARCH_USE_ONLY, "out": str(out), "slides": rows})
        return
    screen = console()
    done = len(entries) - len(broken)
    screen.print(f"{done} slides done ({len(before)} before), {len(broken)} put aside. Features: {printable(out)}")
    damaged = sum(entry.unreadable > 0 for entry in entries)
    if damaged:
        screen.print(f"{damaged} slides have tiles that could not be read; their files say how many.")
    if broken:
        made = table("Put aside", "Reason")
        for entry in broken:
            add_row(made, entry.slide, entry.reason)
        screen.print(made)
        screen.print("Put right what can be, then run the same command with --retry.")
    screen.print(f"{RESEARCH_USE_ONLY}.")
