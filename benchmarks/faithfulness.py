"""Do the heatmaps of `smear-mecds` show what it uses, and do they point at the witness cells? Against chance.

Usage: python -m benchmarks.faithfulness [--slides N] [--data FOLDER]

On unseen simulated slides that hold basophils (1,296 cells each, at witness rates of 2, 1 and 0.5 %), tiles are taken
away (deletion) and added (insertion) in the order of the routing and of the attention, and the model answers anew each
time. Controls: random rankings of the same slide, and a constant heatmap. Pointing: the highest tile, and the k
highest, against the truth of every cell. Prints tables, writes JSON and a page with the curves below build/bench/.
Needs the archive of cells (MTLPATH_DATA); about two minutes on one CPU core.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import OUTPUT
from napari_mtlpath.evaluation.faithfulness import (
    RANDOM,
    Curves,
    Pointing,
    curves,
    differences,
    order_of,
    over_slides,
    pointing,
    random_curves,
    summarise,
)
from napari_mtlpath.evaluation.report.document import Document, Picture, Section, Table, html_page, markdown
from napari_mtlpath.evaluation.report.files import has_pictures
from napari_mtlpath.evaluation.report.numbers import with_interval
from napari_mtlpath.evaluation.report.plots import lines
from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.simulation.cells import load_cells
from napari_mtlpath.training.bags.bags import Bag
from napari_mtlpath.training.config.data import SmearBags
from napari_mtlpath.training.config.train_config import BagsConfig, read_config
from napari_mtlpath.training.smears.cell_features import cell_features
from napari_mtlpath.training.smears.smear_bags import SmearBagSource
from napari_mtlpath.training.tile_training.tile_data import find_data
from napari_mtlpath.zoo.load import load_model

MODEL = "smear-mecds"
TASK = "basophils"
RATES = (0.02, 0.01, 0.005)
RANDOM_REPEATS = 4
CONSTANT = "constant heatmap"


@dataclass
class Found:
    """What one witness rate showed, by ranking, one entry per slide."""

    curves: dict[str, list[Curves]] = field(default_factory=dict)
    pointing: dict[str, list[Pointing]] = field(default_factory=dict)


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    started = time.monotonic()
    model = load_model(MODEL, device="cpu")
    source = _source(tuple(arguments.data))
    sections, values = [], {}
    for rate in RATES:
        found = _at(rate, source, model.aggregator, slides=arguments.slides)
        sections.append(_section(rate, found))
        values[f"{rate:.1%}"] = _values(found)
        print(f"  witness rate {rate:.1%}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    document = Document(title=f"Faithfulness of the heatmaps of {MODEL}", sections=tuple(sections))
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "faithfulness.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    (OUTPUT / "faithfulness.html").write_text(html_page(document), encoding="utf-8")
    print(markdown(document))


def _source(folders: tuple[Path, ...]) -> SmearBagSource:
    """Return the source of test slides; only the cells that they are made of are embedded."""
    config = read_config(load_model(MODEL, device="cpu").card.folder / "train.toml")
    assert isinstance(config, BagsConfig)
    assert isinstance(config.data, SmearBags)
    encoder = load_model(MODEL, device="cpu").encoder
    cells = load_cells(find_data(config.data.archive, folders=folders))
    embedded = cell_features(encoder, cells.subset(cells.in_validation))
    features = torch.zeros(len(cells), *embedded.shape[1:])
    features[torch.from_numpy(cells.in_validation)] = embedded
    return SmearBagSource(config.data, cells, features, encoder)


def _at(rate: float, source: SmearBagSource, aggregator: Aggregator, *, slides: int) -> Found:
    found = Found()
    generator = np.random.default_rng(0)
    positive = [bag for bag in source.test_bags(rate) if bag.labels[0] > 0][:slides]
    for bag in positive:
        _judge(bag, aggregator, generator, found)
    return found


@torch.inference_mode()
def _judge(bag: Bag, aggregator: Aggregator, generator: np.random.Generator, found: Found) -> None:
    said = aggregator(bag.features, explain=True).tasks[TASK]
    truth = bag.truth[TASK].numpy()
    rankings = {"routing (phi)": said.routing, "attention": said.attention}
    heatmaps = {name: each.double().numpy() for name, each in rankings.items() if each is not None}
    heatmaps[CONSTANT] = np.full(len(truth), 1.0 / len(truth))

    def score(kept: np.ndarray) -> float:
        return float(torch.sigmoid(aggregator(bag.features[torch.from_numpy(kept)]).tasks[TASK].logits[0]))

    for name, values in heatmaps.items():
        found.curves.setdefault(name, []).append(curves(score, order_of(values, generator)))
        found.pointing.setdefault(name, []).append(pointing(values, truth))
    blind = random_curves(score, len(truth), repeats=RANDOM_REPEATS, generator=generator)
    found.curves.setdefault(RANDOM, []).append(blind)
    found.pointing.setdefault(RANDOM, []).append(pointing(generator.random(len(truth)), truth))


def _section(rate: float, found: Found) -> Section:
    apart = differences(found.curves)
    rows = []
    for name, slides in found.curves.items():
        summary = summarise(slides)
        gaps = tuple(with_interval(gap) for gap in apart[name]) if name in apart else ("-", "-")
        rows.append((name, with_interval(summary.deletion), with_interval(summary.insertion), *gaps))
    headings = ("ranking", "deletion area", "insertion area", "deletion: chance minus it", "insertion: it minus chance")
    pictures = []
    if has_pictures():
        for kind in ("deletion", "insertion"):
            means = {name: summarise(slides).mean for name, slides in found.curves.items()}
            svg = lines(
                {name: (mean.shares, getattr(mean, kind)) for name, mean in means.items()},
                across=f"share of tiles, {kind}",
                up="answer: basophils present",
            )
            pictures.append(Picture(svg=svg, caption=f"Mean {kind} curves over slides."))
    slides = len(found.curves[RANDOM])
    return Section(
        title=f"Witness rate {rate:.1%}",
        sentences=(
            f"{slides} unseen slides with basophils. A faithful ranking has a low deletion and a high insertion area.",
        ),
        tables=(Table(headings=headings, rows=tuple(rows)), _pointing_table(found)),
        pictures=tuple(pictures),
    )


def _pointing_table(found: Found) -> Table:
    rows = [
        (name, *(with_interval(over_slides([getattr(each, what) for each in slides])) for what in POINTING))
        for name, slides in found.pointing.items()
    ]
    return Table(
        headings=("heatmap", "highest tile is a witness", "of the k highest", "AUROC over tiles", "AUPRC", "base rate"),
        rows=tuple(rows),
    )


POINTING = ("hit", "precision", "auroc", "average_precision", "base_rate")


def _values(found: Found) -> dict[str, dict[str, dict[str, float]]]:
    apart = differences(found.curves)
    values: dict[str, dict[str, dict[str, float]]] = {}
    for name, slides in found.curves.items():
        summary = summarise(slides)
        figures = {"deletion": summary.deletion, "insertion": summary.insertion}
        if name in apart:
            figures |= dict(zip(("deletion_below_chance", "insertion_above_chance"), apart[name], strict=True))
        figures |= {what: over_slides([getattr(each, what) for each in found.pointing[name]]) for what in POINTING}
        values[name] = {what: {"value": i.value, "low": i.low, "high": i.high} for what, i in figures.items()}
    return values


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--slides", type=int, default=20, help="unseen slides with basophils per witness rate, up to 50"
    )
    parser.add_argument("--data", type=Path, action="append", default=[], help="a folder to look for the cells in")
    return parser.parse_args()


if __name__ == "__main__":
    main()
