"""`mtlpath demo`: a sample slide in napari with a trained model working; screenshots where there is no display."""

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_mtlpath.cli.console import RESEARCH_USE_ONLY, add_row, console, printable, table
from napari_mtlpath.cli.display import has_display, under_xvfb
from napari_mtlpath.cli.predict import answer_words

if TYPE_CHECKING:
    from napari_mtlpath.viewer.launch import Launch, Pictures

_FIRST_LOOK: dict[str, dict[str, Any]] = {
    "cmu-1-small-region": {"task": "nuclei", "kind": "prediction"},  # H&E has no DAB, the model's first task
    "ihc": {"task": "dab", "kind": "prediction"},
}
"""What the demo paints first on a sample, where that is not the model's first task: what can be checked by eye."""

UNDER_XVFB = "MTLPATH_DEMO_UNDER_XVFB"
"""Set in the process that runs under the virtual display."""


def demo(
    slide: Annotated[
        Path | None,
        typer.Argument(metavar="[SLIDE]", help="A slide of your own instead of a sample.", show_default=False),
    ] = None,
    sample: Annotated[
        str | None, typer.Option(help="Name of a sample slide; the first that is there by default.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Name of a model; by default the one that fits the sample.")] = None,
    mpp: Annotated[float | None, typer.Option(help="Microns per pixel, where the slide does not say.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    task: Annotated[str | None, typer.Option(help="Name of the task to paint first.")] = None,
    out: Annotated[Path, typer.Option(help="Where screenshots go when there is no display.")] = Path("build/demo"),
    patience: Annotated[
        float, typer.Option(min=1.0, help="Seconds to wait for the visible field, without a display.")
    ] = 600.0,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Take the screenshots though there is a display.")
    ] = False,
) -> None:
    """Open a sample slide with a model at work.

    A trained model paints its heatmaps on what is visible. Without a display: the same on a virtual one,
    screenshots of it below OUT, and the predictions in words.
    """
    if not has_display():
        raise typer.Exit(_again_under_xvfb())

    from napari_mtlpath.viewer.launch import photograph, show

    launch = replace(_launch(slide, sample, model), mpp=mpp, device=device)
    if task is not None:
        launch = replace(launch, task=task)
    if os.environ.get(UNDER_XVFB) or pictures:
        _print(launch, photograph(launch, folder=out, patience=patience))
    else:
        show(launch)


def _again_under_xvfb() -> int:
    """Run this very command under a virtual display and return its exit status."""
    command = under_xvfb([sys.executable, "-m", "napari_mtlpath.cli.main", *sys.argv[1:]])
    with tempfile.TemporaryDirectory(prefix="mtlpath-demo-") as folder:
        # Settings of their own, so that pictures look the same everywhere and the user's stay as they are.
        settings = {"NAPARI_CONFIG": str(Path(folder) / "settings.yaml"), UNDER_XVFB: "1"}
        environment = {key: value for key, value in os.environ.items() if key != "WAYLAND_DISPLAY"}
        return subprocess.run(command, env=environment | settings, check=False).returncode


def _launch(slide: Path | None, sample: str | None, model: str | None) -> "Launch":
    """Return what to show: the user's wish first, then the best sample that can be had here."""
    from napari_mtlpath.samples import TISSUE_MODEL, SampleUnavailable, sample_slides
    from napari_mtlpath.samples import sample as sample_called
    from napari_mtlpath.viewer.launch import Launch

    if slide is not None:
        if sample is not None:
            raise ValueError(f"Expected a slide or --sample; found both ('{slide}' and {sample!r}). Give one of them.")
        return Launch(slide=slide, model=model or TISSUE_MODEL)  # most slides at hand are of tissue
    for candidate in [sample_called(sample)] if sample is not None else sample_slides():
        try:
            path = candidate.path()
        except SampleUnavailable as error:
            if sample is not None:
                raise
            typer.echo(printable(error), err=True)
            continue
        typer.echo(f"Sample slide: {candidate.title}. {candidate.detail} ({candidate.credit})")
        first = _FIRST_LOOK.get(candidate.name, {}) if model is None else {}
        return Launch(slide=path, model=model or candidate.model, assumed_mpp=candidate.assumed_mpp, **first)
    raise RuntimeError("No sample slide can be had here. Give the path of a slide of your own.")


def _print(launch: "Launch", taken: "Pictures") -> None:
    out = console()
    made = table("Task", "Answer", "")
    for name, answer in taken.predictions["tasks"].items():
        calibrated = answer.get("calibrated", True)  # areas are measured, not calibrated
        add_row(made, name, answer_words(answer), "" if calibrated else "not calibrated")
    out.print(made)
    known, total = taken.predictions["tiles_known"], taken.predictions["tiles_total"]
    level = {"slide": "slide-level", "region": "region-level"}.get(taken.predictions["level"], "all tiles")
    out.print(f"{printable(launch.slide.name)}, model {launch.model}: {known} of {total} tissue tiles, {level}.")
    out.print(f"{RESEARCH_USE_ONLY}.")
    for path in taken.paths:
        out.print(f"Screenshot: {printable(path)}")
