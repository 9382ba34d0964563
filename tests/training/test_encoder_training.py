"""Training the tile encoder with the aggregator: what learns, what stays, bounded memory, and a model that loads."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from made_cells import SIDE, made_cells
from made_cohort import write_table
from typer.testing import CliRunner

from napari_mtlpath.cli.main import app
from napari_mtlpath.encoders.cards import EncoderCard
from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.encoders.families.timm import Timm
from napari_mtlpath.encoders.load import load_encoder
from napari_mtlpath.encoders.save import save_encoder
from napari_mtlpath.features.h5 import write_features
from napari_mtlpath.simulation.cells import CellSet
from napari_mtlpath.simulation.smear import Composer, SmearSpec
from napari_mtlpath.simulation.smear_file import write_smear
from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.slides.resampling import Resampling
from napari_mtlpath.tiles.grid import TileGrid
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.training.config.train_config import BagsConfig, parse_config
from napari_mtlpath.training.end_to_end.blocks import learning_parameters
from napari_mtlpath.training.end_to_end.encoding import FreshFeatures, learned_features
from napari_mtlpath.training.end_to_end.job import EndToEndJob, bags_job
from napari_mtlpath.training.end_to_end.tiles import BagTiles, TilePool
from napari_mtlpath.training.loop.loop import Loop
from napari_mtlpath.training.smears.cell_features import cell_features
from napari_mtlpath.training.smears.smear_bags import SmearBagSource
from napari_mtlpath.training.sources import cohort_sources
from napari_mtlpath.training.step.optimisation import Optimisation
from napari_mtlpath.training.train import train
from napari_mtlpath.training.train_job import make_loop
from napari_mtlpath.units import Microns, TilePixels
from napari_mtlpath.zoo.card import read_model_card
from napari_mtlpath.zoo.load import load_model
from napari_mtlpath.zoo.save import save_model

CPU = torch.device("cpu")
CELL = TileSpec(tile_um=Microns(6.0), tile_px=TilePixels(SIDE))
"""A made-up cell on a written smear: 16 px of .375 um."""


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with batch norms, its weights random."""
    folder = tmp_path_factory.mktemp("encoders") / "small-resnet"
    options = {"model": "test_resnet", "tile_px": SIDE}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Timm.build(name=folder.name, options=options, state=None)
        for norm in made.module.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):  # as after a training: no branch is switched off
                torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
                torch.nn.init.uniform_(norm.running_mean, -0.2, 0.2)
                torch.nn.init.uniform_(norm.running_var, 0.2, 1.5)
    card = EncoderCard(name=folder.name, family="timm", features=96, options=options, tile=CELL, licence="BSD-3-Clause")
    save_encoder(folder, card, made.module.state_dict())
    return folder


@pytest.fixture(scope="module")
def cells() -> CellSet:
    return made_cells(400)


@pytest.fixture(scope="module")
def features(cells: CellSet, encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    return cell_features(load_encoder(encoder_folder), cells, folder=tmp_path_factory.mktemp("features"))


def config_of(encoder_folder: Path, *, tables: dict[str, object] | None = None, **table: object) -> BagsConfig:
    smears = {"source": "smears", "rows": 4, "columns": 4, "slides_per_epoch": 8, "test_slides": 6}
    config = parse_config(
        {
            "kind": "bags",
            "name": "learned",
            "encoder": str(encoder_folder),
            "encoder_training": {"blocks": 1, "learning_rate": 1e-3, "tiles": 6, "piece": 4} | table,
            "data": smears | {"witness_rates": [0.1, 0.3], "test_rates": [0.2]},
            "aggregator": {"name": "abmil", "options": {"width": 16, "attention_width": 8, "dropout": 0.0}},
            "optimisation": {"epochs": 1, "batch": 2, "learning_rate": 1e-2, "weight_decay": 0.0},
        }
        | (tables or {})
    )
    assert isinstance(config, BagsConfig)
    return config


@pytest.fixture
def source(cells: CellSet, features: torch.Tensor, encoder_folder: Path) -> SmearBagSource:
    return SmearBagSource(config_of(encoder_folder).data, cells, features, load_encoder(encoder_folder))


def job_of(encoder_folder: Path, source: SmearBagSource, **table: object) -> EndToEndJob:
    job = bags_job(config_of(encoder_folder, **table), source, device=CPU)
    assert isinstance(job, EndToEndJob)
    return job


class NoisePool(TilePool):
    """Tiles of noise, and how many were read at once at most."""

    def __init__(self, count: int, side: int) -> None:
        generator = torch.Generator().manual_seed(1)
        self.tiles = torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, generator=generator)
        self.most = 0

    def __len__(self) -> int:
        return len(self.tiles)

    def read(self, rows: torch.Tensor) -> torch.Tensor:
        self.most = max(self.most, len(rows))
        return self.tiles[rows]


@pytest.mark.parametrize(
    ("model", "first", "last"),
    [
        ("levit_128s", "stages.2.blocks.3.", "stages.2.blocks.3.mlp.ln2.bn.bias"),
        ("test_vit", "blocks.5.", "norm.bias"),
        ("test_resnet", "layer4.0.", "layer4.0."),
    ],
)
def test_last_block_learns_with_all_that_comes_after_it(model: str, first: str, last: str):
    network = timm.create_model(model, num_classes=0)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    learning = [names[id(parameter)] for parameter in learning_parameters(network, 1)]
    assert learning[0].startswith(first)
    assert learning[-1].startswith(last)
    assert learning == list(names.values())[-len(learning) :]
    assert len(learning_parameters(network, "all")) == len(names)


def test_more_blocks_than_there_are_and_encoders_without_weights_are_refused():
    with pytest.raises(ValueError, match="this encoder has 4 blocks"):
        learning_parameters(timm.create_model("test_resnet", num_classes=0), 5)
    with pytest.raises(ValueError, match="no weights to train"):
        learning_parameters(load_encoder("colour-stats").module, 1)


def test_gradient_through_pieces_equals_plain_backpropagation():
    network = Timm.build(name="levit", options={"model": "levit_128s", "tile_px": 64}, state=None).module
    pool = NoisePool(5, 64)
    target = torch.randn(5, 384, generator=torch.Generator().manual_seed(2))

    def gradients(features: torch.Tensor) -> dict[str, torch.Tensor]:
        network.zero_grad()
        (features * target).sum().backward()
        return {name: parameter.grad.clone() for name, parameter in network.named_parameters()}

    # Attention biases are computed anew in training mode; only batch norms must stay in evaluation mode.
    network.train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.eval()
    plain = gradients(network(pool.tiles))
    network.eval()
    for _ in range(2):  # twice: nothing may be left over from the first pass
        pieces = gradients(learned_features(network, BagTiles(pool=pool, rows=torch.arange(5)), piece=2))
        assert pool.most == 2
        for name, gradient in plain.items():
            torch.testing.assert_close(pieces[name], gradient, atol=2e-3 * float(gradient.abs().max()) + 1e-6, rtol=0)


def test_levit_forgets_what_followed_from_its_old_weights():
    network = Timm.build(name="levit", options={"model": "levit_128s", "tile_px": 64}, state=None).module
    tiles = BagTiles(pool=NoisePool(2, 64), rows=torch.arange(2))
    before = FreshFeatures(network, piece=2).of(tiles)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("attention_biases"):
                parameter.normal_(std=3.0, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(FreshFeatures(network, piece=2).of(tiles), before)


def test_features_of_a_shared_pool_are_computed_once_per_tile(encoder_folder: Path, source: SmearBagSource):
    job = job_of(encoder_folder, source)
    bags = source.selection()
    read: list[int] = []
    pool = bags[0].tiles.pool
    plain = pool.read

    def counted(rows: torch.Tensor) -> torch.Tensor:
        read.extend(rows.tolist())
        return plain(rows)

    pool.read = counted
    job.validate()
    assert len(read) == len(set(read)) > 0
    for bag in bags[:3]:
        torch.testing.assert_close(job.judged_features(bag), bag.features, atol=1e-4, rtol=1e-4)


def test_gradient_reaches_the_chosen_block_and_nothing_else(encoder_folder: Path, source: SmearBagSource):
    job = job_of(encoder_folder, source)
    job.module.train()
    torch.stack(list(next(job.losses(0, torch.Generator().manual_seed(0))).values())).sum().backward()
    for name, parameter in job.module.network.named_parameters():
        learns = "layer4" in name
        assert parameter.requires_grad == learns
        assert (parameter.grad is not None and float(parameter.grad.abs().max()) > 0) == learns, name
    assert {id(p) for p in job.module.shared_parameters()} >= {id(p) for p in job.module.encoder_parameters()}


def test_gradient_is_that_of_the_tiles_that_were_chosen(encoder_folder: Path, source: SmearBagSource):
    """Independent of the job: the same loss with the other tiles' embeddings put in as constants."""
    job = job_of(encoder_folder, source)
    batch = next(job.batches(0, torch.Generator().manual_seed(0)))
    job.module.eval()
    torch.stack(list(job.batch_losses(batch).values())).sum().backward()
    found = [parameter.grad.clone() for parameter in job.module.encoder_parameters()]
    job.module.zero_grad()
    outputs = []
    for bag in batch:
        assert len(bag.tiles.learned) == 6
        features = []
        for place, row in enumerate(bag.tiles.rows):
            embedded = job.module.network(bag.tiles.pool.read(row[None]))[0]
            features.append(embedded if place in bag.tiles.learned else embedded.detach())
        outputs.append(job.aggregator((torch.stack(features) - job.mean) * job.scale))
    torch.stack(list(job.criterion(batch, outputs).values())).sum().backward()
    for mine, parameter in zip(found, job.module.encoder_parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad, atol=1e-3 * float(mine.abs().max()) + 1e-7, rtol=1e-3)


def test_what_is_frozen_stays_bit_for_bit_and_the_rest_moves_at_its_own_rate(
    encoder_folder: Path, source: SmearBagSource, tmp_path: Path
):
    job = job_of(encoder_folder, source, learning_rate=1e-5)
    before = {name: value.clone() for name, value in job.module.state_dict().items()}
    loop = make_loop(job, job.config, folder=tmp_path, key="key")
    job.module.train()
    loop.optimisation.set_learning_rate(1e-2)
    loop.optimisation.take([next(job.batches(0, torch.Generator().manual_seed(0)))])
    moved = {name: float((value - before[name]).abs().max()) for name, value in job.module.state_dict().items()}
    for name, distance in moved.items():
        if name.startswith("aggregator."):
            continue
        if "layer4" in name and "running" not in name and "batches" not in name:
            # AdamW's first step is the learning rate itself wherever a gradient is far above its epsilon.
            assert 0.5e-5 < distance < 1.01e-5, name
        else:
            assert torch.equal(job.module.state_dict()[name], before[name]), name
    assert max(value for name, value in moved.items() if name.startswith("aggregator.")) == pytest.approx(1e-2, rel=0.1)
    start = load_encoder(encoder_folder)
    assert start.digest == source.encoder.digest
    assert all(torch.equal(v, start.module.state_dict()[k]) for k, v in source.encoder.module.state_dict().items())


def test_other_tiles_keep_their_old_embeddings_on_request(encoder_folder: Path, source: SmearBagSource):
    job = job_of(encoder_folder, source, others="before", blocks="all")
    with torch.no_grad():
        for parameter in job.module.encoder_parameters():
            parameter.mul_(1.5)
    bag = next(job.batches(0, torch.Generator().manual_seed(0)))[0]
    features = job.learned_features(bag)
    other = torch.ones(len(bag.features), dtype=torch.bool)
    other[bag.tiles.learned] = False
    assert torch.equal(features[other], bag.features[other])
    assert not torch.isclose(features[~other], bag.features[~other]).all(dim=1).any()
    assert any("before this training" in said for said in job.warnings())
    fresh = job_of(encoder_folder, source, others="current", tiles=0, blocks="all")
    whole = next(fresh.batches(0, torch.Generator().manual_seed(0)))[0]
    torch.testing.assert_close(fresh.learned_features(whole), whole.features, atol=1e-4, rtol=1e-4)


def test_gradient_methods_balance_the_encoder_too(encoder_folder: Path, source: SmearBagSource, tmp_path: Path):
    for level in ("parameters", "representation"):
        config = config_of(encoder_folder, tables={"balancing": {"method": "pcgrad", "level": level}})
        job = bags_job(config, source, device=CPU)
        loop = make_loop(job, config, folder=tmp_path, key="key")
        job.module.train()
        before = [parameter.detach().clone() for parameter in job.module.encoder_parameters()]
        loop.optimisation.take([next(job.batches(0, torch.Generator().manual_seed(0)))])
        after = job.module.encoder_parameters()
        assert all(not torch.equal(*pair) for pair in zip(before, after, strict=True))


def test_methods_that_look_ahead_are_refused(encoder_folder: Path, source: SmearBagSource):
    with pytest.raises(ValueError, match="looks one step ahead"):
        bags_job(config_of(encoder_folder, tables={"balancing": {"method": "autol"}}), source, device=CPU)


def test_model_carries_its_encoder_and_answers_slides_as_in_training(
    encoder_folder: Path, source: SmearBagSource, cells: CellSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    job = job_of(encoder_folder, source)
    settings = Optimisation(epochs=1, learning_rate=1e-2, weight_decay=0.0)
    *_, last = Loop(job, settings, seed=0, folder=tmp_path / "runs", key="key").run(output=tmp_path / "learned")
    card = read_model_card(last.output)
    model = load_model(tmp_path / "learned", device="cpu")
    assert card.encoder == "learned-encoder"
    assert model.encoder.digest == card.encoder_sha256 != source.encoder.digest
    kept = load_encoder(encoder_folder).module.state_dict()
    for name, value in model.encoder.module.state_dict().items():
        frozen = "layer4" not in name or "running" in name or "batches" in name
        assert torch.equal(value, kept[name]) == frozen, name

    smear = Composer(cells).compose(SmearSpec(rows=5, columns=6, witness_rate=0.2, seed=3))
    slide = write_smear(tmp_path / "smear.tiff", cells, smear)
    pool = next(iter(source.parts.values())).pool
    pool.chosen = np.arange(len(cells))
    expected = job.answer(
        type(source.selection()[0])(features=torch.zeros(30, 96), labels=torch.zeros(3), tiles=pool.of(smear))
    )
    found = model.aggregator(torch.from_numpy(model.embed(_tiles_of(slide).numpy())))
    for name, answer in expected.tasks.items():
        torch.testing.assert_close(found.tasks[name].logits, answer.logits, atol=2e-2, rtol=2e-2)

    monkeypatch.setattr("napari_mtlpath.cli.predict.IsolatedWork", _InThisProcess)
    words = [
        "predict",
        str(slide),
        "--model",
        str(tmp_path / "learned"),
        "--out",
        str(tmp_path / "out"),
        "--device",
        "cpu",
    ]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.output

    moved = save_model(tmp_path / "elsewhere" / "learned", card, model.aggregator.state_dict())
    assert load_model(moved.folder, device="cpu").encoder.digest == model.encoder.digest


class _InThisProcess:
    """Stands for `IsolatedWork`: no child process, so no second import of torch."""

    def __init__(self, prepare, *, silence_seconds: float) -> None:
        self._prepare = prepare

    def run(self, slide: Path):
        yield from self._prepare()(slide)

    def close(self) -> None:
        """Nothing is open."""


def _tiles_of(path: Path) -> torch.Tensor:
    slide = open_slide(path)
    grid = TileGrid.for_slide(height=slide.height, width=slide.width, mpp=slide.resolution.mpp, spec=CELL)
    tiles = [
        slide.read_square(*grid.corner(index), grid.side, tile_px=SIDE, resampling=Resampling.SCALED).array
        for index in range(len(grid))
    ]
    slide.close()
    return torch.from_numpy(np.stack(tiles))


def _cohort(folder: Path, cells: CellSet, encoder: Encoder, *, patients: int = 12) -> None:
    """Write a cohort of slides: smears as files, their features, and a table with one label."""
    rows = []
    for number in range(patients):
        spec = SmearSpec(rows=3, columns=4, witness_rate=0.3 * (number % 2), seed=number)
        for part in range(1 + number % 2):
            name = f"p{number}-{part}"
            path = write_smear(folder / "slides" / f"{name}.tiff", cells, Composer(cells).compose(spec))
            with torch.inference_mode():
                features = encoder.embed(_tiles_of(path)).numpy()
            corners = np.array([(row, column) for row in range(3) for column in range(4)]) * CELL.tile_um
            write_features(
                folder / "features" / f"{name}.h5",
                features,
                corners,
                extractor=encoder.name,
                tile_um=CELL.tile_um,
                tile_px=CELL.tile_px,
            )
            rows.append({"PATIENT": f"p{number}", "FILENAME": name, "basophils": ("no", "yes")[number % 2]})
    write_table(folder / "slides.csv", rows)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory, cells: CellSet, encoder_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    _cohort(folder, cells, load_encoder(encoder_folder))
    return folder


def cohort_config_of(encoder_folder: Path, **data: object) -> BagsConfig:
    given = {"source": "cohort", "slides": "slides.csv", "features": "features", "slide_files": "slides"}
    tasks = [{"name": "basophils", "classes": ["no", "yes"]}]
    return config_of(encoder_folder, tables={"data": given | {"tasks": tasks} | data})


def test_cohort_of_slide_files_trains_the_encoder(cohort: Path, encoder_folder: Path, tmp_path: Path):
    config = cohort_config_of(encoder_folder)
    *_, last = train(config, output=tmp_path / "learned", runs=tmp_path / "runs", data=(cohort,))
    card = read_model_card(last.output)
    assert load_model(last.output, device="cpu").encoder.digest == card.encoder_sha256
    assert card.encoder_sha256 != load_encoder(encoder_folder).digest


def test_tiles_of_a_patient_are_those_that_its_features_came_from(cohort: Path, encoder_folder: Path):
    encoder = load_encoder(encoder_folder)
    (source,) = cohort_sources(cohort_config_of(encoder_folder).data, encoder, folders=(cohort,), seed=0)
    bag = next(bag for part in source.parts.values() for bag in part if bag.name == "p1")
    assert len(bag.features) == 24  # of two slides
    torch.testing.assert_close(FreshFeatures(encoder.module, piece=5).of(bag.tiles), bag.features, atol=1e-4, rtol=1e-4)
    few = bag.tiles.only(torch.tensor([3, 20]))
    torch.testing.assert_close(
        FreshFeatures(encoder.module, piece=5).of(few), bag.features[[3, 20]], atol=1e-4, rtol=1e-4
    )


def test_features_of_other_tiles_and_missing_slides_are_refused(
    cohort: Path, encoder_folder: Path, cells: CellSet, tmp_path: Path
):
    encoder = load_encoder(encoder_folder)

    def job(**data: object) -> EndToEndJob:
        config = cohort_config_of(encoder_folder, **data)
        (source,) = cohort_sources(config.data, encoder, folders=(tmp_path, cohort), seed=0)
        return bags_job(config, source, device=CPU)

    with pytest.raises(ValueError, match=r"names no slide_files. Give data.slide_files"):
        job(slide_files="")
    for path in sorted((cohort / "slides").glob("*.tiff")):
        other = Composer(cells).compose(SmearSpec(rows=3, columns=4, witness_rate=0.0, seed=99))
        write_smear(tmp_path / "others" / path.name, cells, other)
    with pytest.raises(ValueError, match="are not those of its tiles"):
        job(slide_files="others")
    (tmp_path / "none").mkdir()
    with pytest.raises(FileNotFoundError, match="There is no slide 'p"):
        job(slide_files="none")
