"""Tasks of pixels and tiles learned together or alone: ``python -m benchmarks.pixels FOLDER``.

CTAN, MTAN and hard parameter sharing learn the parts of white blood cells (masks derived from colours, not annotated)
and the cell type together; ``single`` learns each with a network of its own. All see the same split of the public
archive of cells (pbc_wbcatt_trainval_96.zip in MTLPATH_DATA or ../shared/data), the same augmentation, the same steps;
seeds are those of the networks and of the order. The backbone is a small ResNet, from scratch.

Printed in the form of the published table (Kim et al., 2023, Table 2): each figure with its 95 % interval over test
tiles and seeds (the pigeonhole bootstrap), the relative performance to ``single`` on the same draws, its mean, and the
rank by it; the trivial answer beside them. Dice is the mean over nucleus and cytoplasm, over all pixels of the part.

A run that is finished is not made again: the same command goes on after an interruption and adds seeds. ``--most 1``
makes one run and ends, ``--report`` makes none.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from napari_mtlpath.evaluation.gain import relative_gain
from napari_mtlpath.evaluation.segmentation import Overlap, mean_dice, tile_draws
from napari_mtlpath.files import replacing
from napari_mtlpath.training.config.pixels import PixelsConfig
from napari_mtlpath.training.config.train_config import parse_config
from napari_mtlpath.training.pixels.cell_pixels import FIELDS
from napari_mtlpath.training.pixels.pixel_answers import answer_facts, known_labels
from napari_mtlpath.training.pixels.pixel_data import PixelData
from napari_mtlpath.training.pixels.sources import pixel_data
from napari_mtlpath.training.train import train
from napari_mtlpath.zoo.pixel_card import read_pixel_card
from napari_mtlpath.zoo.pixel_load import load_pixel_model

PARTS, TYPE = "cell_parts", "cell_type"
METHODS = ("single", "hps", "mtan", "ctan")
DRAWS = 1000


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One network to train: of a method, a seed, and for ``single`` one task."""

    method: str
    seed: int
    task: str = ""

    @property
    def name(self) -> str:
        return "-".join(part for part in (self.method, self.task, f"seed-{self.seed}") if part)


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A figure, and its values over resamples of tiles and seeds."""

    value: float
    values: np.ndarray

    @property
    def words(self) -> str:
        low, high = np.percentile(self.values, [2.5, 97.5])
        return f"{self.value:.1f} ({low:.1f} to {high:.1f})"


def main() -> None:
    arguments = _arguments()
    folder = arguments.folder.resolve()
    if not arguments.report:
        check_settings(folder, arguments)
    data: PixelData | None = None
    made = 0
    for run in planned(arguments.seeds):
        if arguments.report or made == arguments.most:
            break
        if facts_file(folder, run).is_file():
            continue
        config = config_of(run, arguments)
        data = data or pixel_data(config)
        make(run, config, data, folder)
        made += 1
    for line in report(folder, arguments.seeds):
        sys.stdout.write(line + "\n")


def check_settings(folder: Path, arguments: argparse.Namespace) -> None:
    """Refuse a folder that holds runs of other settings: they would be taken for these."""
    settings = {key: getattr(arguments, key) for key in ("cells", "epochs", "levels", "channels", "learning_rate")}
    path = folder / "settings.json"
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != settings:
        raise SystemExit(
            f"{folder} holds runs of other settings ({path.name}). Choose another folder, or give the same."
        )
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings), encoding="utf-8")


def planned(seeds: list[int]) -> Iterator[PlannedRun]:
    """Yield the runs, seed by seed, so that an early stop leaves whole comparisons."""
    for seed in seeds:
        for task in (PARTS, TYPE):
            yield PlannedRun(method="single", seed=seed, task=task)
        for method in METHODS[1:]:
            yield PlannedRun(method=method, seed=seed)


def config_of(run: PlannedRun, arguments: argparse.Namespace) -> PixelsConfig:
    backbone = {"channels": arguments.channels, "stem_width": arguments.channels[0] // 2}
    config = parse_config(
        {
            "kind": "pixels",
            "name": run.name,
            "seed": run.seed,
            "tasks": [run.task] if run.task else [],
            "data": {"source": "cells", "training_cells": arguments.cells, "selection_share": 0.02},
            "network": {
                "name": run.method,
                "options": {"backbone": "resnet10t", "arguments": backbone, "levels": arguments.levels},
            },
            "augmentation": {"contrast": 0.12, "brightness": 0.04, "tint": 0.05},
            "optimisation": {
                "epochs": arguments.epochs,
                "batch": 8,
                "learning_rate": arguments.learning_rate,
                "weight_decay": 1e-5,
                "warmup_epochs": 0.5,
            },
            "balancing": {"method": "equal" if run.task else "dwa"},
        }
    )
    assert isinstance(config, PixelsConfig)
    return config


def make(run: PlannedRun, config: PixelsConfig, data: PixelData, folder: Path) -> None:
    """Train one network and write what is needed of its answers to the test tiles."""
    output = folder / run.name
    for update in train(config, output=output, runs=folder / "runs"):
        if update.metrics:
            sys.stderr.write(f"{run.name}: epoch {update.epoch}: {json.dumps(dict(update.metrics))}\n")
    cut = data.only(config.tasks)
    network = load_pixel_model(output, device="cpu").network
    kept: dict[str, np.ndarray] = {}
    for name, side in cut.tests.items():
        facts = answer_facts(network, side, device=torch.device("cpu"))
        kept[f"{name}/groups"] = np.array(side.groups)
        for task, found in facts.overlaps.items():
            kept |= {f"{name}/{task}/{part}": getattr(found, part) for part in ("both", "said", "true")}
        for task, said in facts.answers.items():
            truth, known = known_labels(cut.tasks, side, task)
            kept[f"{name}/{task}/right"] = np.where(known, said == truth, np.nan)
    with replacing(facts_file(folder, run)) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **kept)


def facts_file(folder: Path, run: PlannedRun) -> Path:
    return folder / f"{run.name}.npz"


def report(folder: Path, seeds: list[int]) -> Iterator[str]:
    """Yield the tables of what there is, in Markdown."""
    done = {run.name for run in planned(seeds) if facts_file(folder, run).is_file()}
    whole = [seed for seed in seeds if all(run.name in done for run in planned([seed]))]
    yield f"{len(done)} runs; seeds with all methods: {', '.join(map(str, whole)) or 'none'}"
    if not whole:
        return
    for part, title in (("", "single cells"), (FIELDS, "simulated fields")):
        yield ""
        yield f"| {title} | Dice of the parts, % | delta | accuracy of the type, % | delta | mean delta, % | rank |"
        yield "|---|---|---|---|---|---|---|"
        floor = {task: _floor(folder, whole[0], task, part) for task in (PARTS, TYPE)}
        yield f"| trivial answer | {100 * floor[PARTS]:.1f} | | {100 * floor[TYPE]:.1f} | | | |"
        yield from _rows(
            {method: {task: drawn(folder, method, task, part, whole) for task in (PARTS, TYPE)} for method in METHODS}
        )


def drawn(folder: Path, method: str, task: str, part: str, seeds: list[int]) -> Drawn:
    """Return the mean over seeds of a method's figure in percent, with its resamples; all methods on the same draws."""
    values, resampled = [], []
    for seed in seeds:
        run = PlannedRun(method=method, seed=seed, task=task if method == "single" else "")
        with np.load(facts_file(folder, run), allow_pickle=False) as facts:
            weights = tile_draws(facts[f"{part}/groups"], draws=DRAWS)
            value, draws = _figure(facts, task, part, weights)
        values.append(100 * value)
        resampled.append(100 * draws)
    random = np.random.default_rng(0)
    # One seed less than there are: drawing all of them would make the interval of a mean over few too narrow.
    chosen = random.integers(0, len(seeds), (DRAWS, max(1, len(seeds) - 1)))
    mixed = np.stack(resampled)[chosen, np.arange(DRAWS)[:, None]].mean(axis=1)
    return Drawn(value=float(np.mean(values)), values=mixed)


def _figure(facts: Mapping[str, np.ndarray], task: str, part: str, weights: np.ndarray) -> tuple[float, np.ndarray]:
    if task == PARTS:
        found = Overlap(**{key: facts[f"{part}/{task}/{key}"] for key in ("both", "said", "true")})
        return float(mean_dice(found)[0]), mean_dice(found, weights)
    right = facts[f"{part}/{task}/right"]
    known = ~np.isnan(right)
    return float(right[known].mean()), weights[:, known] @ right[known] / weights[:, known].sum(axis=1)


def _rows(figures: Mapping[str, Mapping[str, Drawn]]) -> Iterator[str]:
    gains = {
        method: {
            task: Drawn(value=_gain(each.value, alone.value), values=_gain(each.values, alone.values))
            for (task, each), alone in zip(by_task.items(), figures["single"].values(), strict=True)
        }
        for method, by_task in figures.items()
    }
    means = {
        method: Drawn(
            value=float(np.mean([gain.value for gain in each.values()])),
            values=np.mean([gain.values for gain in each.values()], axis=0),
        )
        for method, each in gains.items()
    }
    ranks = sorted(METHODS, key=lambda method: -means[method].value)
    for method in METHODS:
        cells = [method]
        for task in (PARTS, TYPE):
            cells += [figures[method][task].words, "" if method == "single" else gains[method][task].words]
        cells += ["" if method == "single" else means[method].words, str(ranks.index(method) + 1)]
        yield f"| {' | '.join(cells)} |"


def _gain(together: float | np.ndarray, alone: float | np.ndarray) -> float | np.ndarray:
    return relative_gain(together, alone, higher_is_better=True)


def _floor(folder: Path, seed: int, task: str, part: str) -> float:
    metrics = read_pixel_card(folder / PlannedRun(method="ctan", seed=seed).name).metrics[f"{task} {part}".strip()]
    return float(metrics["dice_floor" if task == PARTS else "accuracy_floor"])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="models, checkpoints and figures go there")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cells", type=int, default=200, help="cells to learn from; 0 for all")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--levels", type=int, default=4)
    parser.add_argument("--channels", type=int, nargs=4, default=[16, 32, 64, 96])
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--most", type=int, default=-1, help="runs that this call makes; all by default")
    parser.add_argument("--report", action="store_true", help="only print the tables of what there is")
    return parser.parse_args()


if __name__ == "__main__":
    main()
