"""Training of pixel models: learns, resumes bit by bit, balances, and writes a folder that loads."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from made_cells import write_archive
from pixel_worlds import SMALL, drawn_cells, pixels_config
from typer.testing import CliRunner

from napari_mtlpath.cli.main import app
from napari_mtlpath.training.check import check
from napari_mtlpath.training.config.train_config import read_config
from napari_mtlpath.training.loop.report import Phase
from napari_mtlpath.training.measure import measure
from napari_mtlpath.training.pixels.pixels_job import PixelsJob
from napari_mtlpath.training.pixels.sources import pixel_data
from napari_mtlpath.training.train import train
from napari_mtlpath.weights import read_weights
from napari_mtlpath.zoo.pixel_load import load_pixel_model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("data") / "drawn.zip", drawn_cells(60)[0])


@pytest.fixture(scope="module")
def trained(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("trained")
    longer = {"epochs": 10, "batch": 7, "learning_rate": 1e-2, "weight_decay": 0.0}
    config = pixels_config(optimisation=longer)
    reports = list(train(config, output=home / "tiny-pixels", runs=home / "runs", data=(archive.parent,)))
    assert reports[-1].phase is Phase.DONE
    return home / "tiny-pixels"


def job(archive: Path, **tables: object) -> PixelsJob:
    config = pixels_config(**tables)
    return PixelsJob(config, pixel_data(config, folders=(archive.parent,)), device=CPU)


def test_a_trained_model_beats_the_trivial_answer_of_both_kinds_of_tasks(trained: Path):
    card = load_pixel_model(trained, device="cpu").card
    assert card.metrics["cell_parts"]["dice_low"] > card.metrics["cell_parts"]["dice_floor"]
    assert card.metrics["cell_parts in fields"]["dice_low"] > card.metrics["cell_parts in fields"]["dice_floor"]
    assert card.metrics["cell_type"]["accuracy_low"] > card.metrics["cell_type"]["accuracy_floor"]
    for row in card.metrics.values():
        stated = [name for name in row if not name.endswith(("_floor", "_low", "_high"))]
        assert all(f"{name}_floor" in row for name in stated)


def test_the_card_says_where_masks_come_from_and_promises_no_isolation(trained: Path):
    card = load_pixel_model(trained, device="cpu").card
    assert card.masks.startswith("derived, not annotated")
    assert "no guarantee of isolation" in card.limits
    assert {"seed", "command", "data", "device"} <= set(card.provenance)
    assert read_config(trained / "train.toml").network.name == "ctan"


def test_figures_of_the_card_are_those_of_the_saved_weights(trained: Path, archive: Path):
    assert measure(trained, data=(archive.parent,)) == load_pixel_model(trained, device="cpu").card.metrics


def test_a_cancelled_training_goes_on_bit_by_bit(archive: Path, tmp_path: Path):
    config, folders = pixels_config(), (archive.parent,)
    list(train(config, output=tmp_path / "whole/tiny-pixels", runs=tmp_path / "a", data=folders))
    reports = train(config, output=tmp_path / "cut/tiny-pixels", runs=tmp_path / "b", data=folders)
    list(islice(reports, 3))
    reports.close()
    assert not (tmp_path / "cut/tiny-pixels").exists()
    list(train(config, output=tmp_path / "cut/tiny-pixels", runs=tmp_path / "b", data=folders))
    one, other = (read_weights(tmp_path / name / "tiny-pixels/model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("method", ["equal", "uncert", "pcgrad", "dwa+cagrad"])
def test_every_balancer_can_train_every_network(method: str, archive: Path, tmp_path: Path):
    name = {"equal": "single", "uncert": "mtan", "pcgrad": "ctan", "dwa+cagrad": "hps"}[method]
    config = pixels_config(
        balancing={"method": method},
        network={"name": name, "options": SMALL},
        optimisation={"epochs": 1, "batch": 7, "learning_rate": 1e-3},
    )
    *_, last = train(config, output=tmp_path / "tiny-pixels", runs=tmp_path / "runs", data=(archive.parent,))
    assert last.phase is Phase.DONE
    assert load_pixel_model(tmp_path / "tiny-pixels", device="cpu").card.network == name


def test_tasks_without_labels_in_a_batch_are_left_out(archive: Path):
    drawn = job(archive)
    batch = next(drawn.batches(0, torch.Generator().manual_seed(0)))
    drawn.module.train()
    assert set(drawn.batch_losses(batch)) == {"cell_parts", "cell_type"}
    blank = replace(batch, pixels={"cell_parts": torch.full_like(batch.pixels["cell_parts"], 255)})
    losses = drawn.batch_losses(blank)
    assert set(losses) == set(drawn.label_counts(blank)) == {"cell_type"}
    losses["cell_type"].backward()
    assert all(parameter.grad is None for parameter in drawn.module.decoders["cell_parts"].parameters())
    unlabelled = replace(blank, labels=torch.full_like(blank.labels, torch.nan))
    assert drawn.batch_losses(unlabelled) == {}


def test_masks_stay_on_their_pixels_through_augmentation(archive: Path):
    drawn = job(archive)
    batch = next(drawn.batches(0, torch.Generator().manual_seed(0)))
    dark = batch.tiles[..., 0] < 120
    nucleus = batch.pixels["cell_parts"] == 2
    assert 2 * (dark & nucleus).sum() / (dark.sum() + nucleus.sum()) > 0.9


def test_batches_are_halved_down_to_two_tiles(archive: Path):
    drawn = job(archive)
    batch = next(drawn.batches(0, torch.Generator().manual_seed(0)))
    one, other = drawn.split(batch)
    assert torch.equal(torch.cat([one.tiles, other.tiles]), batch.tiles)
    assert one.groups + other.groups == batch.groups
    assert drawn.split(one.part(slice(0, 3))) is None


def test_check_says_what_would_be_trained(archive: Path):
    said = list(check(pixels_config(), data=(archive.parent,)))
    assert any(line.startswith("masks: derived, not annotated") for line in said)
    assert said[-1].startswith("Ctan with ")


def test_the_command_trains_with_changed_values_into_the_own_models(
    archive: Path, tmp_path: Path, isolated_folders: Path
):
    config = tmp_path / "tiny.toml"
    config.write_text(
        'kind = "pixels"\nname = "by-command"\n[data]\nsource = "cells"\narchive = "drawn.zip"\n[network.options]\n'
        'backbone = "resnet10t"\narguments = { channels = [4, 6, 8, 8], stem_width = 4 }\n'
        "[optimisation]\nepochs = 9\nbatch = 7\nlearning_rate = 1e-3\n"
    )
    command = ["train", str(config), "--data", str(archive.parent), "--device", "cpu", "--set", "optimisation.epochs=1"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert load_pixel_model("by-command", device="cpu").card.provenance["epochs"] == 1
    listed = CliRunner().invoke(app, ["models"])
    assert "by-command" in listed.output
    refused = CliRunner().invoke(
        app, ["add-task", "--model", "by-command", "--task", "more", "--labels", "x.csv", "--out", str(tmp_path / "o")]
    )
    assert refused.exit_code != 0
    assert "no task can be added to it in isolation" in f"{refused.output} {refused.exception}"


def test_one_task_needs_a_network_that_shares_nothing(archive: Path):
    with pytest.raises(ValueError, match="Choose network 'single'"):
        job(archive, tasks=["cell_parts"])
    alone = job(archive, tasks=["cell_parts"], network={"name": "single", "options": SMALL})
    assert alone.task_names == ("cell_parts",)
