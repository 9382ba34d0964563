"""Make a cohort of simulated slides from real cells: features, tables, split, and the truth of every tile.

Usage: python -m benchmarks.make_simulated_cohort FOLDER [--witness-rate 0.01] [--train 240] [--test 100] [--seed 0] ...

Needs the public archive of cells (pbc_wbcatt_trainval_96.zip) in MTLPATH_DATA, ../shared/data or a folder given with
--data. The same settings write the same cohort, up to the last bits of the embeddings on another machine. Train on it
with `mtlpath train FOLDER/train.toml`; `--set aggregator.name=abmil` and the like make the rivals. A patient has one or
two slides of 1,296 cells; a positive one has witnesses (basophils, which the tile encoder never saw) on one slide. The
cells of train, selection and test patients are disjoint. About 2 MB per slide and 20 slides per second on one core,
after some minutes for the embeddings of all cells, which are kept in the cache.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import tomli_w
import torch

from napari_mtlpath.encoders.load import load_encoder
from napari_mtlpath.files import replacing
from napari_mtlpath.simulation.cells import load_cells
from napari_mtlpath.training.cohorts.simulated_cohort import CohortSettings, task_tables, write_simulated_cohort
from napari_mtlpath.training.config.data import SmearBags
from napari_mtlpath.training.smears.cell_features import cell_features
from napari_mtlpath.training.smears.smear_bags import SmearBagSource
from napari_mtlpath.training.tile_training.tile_data import find_data


def main(words: Sequence[str] | None = None) -> None:
    arguments = _arguments(words)
    rates = arguments.witness_rate
    settings = CohortSettings(
        train=arguments.train,
        selection=arguments.selection,
        test=arguments.test,
        slides=(min(arguments.slides), max(arguments.slides)),
        rows=arguments.side,
        columns=arguments.side,
        witness_rates=(min(rates), max(rates)),
        test_rates=tuple(arguments.test_rate),
        unknown=arguments.unknown,
        seed=arguments.seed,
    )
    cells = load_cells(find_data(arguments.archive, folders=tuple(arguments.data)))
    encoder = load_encoder(arguments.encoder)
    features = cell_features(encoder, cells, device=torch.device(arguments.device))
    source = SmearBagSource(SmearBags(source="smears"), cells, features, encoder)
    total = settings.train + settings.selection + settings.test
    for number, _ in enumerate(write_simulated_cohort(arguments.folder, source, settings), start=1):
        if number % 50 == 0 or number == total:
            print(f"{number} of {total} patients", flush=True)
    write_config(arguments.folder, encoder=encoder.name, seed=settings.seed)
    print(f"Wrote {arguments.folder}. Train on it: mtlpath train {arguments.folder / 'train.toml'}")


def write_config(folder: Path, *, encoder: str, seed: int) -> None:
    """Write a config that trains MECDS on the cohort, a starting point for `--set`."""
    tables = {
        "kind": "bags",
        "name": f"{folder.name}-mecds",
        "seed": seed,
        "encoder": encoder,
        "data": {
            "source": "cohort",
            "slides": "slides.csv",
            "clinical": "clinical.csv",
            "features": "features",
            "split": "split.json",
            "tasks": task_tables(),
        },
        "aggregator": {
            "name": "mecds",
            "options": {"width": 96, "heads": 4, "blocks": 1, "feedforward": 2, "mixing": "none", "dropout": 0.0},
        },
        "optimisation": {"epochs": 15, "batch": 4, "learning_rate": 1e-3, "weight_decay": 0.01, "warmup_epochs": 1.0},
    }
    with replacing(folder / "train.toml") as temporary:
        temporary.write_text(tomli_w.dumps(tables), encoding="utf-8")


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where to write the cohort")
    parser.add_argument("--train", type=int, default=240, help="patients that are learned from (default 240)")
    parser.add_argument("--selection", type=int, default=60, help="patients that the best epoch is chosen by")
    parser.add_argument("--test", type=int, default=100, help="patients for the final figures")
    parser.add_argument("--slides", type=int, nargs="+", default=[1, 2], help="slides per patient, least and most")
    parser.add_argument("--side", type=int, default=36, help="cells along each side of a slide (default 36: 1,296)")
    parser.add_argument("--witness-rate", type=float, nargs="+", default=[0.01], help="one rate, or a range of rates")
    parser.add_argument("--test-rate", type=float, nargs="*", default=[], help="rates of the test patients, in turns")
    parser.add_argument("--unknown", type=float, default=0.1, help="chance that a training label is unknown")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--encoder", default="levit-wbc-blind", help="tile encoder; this one never saw a basophil")
    parser.add_argument("--archive", default="pbc_wbcatt_trainval_96.zip")
    parser.add_argument("--data", type=Path, action="append", default=[], help="a folder to look for the archive in")
    parser.add_argument("--device", default="cpu")
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
