"""`mtlpath train`: a config becomes a model folder."""

import os
import signal
import tomllib
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_mtlpath.cli.console import RESEARCH_USE_ONLY, console, printable
from napari_mtlpath.cli.training_progress import show_training

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_mtlpath.training.config.train_config import TrainConfig
    from napari_mtlpath.zoo.device import TorchDevice

STOPPED = 130
"""Exit status after Ctrl-C, as shells have it."""


def train(
    config: Annotated[
        Path | None,
        typer.Argument(metavar="CONFIG.toml", help="The TOML file that says what to train.", show_default=False),
    ] = None,
    template: Annotated[
        str, typer.Option(metavar="NAME", help="Print a commented config to start from: mecds, abmil, tiles, ...")
    ] = "",
    check: Annotated[
        bool, typer.Option("--check", help="Read config and data, say what would be trained, and train nothing.")
    ] = False,
    change: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change a value, such as optimisation.epochs=3.")
    ] = [],  # noqa: B006  typer reads the default, nobody changes it
    out: Annotated[
        Path | None,
        typer.Option(help="The model folder to write; by default among your own models. With folds, theirs."),
    ] = None,
    data: Annotated[list[Path], typer.Option(help="A folder to look for data files in; may be repeated.")] = [],  # noqa: B006
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    fresh: Annotated[bool, typer.Option("--fresh", help="Start anew, though there is a checkpoint.")] = False,
) -> None:
    """Train what a config describes.

    Data files are looked for where you are, beside the config, in --data, and in MTLPATH_DATA. Ctrl-C stops after a
    whole step and keeps it; the same command goes on from there.
    """
    if template:
        from napari_mtlpath.training.config.template import template as text_of

        typer.echo(text_of(template), nl=False)
        return
    if config is None:
        raise ValueError("Expected a config: mtlpath train CONFIG.toml. Make one: mtlpath train --template mecds.")
    start(read_changed(config, change), config, out=out, data=data, device=device, check=check, resume=not fresh)


def read_changed(config: Path, change: list[str]) -> "TrainConfig":
    """Read a config with values changed."""
    from napari_mtlpath.training.config.train_config import parse_config

    return parse_config(changed(tables_of(config), change), origin=config.name)


def start(
    settings: "TrainConfig",
    config: Path,
    *,
    out: Path | None,
    data: list[Path],
    device: str,
    check: bool,
    resume: bool,
) -> None:
    """Train what `settings`, read from the file `config`, describe; or say what would be trained."""
    from napari_mtlpath.zoo.device import pick_device

    folders = (*data, config.resolve().parent)
    place = pick_device(device)
    if check:
        from napari_mtlpath.training.check import check as sentences

        for sentence in sentences(settings, data=folders, device=place.device):
            typer.echo(printable(sentence))
        return
    _train(settings, out=out, data=folders, place=place, resume=resume)


def _train(
    settings: "TrainConfig", *, out: Path | None, data: tuple[Path, ...], place: "TorchDevice", resume: bool
) -> None:
    from napari_mtlpath.folders import data_folder
    from napari_mtlpath.training.loop.distributed import leads
    from napari_mtlpath.training.loop.event_log import HINT, is_available
    from napari_mtlpath.training.own_folder import own_folder
    from napari_mtlpath.training.train import train as training

    folder = out if out is not None else own_folder(settings)
    if leads():
        out_console = console(stderr=True)
        out_console.print(f"Training {settings.name} ({settings.kind}) on {place.device}. {place.reason}.")
        out_console.print(f"Curves: tensorboard --logdir '{data_folder() / 'runs'}'." if is_available() else f"{HINT}.")
    reports = training(settings, output=folder, data=data, device=place.device, resume=resume)
    with interruption() as interrupted:
        last = show_training(reports, interrupted, quiet=not leads())
    if isinstance(reports, Generator):
        reports.close()  # after Ctrl-C: what the training holds open is let go of
    if last is None or last.output is None:
        typer.echo("Stopped after a whole step. The same command goes on from there.", err=True)
        raise typer.Exit(STOPPED)
    if not leads():
        return
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


def tables_of(path: Path) -> dict[str, Any]:
    """Return what a TOML file says."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no config '{path}'. Give the path of a TOML file.")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} is not valid TOML: {error}.") from error


@contextmanager
def interruption() -> "Iterator[Callable[[], bool]]":
    """Give a function that says whether Ctrl-C was pressed; the second press ends the program at once.

    A batch system's SIGTERM stops after a whole step, too. ``torchrun`` sends its processes more than one signal, so
    that there the second one must not end anything.
    """
    pressed = False

    def press(number: int, frame: object) -> None:
        nonlocal pressed
        if pressed and number == signal.SIGINT and "TORCHELASTIC_RUN_ID" not in os.environ:
            raise KeyboardInterrupt
        pressed = True

    before = {number: signal.signal(number, press) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: pressed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
