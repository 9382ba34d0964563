"""`mtlpath train`: a config becomes a model folder; Ctrl-C stops after a whole step, and the same command goes on."""

import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_cells import made_cells, write_archive
from typer.testing import CliRunner

from napari_mtlpath.cli.main import app
from napari_mtlpath.training.loop.report import Phase, TrainingReport

CONFIG = """
kind = "tiles"
name = "tiny"
seed = 1

[data]
source = "cells"
archive = "cells.zip"

[encoder.options]
model = "resnet10t"
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
arguments = { channels = [8, 8, 16, 16], stem_width = 8 }

[optimisation]
epochs = 100000
batch = 20
learning_rate = 5e-3
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_archive(tmp_path / "cells.zip", made_cells(200))
    path = tmp_path / "tiny.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def command(config: Path, *more: str) -> list[str]:
    return ["train", str(config), "--data", str(config.parent), "--out", str(config.parent / "out" / "tiny"), *more]


def reports(config, *, output: Path, **_: object) -> Iterator[TrainingReport]:
    """Stands for the training itself, which tests/training tests."""
    shared = {"epochs": config.optimisation.epochs, "steps": 20, "learning_rate": 1e-3, "best_epoch": 1, "seconds": 1.0}
    plain = {"loss": 0.5, "best_score": 0.9} | shared
    yield TrainingReport(phase=Phase.STEP, epoch=0, step=5, score=math.nan, **plain)
    yield TrainingReport(phase=Phase.EPOCH, epoch=1, step=10, score=0.9, metrics={"accuracy": 0.9}, **plain)
    last = {
        "score": math.nan,
        "metrics": {"accuracy": 0.9},
        "stopped": "No better score for 1 epochs.",
        "output": output,
    }
    yield TrainingReport(phase=Phase.DONE, epoch=1, step=10, **(plain | {"loss": math.nan}), **last)


def test_progress_best_epoch_and_model_folder_are_told(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_mtlpath.training.train.train", reports)
    result = CliRunner().invoke(app, command(config, "--device", "cpu", "--set", "optimisation.epochs=2"))
    assert result.exit_code == 0, result.stderr
    assert "epoch 1, score 0.9000 (best): accuracy 0.9000" in result.stderr
    assert "No better score" in result.stdout
    assert f"Wrote {config.parent / 'out' / 'tiny'}. Research use only." in result.stdout


def test_of_several_processes_only_the_leader_speaks(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_mtlpath.training.train.train", reports)
    monkeypatch.setenv("RANK", "1")
    result = CliRunner().invoke(app, command(config, "--device", "cpu"))
    assert result.exit_code == 0, result.stderr
    assert not result.stdout + result.stderr


def test_way_to_the_curves_is_said(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_mtlpath.training.train.train", reports)
    for there, words in ((True, "tensorboard --logdir"), (False, "pip install 'napari-mtlpath[tensorboard]'")):
        monkeypatch.setattr("napari_mtlpath.training.loop.event_log.is_available", lambda there=there: there)
        said = CliRunner().invoke(app, command(config, "--device", "cpu")).stderr
        assert words in said.replace("\n", " ")


def test_loss_that_is_not_finite_is_said_in_one_line(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> Iterator[TrainingReport]:
        raise FloatingPointError("The loss became nan. Lower the learning rate.")
        yield

    monkeypatch.setattr("napari_mtlpath.training.train.train", broken)
    result = CliRunner().invoke(app, command(config, "--device", "cpu"))
    assert result.exit_code == 1
    assert result.stderr.rstrip().endswith("Error: The loss became nan. Lower the learning rate.")


def train_until_an_epoch_is_done(config: Path) -> tuple[int, str]:
    """Train in a process of its own, press Ctrl-C at the first epoch; return that epoch and all it said."""
    words = [sys.executable, "-m", "napari_mtlpath.cli.main", *command(config, "--device", "cpu")]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    told = next((line for line in iter(process.stderr.readline, "") if re.match(r"epoch \d+,", line)), "")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=200)
    assert process.returncode == 130, told + said
    return int(told.split()[1].rstrip(",")), said


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent another way")
def test_ctrl_c_stops_after_a_whole_step_and_the_same_command_goes_on(config: Path) -> None:
    first, said = train_until_an_epoch_is_done(config)
    assert first == 1
    assert "Stopped after a whole step" in said
    assert "Traceback" not in said
    assert not (config.parent / "out" / "tiny").exists()

    again, _ = train_until_an_epoch_is_done(config)
    assert again > first
