"""The tables of docs/find-rare-cells.md: ``python -m benchmarks.slide_aware FOLDER``.

The protocol of SLAM-AGS on the cells at hand: simulated slides of real cells, half of them with basophils at a witness
rate. Per rate, method and seed a small network is pre-trained on one set of slides; gated attention (or ``--aggregator
pamil``) then learns from its frozen embeddings of fresh slides of the same cells; bag F1, AUC and retrieval of the
basophils are judged on slides of unseen cells. No step sees a label of a cell.

- ``random``: the network as it starts, never trained: the floor.
- ``simclr``: NT-Xent on all tiles, without labels.
- ``similarity``: similarity on slide-negative tiles alone.
- ``equal``, ``pcgrad``, ``slam-ags``: both objectives, their gradients added, by PCGrad, and by AGS.
- ``published``: ``slam-ags`` with the published temperature of 0.07 for similarity, too.

A run that is finished is not done again, so the same command goes on after an interruption and adds rates, methods and
seeds. At the end (or with ``--report``, of what there is) it prints tables in Markdown. Needs the public archive of
cells (pbc_wbcatt_trainval_96.zip) in MTLPATH_DATA or ../shared/data. Computes on one thread.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.slide_aware_bags import LOOKED_AT, BagPlan, judge
from napari_mtlpath.encoders.cards import ENCODER_FILE, read_encoder_card
from napari_mtlpath.encoders.load import load_encoder
from napari_mtlpath.evaluation.intervals import Interval, interval
from napari_mtlpath.evaluation.report.numbers import with_interval
from napari_mtlpath.evaluation.retrieval import Retrieval, retrieval_table, summarise
from napari_mtlpath.files import replacing
from napari_mtlpath.simulation.cells import CellSet, load_cells
from napari_mtlpath.training.config.slide_aware import SlideAwareConfig
from napari_mtlpath.training.config.train_config import parse_config
from napari_mtlpath.training.slide_aware.job import SlideAwareJob
from napari_mtlpath.training.slide_aware.sources import slide_tiles
from napari_mtlpath.training.tile_training.tile_data import find_data
from napari_mtlpath.training.train import train

ARCHIVE = "pbc_wbcatt_trainval_96.zip"
METHODS: dict[str, dict[str, Any]] = {
    "random": {},
    "simclr": {"objective": {"kind": "contrastive"}},
    "similarity": {"objective": {"kind": "similarity"}},
    "equal": {"balancing": {"method": "equal"}},
    "pcgrad": {"balancing": {"method": "pcgrad"}},
    "slam-ags": {"balancing": {"method": "ags"}},
    "published": {"balancing": {"method": "ags"}, "objective": {"similarity_temperature": 0.07}},
}
NETWORK = {
    "model": "resnet10t",
    "mean": [0.8, 0.7, 0.8],
    "std": [0.2, 0.2, 0.2],
    "arguments": {"channels": [16, 32, 64, 128], "stem_width": 8},
}
"""A ResNet-10, a quarter as wide as usual: 0.3 million parameters."""


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    runs = list(product(arguments.rates, arguments.seeds, arguments.methods))
    if not arguments.report:
        cells = load_cells(find_data(ARCHIVE))
        for number, (rate, seed, method) in enumerate(runs, start=1):
            path = _path(arguments, rate, seed, method)
            if path.is_file():
                continue
            started = time.process_time()
            found = run(arguments, cells, rate=rate, seed=seed, method=method)
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(found), encoding="utf-8")
            spent = time.process_time() - started
            sys.stderr.write(f"{number} of {len(runs)}: {path.stem}, {spent:.0f} s of CPU. {found['stopped']}\n")
            sys.stderr.flush()
    for text in report(arguments):
        sys.stdout.write(text + "\n")


def run(arguments: argparse.Namespace, cells: CellSet, *, rate: float, seed: int, method: str) -> dict[str, Any]:
    """Pre-train, aggregate and judge once."""
    config = config_of(arguments, rate=rate, seed=seed, method=method)
    name = f"{rate:g}-{seed}-{method}"
    folder = arguments.folder.resolve() / "encoders" / name
    if not (folder / config.name / ENCODER_FILE).is_file():
        try:
            _pretrain(config, folder / config.name, arguments.folder.resolve() / "checkpoints" / name, method)
        except FloatingPointError as error:  # it collapsed within the first epoch: nothing was kept
            return {"method": method, "rate": rate, "seed": seed, "epochs": 0, "stopped": str(error)}
    facts = read_encoder_card(folder / config.name).provenance
    encoder = load_encoder(folder / config.name)
    plan = BagPlan(
        rate=rate, seed=seed, slides=arguments.slides, cells=arguments.cells, aggregator=arguments.aggregator
    )
    judged = judge(encoder, cells, plan)
    return {
        "method": method,
        "rate": rate,
        "seed": seed,
        "epochs": facts["epochs"],
        "stopped": facts.get("stopped", ""),
        "f1": judged.f1,
        "auc": judged.auc,
        "retrievals": {name: [asdict(each) for each in found] for name, found in judged.retrievals.items()},
    }


def _pretrain(config: SlideAwareConfig, output: Path, runs: Path, method: str) -> None:
    if method == "random":
        job = SlideAwareJob(config, slide_tiles(config), device=torch.device("cpu"))
        job.publish(output, facts={"epochs": 0})
        return
    for _ in train(config, output=output, runs=runs):
        pass


def config_of(arguments: argparse.Namespace, *, rate: float, seed: int, method: str) -> SlideAwareConfig:
    """Return the config of one pre-training."""
    changes = METHODS[method]
    tables: dict[str, Any] = {
        "kind": "slide_aware",
        "name": "encoder",
        "seed": seed,
        "data": {
            "source": "cells",
            "archive": ARCHIVE,
            "witness_rate": rate,
            "slides": 6,
            "cells_per_slide": arguments.cells,
            "test_slides": 2,
        },
        "encoder": {"options": NETWORK},
        "objective": {"width": 128} | changes.get("objective", {}),
        "views": {"crop": 0.8334, "contrast": 0.2},
        "balancing": {"method": "ags"} | changes.get("balancing", {}),
        "optimisation": {
            "epochs": arguments.epochs,
            "batch": arguments.batch,
            "learning_rate": 2e-3,
            "weight_decay": 1e-4,
            "warmup_epochs": 1.0,
        },
    }
    config = parse_config(tables)
    assert isinstance(config, SlideAwareConfig)
    return config


def report(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield a table of bags and tables of retrieval for each witness rate."""
    for rate in arguments.rates:
        found = {
            method: [
                json.loads(path.read_text(encoding="utf-8"))
                for seed in arguments.seeds
                if (path := _path(arguments, rate, seed, method)).is_file()
            ]
            for method in arguments.methods
        }
        found = {method: runs for method, runs in found.items() if runs}
        if not found:
            continue
        yield f"\n### Witness rate {rate:.1%}\n"
        yield "| pre-training | seeds | bag F1 | bag AUC | epochs | stopped early |\n|---|---|---|---|---|---|"
        for method, runs in found.items():
            judged = [each for each in runs if "f1" in each]
            cells = [_mean([each[figure] for each in judged]) for figure in ("f1", "auc")]
            epochs = "/".join(str(each["epochs"]) for each in runs)
            stopped = sum(bool(each["stopped"]) for each in runs)
            yield f"| {method} | {len(runs)} | {cells[0]} | {cells[1]} | {epochs} | {stopped} |"
        for by in ("attention", "distance"):
            for k in LOOKED_AT:
                yield f"\nTiles ranked by {by}, K = {k}:\n"
                rows = [
                    (
                        method,
                        summarise(
                            [Retrieval(**each) for one in runs for each in one["retrievals"][by] if each["k"] == k], k=k
                        ),
                    )
                    for method, runs in ((m, [r for r in rs if "retrievals" in r]) for m, rs in found.items())
                    if runs
                ]
                yield retrieval_table(rows)


def _mean(values: list[float]) -> str:
    if not values:
        return "-"
    drawn = np.array(values)[np.random.default_rng(0).integers(0, len(values), (1000, len(values)))].mean(1)
    figure: Interval = interval(float(np.mean(values)), drawn)
    return with_interval(figure) if len(values) > 1 else f"{values[0]:.3f}"


def _path(arguments: argparse.Namespace, rate: float, seed: int, method: str) -> Path:
    return arguments.folder.resolve() / "runs" / f"{arguments.aggregator}-{rate:g}-{seed}-{method}.json"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="for everything that is made")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.1, 0.05, 0.01, 0.005])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--cells", type=int, default=1000, help="of each slide")
    parser.add_argument("--slides", type=int, default=80, help="an epoch of the aggregator, and those judged")
    parser.add_argument("--epochs", type=int, default=30, help="of pre-training")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--aggregator", choices=("abmil", "pamil"), default="abmil")
    parser.add_argument("--report", action="store_true", help="train nothing; tables of what is there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
