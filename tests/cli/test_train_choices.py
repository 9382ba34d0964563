"""`mtlpath train`: templates, checks without training, and what a report leaves on the screen."""

import math
import tomllib
from pathlib import Path

import pytest
from made_cohort import write_cohort
from typer.testing import CliRunner

from napari_mtlpath.cli.main import app
from napari_mtlpath.cli.training_progress import lines_of, loss_words, time_left
from napari_mtlpath.training.loop.report import Phase, TrainingReport

PLAIN = {"steps": 10, "learning_rate": 1e-3, "best_epoch": 2, "best_score": 0.9, "seconds": 1.0, "loss": 0.5}


def config(folder: Path) -> Path:
    write_cohort(folder, patients=20)
    path = folder / "train.toml"
    text = CliRunner().invoke(app, ["train", "--template", "mean-pool"]).stdout
    start, end = text.index("[[data.tasks]]"), text.index("# [data.external]")
    path.write_text(text[:start] + text[end:], encoding="utf-8")
    return path


def test_template_prints_a_config_that_check_understands(tmp_path: Path):
    path = config(tmp_path)
    assert tomllib.loads(path.read_text())["aggregator"]["name"] == "mean_pool"
    words = ["train", str(path), "--check", "--device", "cpu", "--set", "encoder=colour-stats"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.stderr
    assert "taken for a classification with the classes" in result.stdout
    assert "learns for 30 epochs" in result.stdout
    assert not (tmp_path / "my-mean-pool").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--template", "mecd"], "Did you mean 'mecds'?"),
        ([], "mtlpath train --template mecds"),
        (["CONFIG", "--set", "optimisation.epoch=3"], "Did you mean 'epochs'?"),
        (["CONFIG", "--set", "optimisation.epochs=three"], "optimisation.epochs: input should be a valid integer"),
        (["CONFIG", "--set", "data.slides=none.csv", "--check"], "Expected none.csv in one of"),
    ],
)
def test_mistakes_are_one_line(words: list[str], sentence: str, tmp_path: Path):
    path = str(config(tmp_path)) if "CONFIG" in words else ""
    result = CliRunner().invoke(app, ["train", *(path if word == "CONFIG" else word for word in words)])
    assert result.exit_code == 1
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


def test_an_epoch_leaves_its_figures_losses_weights_and_conflicts():
    report = TrainingReport(
        phase=Phase.EPOCH,
        epoch=2,
        epochs=5,
        step=4,
        score=0.9,
        metrics={"tumour auc": 0.9},
        losses={"tumour": 0.25, "score": 0.5},
        weights={"tumour": 1.5, "score": 0.5},
        conflicts={("tumour", "score"): -0.4},
        stage="fold 1 of 5, teacher",
        warnings=("A batch had no label.",),
        **PLAIN,
    )
    assert list(lines_of(report)) == [
        "fold 1 of 5, teacher: A batch had no label.",
        "fold 1 of 5, teacher: epoch 2, score 0.9000 (best): tumour auc 0.9000",
        "fold 1 of 5, teacher:     losses tumour 0.2500, score 0.5000; weights tumour 1.5000, score 0.5000",
        "fold 1 of 5, teacher:     tasks pull tumour against score -0.4000 (cosine of their gradients)",
    ]
    assert loss_words(report) == "fold 1 of 5, teacher, epoch 3 of 5, loss 0.5000"
    assert time_left(report) == ""


def test_the_end_of_one_of_several_trainings_is_said():
    done = {"epoch": 5, "epochs": 5, "step": 10, "score": math.nan, "metrics": {"tumour auc": 0.9}}
    report = TrainingReport(phase=Phase.DONE, stage="teacher", **done, **PLAIN)
    assert list(lines_of(report)) == ["teacher: done, best epoch 2 (score 0.9000)."]
    alone = TrainingReport(phase=Phase.DONE, **done, **PLAIN)
    assert list(lines_of(alone)) == []
