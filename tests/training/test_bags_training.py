"""Training of aggregators on simulated smears: bags equal slides, sides stay apart, and the model folder loads."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_cells import SIDE, made_cells

from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.encoders.families.colour_stats import ColourStatistics
from napari_mtlpath.nn.aggregators.abmil import GatedABMIL
from napari_mtlpath.nn.aggregators.mean_pool import MeanPool
from napari_mtlpath.nn.aggregators.mecds import MECDS
from napari_mtlpath.simulation.cells import CellSet
from napari_mtlpath.simulation.smear import Composer, SmearSpec
from napari_mtlpath.simulation.smear_file import write_smear
from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.tiles.spec import Resampling
from napari_mtlpath.training.bags.bags import Bag
from napari_mtlpath.training.bags.bags_job import BagsJob
from napari_mtlpath.training.bags.standardised import fold_standardisation
from napari_mtlpath.training.config.train_config import BagsConfig, parse_config
from napari_mtlpath.training.loop.loop import Loop
from napari_mtlpath.training.smears.cell_features import bag_of, cell_features
from napari_mtlpath.training.smears.smear_bags import SMEAR_TASKS, SmearBagSource
from napari_mtlpath.zoo.card import read_model_card

TINY = {
    "mecds": {"width": 16, "heads": 2, "blocks": 1, "feedforward": 1, "mixing": "none", "dropout": 0.0},
    "abmil": {"width": 16, "attention_width": 8},
    "mean_pool": {},
}


def tiny_config(aggregator: str = "mecds", **data: object) -> BagsConfig:
    smears = {"source": "smears", "rows": 8, "columns": 8, "slides_per_epoch": 32, "test_slides": 20}
    config = parse_config(
        {
            "kind": "bags",
            "name": "tiny-slides",
            "encoder": "tiny",
            "data": smears | {"witness_rates": [0.1, 0.2], "test_rates": [0.2]} | data,
            "aggregator": {"name": aggregator, "options": TINY[aggregator]},
            "optimisation": {"epochs": 6, "batch": 4, "learning_rate": 1e-2, "weight_decay": 0.0},
        }
    )
    assert isinstance(config, BagsConfig)
    return config


@pytest.fixture(scope="module")
def cells() -> CellSet:
    return made_cells(400)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return ColourStatistics.build(name="tiny", options={"tile_px": SIDE}, state=None)


@pytest.fixture(scope="module")
def features(cells: CellSet, encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    return cell_features(encoder, cells, folder=tmp_path_factory.mktemp("features"))


@pytest.fixture
def source(cells: CellSet, features: torch.Tensor, encoder: Encoder) -> SmearBagSource:
    return SmearBagSource(tiny_config().data, cells, features, encoder)


def test_bag_composed_of_features_equals_the_bag_of_the_written_slide(
    cells: CellSet, encoder: Encoder, features: torch.Tensor, tmp_path: Path
):
    smear = Composer(cells).compose(SmearSpec(rows=5, columns=7, witness_rate=0.1, seed=4))
    slide = open_slide(write_smear(tmp_path / "smear.tiff", cells, smear))
    tiles = [
        slide.read_square(row * SIDE, column * SIDE, SIDE, tile_px=SIDE, resampling=Resampling.SCALED).array
        for row, column in np.ndindex(5, 7)
    ]
    slide.close()
    with torch.inference_mode():
        encoded = encoder.embed(torch.from_numpy(np.stack(tiles)))
    torch.testing.assert_close(bag_of(features, smear), encoded)


def test_features_of_cells_are_kept(cells: CellSet, encoder: Encoder, features: torch.Tensor, tmp_path: Path):
    few = cells.subset(np.arange(len(cells)) < 10)
    first = cell_features(encoder, few, folder=tmp_path)
    (kept,) = tmp_path.iterdir()
    stamp = kept.stat().st_mtime_ns
    assert torch.equal(cell_features(encoder, few, folder=tmp_path), first)
    assert kept.stat().st_mtime_ns == stamp
    assert torch.equal(first, features[:10])


def test_no_cell_is_in_bags_of_two_kinds(source: SmearBagSource):
    def rows(part: str) -> set[bytes]:
        return {row.numpy().tobytes() for row in source.parts[part].features.flatten(0, 1)}

    assert not rows("train") & rows("test")
    assert not rows("train") & rows("selection")


def test_labels_are_those_of_the_cells(source: SmearBagSource):
    for bag in source.train(0, torch.Generator().manual_seed(0)):
        present, neutrophils, vacuolated = bag.labels.tolist()
        assert present == float(bag.truth["basophils"].any())
        assert neutrophils == pytest.approx(float(bag.truth["neutrophil_share"].double().mean()))
        assert vacuolated == pytest.approx(float(bag.truth["vacuolated_share"].double().mean()))


def test_fresh_slides_differ_between_epochs_and_fixed_ones_do_not(
    cells: CellSet, features: torch.Tensor, encoder: Encoder
):
    def seen(fresh: bool) -> list[set[bytes]]:
        given = SmearBagSource(tiny_config(fresh=fresh).data, cells, features, encoder)
        return [
            {bag.features.numpy().tobytes() for bag in given.train(epoch, torch.Generator().manual_seed(epoch))}
            for epoch in (0, 1)
        ]

    first, second = seen(True)
    assert not first & second
    first, second = seen(False)
    assert first == second


def test_training_sides_give_parts_of_slides(cells: CellSet, features: torch.Tensor, encoder: Encoder):
    given = SmearBagSource(tiny_config(training_sides=[4, 6]).data, cells, features, encoder)
    sizes = {len(bag.features) for bag in given.train(0, torch.Generator().manual_seed(0))}
    assert sizes == {16, 36}
    assert {len(bag.features) for bag in given.selection()} == {64}


def test_witness_rates_fall_over_the_easy_epochs(cells: CellSet, features: torch.Tensor, encoder: Encoder):
    given = SmearBagSource(tiny_config(easy_epochs=4, witness_rates=[0.02, 0.2]).data, cells, features, encoder)

    def lowest(epoch: int) -> float:
        bags = given.train(epoch, torch.Generator().manual_seed(0))
        return min(float(bag.truth["basophils"].double().mean()) for bag in bags if bag.labels[0] > 0)

    assert lowest(0) == pytest.approx(0.2, abs=0.01)
    assert lowest(4) < 0.06


@pytest.mark.parametrize("aggregator", [MECDS, GatedABMIL, MeanPool])
def test_folding_the_standardisation_changes_no_answer(aggregator: type):
    name = {MECDS: "mecds", GatedABMIL: "abmil", MeanPool: "mean_pool"}[aggregator]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = aggregator.build(tasks=SMEAR_TASKS, features=6, options=TINY[name]).eval()
        bag, mean, scale = torch.randn(9, 6) * 3 + 1, torch.randn(6), torch.rand(6) + 0.5
    with torch.inference_mode():
        before = module((bag - mean) * scale).tasks["basophils"].logits
        fold_standardisation(module, mean=mean, scale=scale)
        after = module(bag).tasks["basophils"].logits
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)


def test_trained_model_beats_chance_on_unseen_slides_and_its_folder_loads(source: SmearBagSource, tmp_path: Path):
    config = tiny_config()
    job = BagsJob(config, source, device=torch.device("cpu"))
    loop = Loop(job, config.optimisation.settings(), seed=0, folder=tmp_path / "runs", key="key")
    *_, last = loop.run(output=tmp_path / "tiny-slides")
    card = read_model_card(tmp_path / "tiny-slides")
    assert last.output == card.folder
    assert card.metrics["basophils at 20.0%"]["auc_low"] > 0.5
    assert card.encoder_sha256 == source.encoder.digest
    assert [task.name for task in card.tasks] == ["basophils", "neutrophil_share", "vacuolated_share"]


def test_tile_weight_without_tile_labels_is_refused(source: SmearBagSource):
    config = tiny_config()
    config = config.model_copy(update={"aggregator": config.aggregator.model_copy(update={"tile_weight": 1.0})})
    job = BagsJob(config, source, device=torch.device("cpu"))
    with pytest.raises(ValueError, match=r"tile_weight needs tile labels"):
        next(job.losses(0, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize(
    "tables",
    [
        {"sampling": {"bags": "balanced"}},
        {"losses": {"class_weights": "balanced"}},
        {"losses": {"regression": "standard"}},
    ],
)
def test_what_needs_a_fixed_set_of_slides_is_refused_for_made_up_ones(
    tables: dict[str, object], source: SmearBagSource
):
    config = parse_config(tiny_config().model_dump() | tables)
    with pytest.raises(ValueError, match="Expected a fixed set of training slides"):
        BagsJob(config, source, device=torch.device("cpu"))


def test_tile_labels_are_learned_where_there_are_some(source: SmearBagSource):
    config = tiny_config()
    config = config.model_copy(update={"aggregator": config.aggregator.model_copy(update={"tile_weight": 1.0})})

    class Labelled(SmearBagSource):
        def train(self, epoch: int, generator: torch.Generator):
            for bag in super().train(epoch, generator):
                labels = torch.stack([bag.truth[task.name].float() for task in self.tasks], dim=1)
                yield replace(bag, tile_labels=labels)

    source.__class__ = Labelled
    job = BagsJob(config, source, device=torch.device("cpu"))
    losses = next(job.losses(0, torch.Generator().manual_seed(0)))
    assert set(losses) == {task.name for task in source.tasks}
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert isinstance(next(source.train(0, torch.Generator().manual_seed(0))), Bag)
