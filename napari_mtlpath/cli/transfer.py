"""`mtlpath transfer`: how well tile encoders serve further tasks, by a linear SVM or by fine-tuning."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_mtlpath.cli.console import RESEARCH_USE_ONLY, printable
from napari_mtlpath.cli.train import STOPPED, changed, interruption, tables_of
from napari_mtlpath.cli.training_progress import Returned, show_training

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from napari_mtlpath.training.pool.task_pool import PoolTask, TaskPool
    from napari_mtlpath.training.transfer.fine_tuning import FineTuning
    from napari_mtlpath.training.transfer.linear_probe import Transfer

BASELINE = "colour-stats"
"""An encoder without weights that every other one has to beat."""


def transfer(
    config: Annotated[
        Path, typer.Argument(metavar="TASKS.toml", help="[[pool]] tables of the tasks, as `mtlpath pretrain` reads.")
    ],
    encoder: Annotated[list[str], typer.Option(help="Name or folder of a tile encoder; may be repeated.")],
    task: Annotated[
        list[str], typer.Option(help="A task of the file; by default those of the sets it leaves out, else all.")
    ] = [],  # noqa: B006  typer reads the default, nobody changes it
    tune: Annotated[
        bool, typer.Option("--fine-tune", help="Also train the whole network on each task, at several rates.")
    ] = False,
    scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Also train the same network from random weights.")
    ] = False,
    adapt_norms: Annotated[
        bool,
        typer.Option(
            "--adapt-norms",
            help="Also normalise by the statistics of the new set's training pictures (no label is used).",
        ),
    ] = False,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of fine-tuning and of training from scratch.")] = 100,
    rates: Annotated[str, typer.Option(help="Learning rates that the validation part chooses from.")] = (
        "1e-3,1e-4,1e-5,1e-6"
    ),
    folds: Annotated[int, typer.Option(min=2, help="Grouped folds that C of the SVM is chosen by.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the folds and of fine-tuning.")] = 0,
    change: Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the file.")] = [],  # noqa: B006
    data: Annotated[list[Path], typer.Option(help="A folder to look for data files in; may be repeated.")] = [],  # noqa: B006
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say how well encoders serve tasks that they were not made for, each figure beside the trivial answer's.

    The SVM learns from training and validation parts, C chosen by folds that divide no patient, slide or image; the
    test part is used once. Colour statistics, an encoder without weights, stand beside those that you name.
    """
    from napari_mtlpath.training.transfer.fine_tuning import FineTuning
    from napari_mtlpath.zoo.device import pick_device

    tuning = FineTuning(epochs=epochs, rates=_numbers(rates), seed=seed)
    tunings = [tuning] if tune else []
    tunings += [replace(tuning, from_scratch=True)] if scratch else []
    place = pick_device(device).device
    rows = []
    for tasks, pool, name in _targets(config, change, (*data, config.resolve().parent), [*encoder, BASELINE], task):
        rows += _probed(tasks, pool, name, device=place, folds=folds, seed=seed, adapt_norms=adapt_norms)
        if name != BASELINE:
            rows += [_tuned(each, pool, name, tuning, device=place) for tuning in tunings for each in tasks]
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    for line in _lines(rows):
        typer.echo(printable(line))
    typer.echo(f"{RESEARCH_USE_ONLY}.")


def _targets(
    config: Path, change: list[str], folders: tuple[Path, ...], encoders: "Sequence[str]", wanted: list[str]
) -> "Iterator[tuple[list[PoolTask], TaskPool, str]]":
    """Yield each encoder with the tasks cut to its tiles; the pictures are read once."""
    from napari_mtlpath.encoders.load import find_encoder_card
    from napari_mtlpath.nn.options import nearest
    from napari_mtlpath.tiles.spec import TileSpec
    from napari_mtlpath.training.config.train_config import parse_config
    from napari_mtlpath.training.pool.task_pool import read_pool

    named = {
        "kind": "pool",
        "name": "transfer",
        "encoder": {},
        "optimisation": {"epochs": 1, "batch": 64, "learning_rate": 1e-3},
    }
    settings = parse_config({**named, **changed(tables_of(config), change)}, origin=config.name)
    if settings.kind != "pool":
        raise ValueError(f"{config.name} is of kind {settings.kind!r}; expected [[pool]] tables, as for pretrain.")
    pool = read_pool(settings, folders=folders)
    if settings.leave_out and not wanted:
        pool = pool.only(settings.leave_out)
    names = [each.name for each in pool.tasks]
    for each in wanted:
        if each not in names:
            hint = nearest(each, names)
            raise ValueError(f"{config.name} has no task {each!r}.{hint} Its tasks: {', '.join(names)}.")
    chosen = [each for each in pool.tasks if not wanted or each.name in wanted]
    for name in encoders:
        px = find_encoder_card(name).tile_px or pool.spec.tile_px
        yield chosen, replace(pool, spec=TileSpec(tile_um=pool.spec.tile_um, tile_px=px)), name


def _probed(
    tasks: "Sequence[PoolTask]",
    pool: "TaskPool",
    name: str,
    *,
    device: "torch.device",
    folds: int,
    seed: int,
    adapt_norms: bool,
) -> "list[Transfer]":
    from napari_mtlpath.encoders.load import load_encoder
    from napari_mtlpath.training.pool.adapt_norms import batch_norms
    from napari_mtlpath.training.pool.parts import Part
    from napari_mtlpath.training.transfer.linear_probe import linear_probe
    from napari_mtlpath.training.transfer.new_domain import ADAPTED, transfer_features

    encoder = load_encoder(name)
    encoder.to(device)
    px = int(pool.spec.tile_px)
    rows = []
    for adapted in (False, True) if adapt_norms and batch_norms(encoder.module) else (False,):
        features = transfer_features(
            encoder.module, tasks, parts=tuple(Part), tile_px=px, device=device, adapt_norms=adapted
        )
        for each in tasks:
            own = {part: found[each.name] for part, found in features.items()}
            row = linear_probe(each, own, encoder=encoder.name, folds=folds, seed=seed)
            rows.append(replace(row, method=f"{row.method}, {ADAPTED}") if adapted else row)
    return rows


def _tuned(
    task: "PoolTask", pool: "TaskPool", name: str, tuning: "FineTuning", *, device: "torch.device"
) -> "Transfer":
    from napari_mtlpath.folders import data_folder
    from napari_mtlpath.training.transfer.fine_tuning import fine_tune

    folder = data_folder() / "runs" / "transfer"
    reports: Returned[Transfer] = Returned(
        fine_tune(task, pool, encoder=name, tuning=tuning, folder=folder, device=device)
    )
    with interruption() as interrupted:
        show_training(reports, interrupted)
    if reports.value is None:
        reports.close()
        typer.echo("Stopped after a whole step. The same command goes on from there.", err=True)
        raise typer.Exit(STOPPED)
    return reports.value


def _lines(rows: "Sequence[Transfer]") -> Iterator[str]:
    for task in dict.fromkeys(row.task for row in rows):
        own = [row for row in rows if row.task == task]
        yield f"{task} ({own[0].metric}, trivial answer {own[0].floor:.3f}):"
        for row in own:
            interval = f"{row.low:.3f} to {row.high:.3f}"
            yield f"  {row.value:.3f} ({interval})  {Path(row.encoder).name}, {row.method}, {row.chosen}"


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in text.split(","))
    except ValueError:
        raise ValueError(f"--rates needs numbers such as 1e-3,1e-4; found {text!r}.") from None
