"""Pre-training on a pool: a command's worth of it, from pictures to an encoder and a tile model that load."""

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import torch
from made_pool import PX, made_pool, made_task, pool_config
from PIL import Image
from typer.testing import CliRunner

from napari_mtlpath.cli.main import app
from napari_mtlpath.encoders.load import load_encoder
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.training.config.reading import ConfigError
from napari_mtlpath.training.config.train_config import parse_config
from napari_mtlpath.training.loop.report import Phase
from napari_mtlpath.training.measure import measure
from napari_mtlpath.training.pool.parts import Part
from napari_mtlpath.training.pool.pool_job import PoolJob
from napari_mtlpath.training.pool.publish_pool import tile_model_folder
from napari_mtlpath.training.train import train
from napari_mtlpath.training.train_job import make_loop
from napari_mtlpath.training.transfer import linear_probe
from napari_mtlpath.units import Microns, TilePixels
from napari_mtlpath.zoo.load import load_model

CPU = torch.device("cpu")
TILE = TileSpec(tile_um=Microns(32.0), tile_px=TilePixels(32))
SMALL = {
    "model": "resnet10t",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
    "arguments": {"channels": [4, 4, 8, 8], "stem_width": 4},
}


def write_pictures(root: Path, *, classes: int = 2, count: int = 16, seed: int = 0) -> Path:
    """Folders of pictures whose class is their brightness; the name's first part is the patient."""
    random = np.random.default_rng(seed)
    for code in range(classes):
        folder = root / f"class-{code}"
        folder.mkdir(parents=True)
        for number in range(count):
            shade = 40 + 160 * code // max(classes - 1, 1)
            noise = random.integers(-20, 21, (PX, PX + number % 3, 3))
            picture = np.clip(shade + noise, 0, 255).astype(np.uint8)
            Image.fromarray(picture).save(folder / f"p{number // 2}_{number}.png")
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder / "bright")
    write_pictures(folder / "shades", classes=3, seed=1)
    return folder


def folder_config(**tables: object):
    pool = [
        {"name": "bright", "source": "folder", "options": {"path": "bright", "group": "^(p\\d+)"}},
        {"name": "shades", "source": "folder", "options": {"path": "shades", "group": "^(p\\d+)"}},
    ]
    optimisation = {"epochs": 3, "steps_per_epoch": 12, "batch": 12, "learning_rate": 1e-2}
    plain = {"pool": pool, "encoder": {"options": SMALL}, "optimisation": optimisation}
    return pool_config(**(plain | tables))


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("zoo")
    output = home / "models" / "tile-encoders" / "made-pool"
    reports = list(train(folder_config(), output=output, runs=home / "runs", data=(data,)))
    assert reports[-1].phase is Phase.DONE
    assert reports[-1].output == output
    return output


def test_the_encoder_comes_out_for_the_zoo(trained: Path) -> None:
    encoder = load_encoder(trained)
    tiles = torch.zeros(2, PX, PX, 3, dtype=torch.uint8)
    with torch.inference_mode():
        assert encoder.embed(tiles).shape == (2, encoder.features)


def test_its_card_has_each_task_beside_the_trivial_answer(trained: Path) -> None:
    card = tomllib.loads((trained / "encoder.toml").read_text(encoding="utf-8"))
    assert card["metrics"]["bright"]["auc"] > 0.9
    assert card["metrics"]["bright"]["auc_floor"] == 0.5
    assert card["metrics"]["shades"]["accuracy"] > card["metrics"]["shades"]["accuracy_floor"]
    assert "32 pictures" in card["provenance"]["task bright"]


def test_its_tile_model_answers_tiles_as_the_trained_heads_do(trained: Path, data: Path) -> None:
    model = load_model(tile_model_folder(trained), device="cpu")
    assert model.card.tile_tasks == ("bright", "shades")
    assert model.card.aggregator == "tile_heads"
    shades = [np.full((PX, PX, 3), shade, np.uint8) for shade in (40, 200)]
    with torch.inference_mode():
        answers = model.aggregator(torch.from_numpy(model.embed(np.stack(shades))), explain=True).tasks
    dark, light = answers["bright"].tile_logits[:, 0].tolist()
    assert dark < 0 < light
    assert answers["shades"].tile_logits.argmax(1).tolist() == [0, 2]


def test_figures_can_be_measured_again_from_the_folders(trained: Path, data: Path) -> None:
    card = tomllib.loads((trained / "encoder.toml").read_text(encoding="utf-8"))
    assert measure(trained, data=(data,)) == card["metrics"]


def test_outside_a_zoo_the_tile_model_carries_its_encoder(data: Path, tmp_path: Path) -> None:
    config = folder_config(optimisation={"epochs": 1, "steps_per_epoch": 1, "batch": 4, "learning_rate": 1e-3})
    list(train(config, output=tmp_path / "made-pool", runs=tmp_path / "runs", data=(data,)))
    assert load_model(tmp_path / "made-pool-tiles", device="cpu").encoder.name == "made-pool"


def test_a_task_whose_labels_are_chance_does_not_beat_chance() -> None:
    honest, random = made_task("honest", 160), made_task("random", 400, seed=1, chance=True)
    config = pool_config(encoder={"options": SMALL}, optimisation={"steps_per_epoch": 60, "batch": 16})
    job = PoolJob(config, made_pool(honest, random), device=CPU)
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(job.module.parameters(), lr=1e-2)
    for batch in job.batches(0, generator):
        optimiser.zero_grad(set_to_none=True)
        torch.stack(list(job.batch_losses(batch).values())).mean().backward()
        optimiser.step()
    job.module.eval()
    scores = job.validate().scores
    count = len(random.parts[Part.VALIDATION])
    assert scores["honest"] > 0.95
    assert abs(scores["random"] - 0.5) < 3 * np.sqrt(1 / (12 * count / 4))  # 3 standard deviations of a chance AUC


def test_a_stopped_training_goes_on_as_if_it_had_not_been_across_the_end_of_the_warm_up(tmp_path: Path) -> None:
    config = pool_config(encoder={"options": SMALL}, heads={"warmup_steps": 5})
    pool = made_pool(made_task("a"), made_task("b", classes=3, seed=1))

    def loop(name: str):
        made = make_loop(PoolJob(config, pool, device=CPU), config, folder=tmp_path / name, key="k")
        made.report_seconds = -1.0
        return made

    config = replace_optimisation(config, epochs=2)
    whole = loop("whole")
    list(whole.run(output=tmp_path / "a" / "made-pool"))
    first = loop("parts")
    reports = first.run(output=tmp_path / "b" / "made-pool")
    for _ in range(3):
        next(reports)
    reports.close()
    second = loop("parts")
    list(second.run(output=tmp_path / "b" / "made-pool"))
    expected, found = whole.job.module.state_dict(), second.job.module.state_dict()
    for name, value in expected.items():  # a CPU's convolution may round its last bit otherwise
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)


def replace_optimisation(config, **changes: object):
    return config.model_copy(update={"optimisation": config.optimisation.model_copy(update=changes)})


def test_norms_are_moved_only_where_training_starts_from_an_encoder(trained: Path) -> None:
    pool = made_pool(made_task("a"))
    started = PoolJob(pool_config(encoder={"start_from": str(trained)}), pool, device=CPU)
    plain = PoolJob(pool_config(encoder={"start_from": str(trained)}, domain={"batches": 0}), pool, device=CPU)
    assert started.adapted_norms > 0
    assert plain.adapted_norms == 0
    tiles = torch.randint(256, (4, PX, PX, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    with torch.inference_mode():
        before, after = (job.module.network.eval()(tiles) for job in (plain, started))
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4)
    norms = [
        [b for n, b in job.module.network.named_buffers() if n.endswith("running_mean")] for job in (plain, started)
    ]
    assert any(not torch.allclose(a, b) for a, b in zip(*norms, strict=True))


def test_parts_of_a_step_are_refused_because_heads_need_whole_batches() -> None:
    for wrong in ({"accumulate": 2}, {"precision": "float16"}):
        tables = folder_config().model_dump(mode="json")
        tables["optimisation"] |= wrong
        with pytest.raises(ConfigError, match="whole batch"):
            parse_config(tables)


def test_pretrain_runs_pools_and_refuses_other_kinds(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "pool.toml"
    path.write_text(tomli_w.dumps(folder_config().model_dump(mode="json")), encoding="utf-8")
    runner = CliRunner()
    out = tmp_path / "made-pool"
    quick = ["--set", "optimisation.epochs=1", "--set", "optimisation.steps_per_epoch=1"]
    result = runner.invoke(
        app, ["pretrain", str(path), "--data", str(data), "--out", str(out), "--device", "cpu", *quick]
    )
    assert result.exit_code == 0, result.output
    assert (out / "encoder.toml").is_file()
    said = runner.invoke(app, ["pretrain", str(path), "--data", str(data), "--check"])
    assert "bright (set bright): bright: 32 pictures in 2 folders." in said.output
    other = tmp_path / "tiles.toml"
    other.write_text(runner.invoke(app, ["train", "--template", "tiles"]).output, encoding="utf-8")
    refused = runner.invoke(app, ["pretrain", str(other)])
    assert refused.exit_code == 1
    assert "kind 'tiles'; expected pool or slide_aware" in refused.output
    assert 'kind = "pool"' in runner.invoke(app, ["pretrain", "--template", "pool"]).output


def test_pretrain_ranks_settings_on_sets_left_out(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_probe, "COSTS", (1e-3, 1.0))
    path = tmp_path / "pool.toml"
    path.write_text(tomli_w.dumps(folder_config().model_dump(mode="json")), encoding="utf-8")
    quick = ["--set", "optimisation.epochs=1", "--set", "optimisation.steps_per_epoch=1", "--seeds", "1"]
    command = ["pretrain", str(path), "--data", str(data), "--device", "cpu", "--out", str(tmp_path / "runs"), *quick]
    result = CliRunner().invoke(app, [*command, "--leave-one-out", "--vary", "heads.rate_factor=1,5"])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert "| setting | bright | shades | mean rank |" in lines
    assert sum(line.startswith("| heads.rate_factor=") for line in lines) == 2
    assert any(line.startswith("For bright, by the ranks of the other tasks: heads.rate_factor=") for line in lines)


def test_the_whole_pool_without_a_set_has_none_of_its_tasks() -> None:
    pool = made_pool(made_task("a", related="one"), made_task("b", related="one"), made_task("c", related="two"))
    assert pool.sets == ("one", "two")
    assert [task.name for task in pool.without(["one"]).tasks] == ["c"]
    assert [task.name for task in pool.only(["one"]).tasks] == ["a", "b"]
    with pytest.raises(ValueError, match="no set three"):
        pool.without(["three"])


def test_a_task_without_samples_for_a_part_is_refused() -> None:
    task = made_task("a")
    nothing = np.array([], dtype=np.int64)
    none = replace(task.parts[Part.TEST], items=nothing, labels=nothing, groups=())
    empty = replace(task, parts={**task.parts, Part.TEST: none})
    with pytest.raises(ValueError, match="no sample for test"):
        made_pool(empty)


@pytest.mark.parametrize("model", ["test_vit", "test_convnext", "test_efficientnet", "test_resnet"])
def test_any_network_of_timm_learns_from_a_pool(model: str) -> None:
    config = pool_config(encoder={"options": {"model": model}}, tile={"tile_px": 32, "tile_um": 32.0})
    pool = replace(made_pool(made_task("a"), made_task("b", classes=3, seed=1)), spec=TILE)
    job = PoolJob(config, pool, device=CPU)
    losses = job.batch_losses(job.draw(6, torch.Generator().manual_seed(0)))
    torch.stack(list(losses.values())).mean().backward()
    reached = [p.grad is not None for p in job.module.network.parameters()]
    assert sum(reached) > 0.9 * len(reached)
