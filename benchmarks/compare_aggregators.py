"""Compare aggregators on the slides that `smear-mecds` learns from and is judged by; the figures go into its card.

Usage: python benchmarks/compare_aggregators.py [--epochs N] [--data FOLDER]

Trains MECDS, gated attention (ABMIL) and the mean, each on fresh slides every epoch and on one fixed set of 300 slides,
with everything else as in models/slide-models/smear-mecds/train.toml, and judges each on the same 100 unseen slides per
witness rate. Needs the archive of cells; about 40 minutes on one CPU core, less with fewer epochs.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_mtlpath.training.config.train_config import BagsConfig, parse_config, read_config
from napari_mtlpath.training.loop.report import Phase
from napari_mtlpath.training.measure import add_figures
from napari_mtlpath.training.train import train
from napari_mtlpath.zoo.card import read_model_card

MODEL = Path(__file__).parents[1] / "models" / "slide-models" / "smear-mecds"
RIVALS: Mapping[str, dict[str, Any]] = {"abmil": {}, "mean_pool": {}, "mecds": {}}


def main() -> None:
    arguments = _arguments()
    config = read_config(MODEL / "train.toml")
    assert isinstance(config, BagsConfig)
    with tempfile.TemporaryDirectory() as folder:
        for fresh in (False, True):
            for name in RIVALS:
                if name == config.aggregator.name and fresh:
                    continue  # that is the model itself
                variant = _variant(config, name, fresh=fresh, epochs=arguments.epochs)
                metrics = _figures(variant, Path(folder) / f"{name}-{fresh}", data=tuple(arguments.data))
                epochs = variant.optimisation.epochs
                label = f"{name} on {'fresh slides' if fresh else '300 fixed slides'}, {epochs} epochs"
                add_figures(MODEL, {f"{group}, {label}": values for group, values in metrics.items()})
                print(label, json.dumps({group: _short(values) for group, values in metrics.items()}), flush=True)


def _variant(config: BagsConfig, name: str, *, fresh: bool, epochs: int | None) -> BagsConfig:
    tables = config.model_dump(mode="json")
    tables["name"] = "rival"
    tables["data"]["fresh"] = fresh
    if not fresh:
        tables["data"]["training_sides"] = []  # 300 whole slides, as many as others have trained on
    if name != config.aggregator.name:
        tables["aggregator"] = {"name": name, "options": RIVALS[name]}
    if epochs is not None:
        tables["optimisation"]["epochs"] = epochs
    variant = parse_config(tables)
    assert isinstance(variant, BagsConfig)
    return variant


def _figures(config: BagsConfig, folder: Path, *, data: tuple[Path, ...]) -> dict[str, dict[str, float | str]]:
    for report in train(config, output=folder / "rival", runs=folder / "runs", data=data):
        if report.phase is Phase.EPOCH:
            print(f"  epoch {report.epoch} of {report.epochs}, score {report.score:.3f}", file=sys.stderr)
    return read_model_card(folder / "rival").metrics


def _short(values: Mapping[str, float | str]) -> dict[str, float | str]:
    return {name: value for name, value in values.items() if not name.endswith(("_floor", "_low", "_high"))}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, help="epochs of each training (default: as in the model's config)")
    parser.add_argument("--data", type=Path, action="append", default=[], help="a folder to look for the cells in")
    return parser.parse_args()


if __name__ == "__main__":
    main()
