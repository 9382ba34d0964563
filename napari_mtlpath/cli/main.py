"""The command line: `mtlpath` and its commands, each in a file of its own."""

import logging
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from napari_mtlpath.cli.add_task import add_task
from napari_mtlpath.cli.compare import compare
from napari_mtlpath.cli.console import RESEARCH_USE_ONLY, one_line, printable
from napari_mtlpath.cli.demo import demo
from napari_mtlpath.cli.doctor import doctor
from napari_mtlpath.cli.evaluate import evaluate
from napari_mtlpath.cli.extract import extract
from napari_mtlpath.cli.info import info
from napari_mtlpath.cli.models import models
from napari_mtlpath.cli.predict import predict
from napari_mtlpath.cli.pretrain import pretrain
from napari_mtlpath.cli.remove_task import remove_task
from napari_mtlpath.cli.retrieve import retrieve
from napari_mtlpath.cli.train import train
from napari_mtlpath.cli.transfer import transfer
from napari_mtlpath.cli.view import view
from napari_mtlpath.tables.problems import TableError


class OneLineErrors(TyperGroup):
    """Turn what bad input raises into one line and a non-zero exit status; `--debug` shows the traceback instead."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  the type of its base is private to typer
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except (OSError, ValueError, ArithmeticError, ImportError, RuntimeError, MemoryError) as error:
            if ctx.params.get("debug"):
                raise
            for line in error.lines if isinstance(error, TableError) else (one_line(error),):
                typer.echo(f"Error: {printable(line)}", err=True)
            raise typer.Exit(1) from error


app = typer.Typer(
    name="mtlpath",
    cls=OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mtlpath {version('napari-mtlpath')}. {RESEARCH_USE_ONLY}.")
        raise typer.Exit


@app.callback()
def mtlpath(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Log facts and show tracebacks.")] = False,
) -> None:
    """Multi-task models on whole-slide images: see, predict, train. Research use only."""
    if debug:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")


_TEACHING = (train, pretrain, add_task, remove_task)
for _command in (demo, view, info, models, predict, extract, *_TEACHING, evaluate, compare, retrieve, transfer, doctor):
    app.command()(_command)

if __name__ == "__main__":
    app()
