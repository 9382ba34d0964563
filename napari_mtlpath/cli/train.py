"""`mtlpath train`: a config becomes a model folder."""

import math
import signal
import tomllib
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_mtlpath.cli.console import RESEARCH_USE_ONLY, console, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress

    from napari_mtlpath.training.config import TrainConfig
    from napari_mtlpath.training.report import TrainingReport

STOPPED = 130
"""Exit status after Ctrl-C, as shells have it."""


def train(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG.toml", help="The TOML file that says what to train.", show_default=False)
    ],
    change: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change a value, such as optimisation.epochs=3.")
    ] = [],  # noqa: B006  typer reads the default, nobody changes it
    out: Annotated[
        Path | None, typer.Option(help="The model folder to write; by default among your own models.")
    ] = None,
    data: Annotated[list[Path], typer.Option(help="A folder to look for data files in; may be repeated.")] = [],  # noqa: B006
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    fresh: Annotated[bool, typer.Option("--fresh", help="Start anew, though there is a checkpoint.")] = False,
) -> None:
    """Train what a config describes.

    Ctrl-C stops after a whole step; the same command goes on after the last whole epoch.
    """
    from napari_mtlpath.training.config import parse_config, read_config
    from napari_mtlpath.training.train import train as training
    from napari_mtlpath.zoo.device import pick_device

    settings = parse_config(changed(_tables(config), change), origin=config.name) if change else read_config(config)
    place = pick_device(device)
    folder = out if out is not None else _own_folder(settings)
    out_console = console(stderr=True)
    out_console.print(f"Training {settings.name} ({settings.kind}) on {place.device}. {place.reason}.")
    reports = training(settings, output=folder, data=tuple(data), device=place.device, resume=not fresh)
    with _interruption() as interrupted:
        last = _show(reports, interrupted)
    if isinstance(reports, Generator):
        reports.close()  # after Ctrl-C: what the training holds open is let go of
    if last is None or last.output is None:
        typer.echo("Stopped after a whole step. The same command goes on after the last whole epoch.", err=True)
        raise typer.Exit(STOPPED)
    if last.stopped:
        typer.echo(printable(last.stopped))
    typer.echo(f"Wrote {printable(last.output)}. {RESEARCH_USE_ONLY}.")


def changed(tables: dict[str, Any], changes: list[str]) -> dict[str, Any]:
    """Return a config's tables with values changed.

    Parameters
    ----------
    tables
        What the TOML file says.
    changes
        ``"table.key=value"`` each; the value as in TOML, or plain text.

    Raises
    ------
    ValueError
        If a change has no ``=``, or goes through a value that is no table.

    Examples
    --------
    >>> changed({"optimisation": {"epochs": 10}}, ["optimisation.epochs=3", "name=small"])
    {'optimisation': {'epochs': 3}, 'name': 'small'}
    """
    result = {key: dict(value) if isinstance(value, Mapping) else value for key, value in tables.items()}
    for change in changes:
        path, equals, text = change.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise ValueError(f"--set needs KEY=VALUE, such as optimisation.epochs=3; found {change!r}.")
        table: dict[str, Any] = result
        for key in keys[:-1]:
            inner = table.setdefault(key, {})
            if not isinstance(inner, dict):
                raise ValueError(f"--set {change}: {key!r} is a value, not a table. Check the key.")
            table[key] = table = dict(inner)
        table[keys[-1]] = _value(text.strip())
    return result


def _value(text: str) -> Any:  # noqa: ANN401  whatever TOML can say
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        return text


def _tables(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"There is no config '{path}'. Give the path of a TOML file.")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} is not valid TOML: {error}.") from error


def _own_folder(settings: "TrainConfig") -> Path:
    from napari_mtlpath.folders import data_folder

    return data_folder() / "models" / ("tile-encoders" if settings.kind == "tiles" else "slide-models") / settings.name


@contextmanager
def _interruption() -> "Iterator[Callable[[], bool]]":
    """Give a function that says whether Ctrl-C was pressed; the second press ends the program at once."""
    pressed = False

    def press(number: int, frame: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _show(reports: "Iterator[TrainingReport]", interrupted: "Callable[[], bool]") -> "TrainingReport | None":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    last = None
    with Progress(*columns, console=console(stderr=True)) as progress:
        bar = progress.add_task("steps", total=None)
        for last in reports:
            progress.update(bar, completed=last.step, total=last.steps, description=_loss_words(last))
            if last.metrics and last.output is None:
                _print_epoch(last, progress)
            if interrupted():
                break
    return last


def _loss_words(report: "TrainingReport") -> str:
    loss = "" if math.isnan(report.loss) else f", loss {report.loss:.4f}"
    return f"epoch {min(report.epoch + 1, report.epochs)} of {report.epochs}{loss}"


def _print_epoch(report: "TrainingReport", progress: "Progress") -> None:
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in report.metrics.items())
    kept = " (best)" if report.best_epoch == report.epoch else ""
    progress.console.print(f"epoch {report.epoch}{_best(report)}{kept}: {metrics}")


def _best(report: "TrainingReport") -> str:
    return "" if math.isnan(report.score) else f", score {report.score:.4f}"
