"""Training of a tile encoder: beats the trivial answer, leaves absent tasks alone, and writes a folder that loads."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_cells import made_cells, write_archive
from safetensors import safe_open

from napari_mtlpath.encoders.cards import read_encoder_card
from napari_mtlpath.encoders.load import load_encoder
from napari_mtlpath.training.config.train_config import TilesConfig, parse_config, read_config
from napari_mtlpath.training.loop.report import Phase
from napari_mtlpath.training.tile_training.tile_data import TileData, cell_tiles
from napari_mtlpath.training.tile_training.tiles_job import TilesJob
from napari_mtlpath.training.train import train


def tiny_config(**optimisation: object) -> TilesConfig:
    config = parse_config(
        {
            "kind": "tiles",
            "name": "tiny",
            "seed": 1,
            "data": {"source": "cells", "archive": "cells.zip", "leave_out": ["Basophil"]},
            "encoder": {
                "options": {
                    "model": "resnet10t",
                    "mean": [0.5, 0.5, 0.5],
                    "std": [0.25, 0.25, 0.25],
                    "arguments": {"channels": [8, 8, 16, 16], "stem_width": 8},
                }
            },
            "optimisation": {"epochs": 6, "batch": 20, "learning_rate": 5e-3, "average": 0.5} | optimisation,
            "card": {"title": "Tiny", "licence": "CC-BY-4.0", "limits": "made up"},
        }
    )
    assert isinstance(config, TilesConfig)
    return config


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("data") / "cells.zip", made_cells(200))


@pytest.fixture(scope="module")
def data(archive: Path) -> TileData:
    return cell_tiles(tiny_config().data, folders=(archive.parent,))


@pytest.fixture(scope="module")
def trained(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("trained")
    reports = list(train(tiny_config(), output=home / "tiny", runs=home / "runs", data=(archive.parent,)))
    assert reports[-1].phase is Phase.DONE
    return home / "tiny"


def test_left_out_type_is_on_neither_side(data: TileData):
    basophil = data.tasks[0].classes.index("Basophil")
    assert not (data.train.labels[:, 0] == basophil).any()
    assert not (data.validation.labels[:, 0] == basophil).any()
    assert "30 training cells of type Basophil" in str(data.facts["left_out"])


def test_trained_encoder_beats_the_majority(trained: Path):
    metrics = read_encoder_card(trained).metrics["cell_type"]
    assert metrics["accuracy_low"] > metrics["accuracy_floor"]


def test_folder_holds_encoder_heads_card_and_config(trained: Path):
    encoder = load_encoder(trained)
    assert encoder.features == 16
    card = read_encoder_card(trained)
    assert card.provenance["seed"] == 1
    assert card.provenance["device"] == "cpu"
    assert read_config(trained / "train.toml") == tiny_config()
    with safe_open(trained / "heads.safetensors", framework="pt") as heads:
        assert next(task["name"] for task in json.loads(heads.metadata()["tasks"])) == "cell_type"
        assert heads.get_tensor("heads.cell_size.weight").shape == (1, 16)


def test_figures_of_the_card_are_those_of_the_saved_weights(trained: Path, data: TileData):
    encoder = load_encoder(trained)
    with safe_open(trained / "heads.safetensors", framework="pt") as heads:
        state = {name: heads.get_tensor(name) for name in heads.keys()}  # noqa: SIM118  safe_open is no mapping
    with torch.inference_mode():
        features = encoder.embed(data.validation.tiles)
        scale = state["norm.weight"] / (state["norm.running_var"] + 1e-5).sqrt()
        normed = (features - state["norm.running_mean"]) * scale + state["norm.bias"]
        answers = (normed @ state["heads.cell_type.weight"].T + state["heads.cell_type.bias"]).argmax(1)
    accuracy = float((answers == data.validation.labels[:, 0]).double().mean())
    assert read_encoder_card(trained).metrics["cell_type"]["accuracy"] == pytest.approx(accuracy, abs=1e-4)


def test_task_without_labels_gets_no_gradient_and_does_not_move(data: TileData):
    labels = data.train.labels.clone()
    labels[:, 3] = np.nan
    partial = replace(data, train=replace(data.train, labels=labels))
    job = TilesJob(tiny_config(), partial, device=torch.device("cpu"))
    name = data.tasks[3].name
    job.module.train()
    torch.stack(list(next(job.losses(0, torch.Generator().manual_seed(0))).values())).mean().backward()
    assert all(parameter.grad is None for parameter in job.module.heads[name].parameters())
    others = [task.name for task in data.tasks if task.name != name]
    assert all(p.grad is not None for other in others for p in job.module.heads[other].parameters())


def test_missing_data_are_named_with_every_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MTLPATH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"Expected cells.zip in one of .*MTLPATH_DATA"):
        list(train(tiny_config(), output=tmp_path / "tiny", runs=tmp_path / "runs"))
