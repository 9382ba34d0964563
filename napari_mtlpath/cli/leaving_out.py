"""`mtlpath pretrain --leave-one-out`: which setting of a pool gives the encoder that serves tasks it never saw best."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from napari_mtlpath.cli.console import RESEARCH_USE_ONLY, printable
from napari_mtlpath.cli.train import STOPPED, interruption, read_changed
from napari_mtlpath.cli.training_progress import Returned, show_training

if TYPE_CHECKING:
    from napari_mtlpath.training.config.pool import PoolConfig
    from napari_mtlpath.training.transfer.leave_out import LeftOut


def leave_sets_out(
    config: Path,
    *,
    change: list[str],
    vary: list[str],
    seeds: int,
    out: Path | None,
    data: list[Path],
    device: str,
) -> None:
    """Train every setting without each set and print how its features serve that set, and the settings' mean ranks."""
    from napari_mtlpath.folders import data_folder
    from napari_mtlpath.training.pool.task_pool import read_pool
    from napari_mtlpath.training.transfer.leave_out import LeftOut, leave_one_out, varied
    from napari_mtlpath.zoo.device import pick_device

    settings = {", ".join(each): _pool(config, [*change, *each]) for each in varied(vary)}
    first = next(iter(settings.values()))
    pool = read_pool(first, folders=(*data, config.resolve().parent)).without(first.leave_out)
    folder = out or data_folder() / "runs" / f"{first.name}-leave-one-out"
    reports: Returned[LeftOut] = Returned(
        leave_one_out(settings, pool, seeds=range(seeds), folder=folder, device=pick_device(device).device)
    )
    with interruption() as interrupted:
        show_training(reports, interrupted)
    if reports.value is None:
        reports.close()
        typer.echo("Stopped after a whole step. The same command goes on from there.", err=True)
        raise typer.Exit(STOPPED)
    for line in table_of(reports.value):
        typer.echo(printable(line))
    typer.echo(f"{RESEARCH_USE_ONLY}.")


def _pool(config: Path, change: list[str]) -> "PoolConfig":
    settings = read_changed(config, change)
    if settings.kind != "pool":
        raise ValueError(f"{config.name} is of kind {settings.kind!r}; only a pool can leave its sets out.")
    return settings


def table_of(found: "LeftOut") -> Iterator[str]:
    """Yield scores and mean ranks as a Markdown table, and which setting is best for each task by the others."""
    from napari_mtlpath.evaluation.mean_ranks import best_setting, mean_ranks

    yield f"| setting | {' | '.join(found.tasks)} | mean rank |"
    yield f"|---|{'---|' * len(found.tasks)}---|"
    spread = found.scores.std(axis=2)
    for row, (words, rank) in enumerate(zip(found.settings, mean_ranks(found.means), strict=True)):
        cells = " | ".join(f"{m:.3f} ± {s:.3f}" for m, s in zip(found.means[row], spread[row], strict=True))
        yield f"| {words or 'as configured'} | {cells} | {rank:.2f} |"
    if len(found.settings) > 1 and len(found.tasks) > 1:
        for column, task in enumerate(found.tasks):
            chosen = found.settings[best_setting(found.means, without=column)]
            yield f"For {task}, by the ranks of the other tasks: {chosen}."
