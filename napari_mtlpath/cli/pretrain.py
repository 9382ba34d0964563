"""`mtlpath pretrain`: many small tasks, or slides of known label, become a tile encoder."""

from pathlib import Path
from typing import Annotated

import typer

from napari_mtlpath.cli.leaving_out import leave_sets_out
from napari_mtlpath.cli.train import read_changed, start

KINDS = ("pool", "slide_aware")
"""Kinds of config that pre-train an encoder; `mtlpath train` runs them, too."""


def pretrain(
    config: Annotated[
        Path | None,
        typer.Argument(metavar="CONFIG.toml", help="The TOML file that says what to learn from.", show_default=False),
    ] = None,
    template: Annotated[
        str, typer.Option(metavar="NAME", help=f"Print a commented config to start from: {' or '.join(KINDS)}.")
    ] = "",
    check: Annotated[
        bool, typer.Option("--check", help="Read config and data, say what would be trained, and train nothing.")
    ] = False,
    change: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change a value, such as optimisation.epochs=3.")
    ] = [],  # noqa: B006  typer reads the default, nobody changes it
    out: Annotated[
        Path | None, typer.Option(help="The encoder folder to write; by default among your own encoders.")
    ] = None,
    data: Annotated[list[Path], typer.Option(help="A folder to look for data files in; may be repeated.")] = [],  # noqa: B006
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="Go on from a checkpoint if there is one, or start anew.")
    ] = True,
    leave_one_out: Annotated[
        bool,
        typer.Option("--leave-one-out", help="Leave out each set of the pool once, and say how its tasks are served."),
    ] = False,
    vary: Annotated[
        list[str], typer.Option(metavar="KEY=V1,V2", help="With --leave-one-out: settings to rank; may be repeated.")
    ] = [],  # noqa: B006
    seeds: Annotated[int, typer.Option(min=1, help="With --leave-one-out: trainings of each setting.")] = 5,
) -> None:
    """Pre-train a tile encoder, for models of your own tasks.

    A pool of many small tile classification tasks also gives a tile model, which answers them in the viewer. With
    --leave-one-out no encoder is written: settings are ranked by how well they serve tasks left out (--out is then the
    folder of checkpoints and scores).

    Ctrl-C stops after a whole step and keeps it; the same command goes on from there.
    """
    if template:
        from napari_mtlpath.training.config.template import template as text_of

        typer.echo(text_of(_kind(template)), nl=False)
        return
    if config is None:
        raise ValueError("Expected a config: mtlpath pretrain CONFIG.toml. Make one: mtlpath pretrain --template pool.")
    if leave_one_out:
        leave_sets_out(config, change=change, vary=vary, seeds=seeds, out=out, data=data, device=device)
        return
    settings = read_changed(config, change)
    if settings.kind not in KINDS:
        raise ValueError(
            f"{config.name} is of kind {settings.kind!r}; expected {' or '.join(KINDS)}. Run it with mtlpath train."
        )
    start(settings, config, out=out, data=data, device=device, check=check, resume=resume)


def _kind(name: str) -> str:
    found = name.replace("-", "_")
    if found not in KINDS:
        raise ValueError(f"There is no template {name!r} of a pre-training. Known: {', '.join(KINDS)}.")
    return found
