"""`mtlpath remove-task` writes a model without a task, and a proof that the others answer as before, or nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
from taught_world import bag_of, lesson_of, quick, same_bits, saved_model, taught_reports, weights_of
from typer.testing import CliRunner

from napari_mtlpath.cli.main import app
from napari_mtlpath.features.key import FeatureKey
from napari_mtlpath.features.store import FeatureStore
from napari_mtlpath.training.teaching.taught_model import save
from napari_mtlpath.zoo.load import load_model
from napari_mtlpath.zoo.model import SlideModel


@pytest.fixture
def parent(tmp_path: Path) -> SlideModel:
    """The model `parent`, and `longer`, which was taught the task `bright`."""
    model = saved_model(tmp_path)
    *_, last = taught_reports(model, lesson_of(), tmp_path / "run", config=quick(steps=2))
    save(last.taught, tmp_path / "longer")
    return model


def remove(folder: Path, model: str, task: str, *words: str, out: str = "back"):
    fixed = ["remove-task", "--model", folder / model, "--task", task, "--out", folder / out]
    return CliRunner().invoke(app, [str(word) for word in (*fixed, *words)])


def test_without_the_taught_task_the_weights_are_the_parents_and_the_proof_says_so(parent: SlideModel, tmp_path: Path):
    key = FeatureKey(
        slide="9" * 64, encoder=parent.encoder.digest, tiles=f"{parent.card.tile.key}-x", preprocessing="none"
    )
    bag = bag_of(9)
    FeatureStore().put(key, np.arange(len(bag.features)), bag.features)
    result = remove(tmp_path, "longer", "bright", "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["tasks"] == ["dark", "share", "stain"]
    assert same_bits(weights_of(load_model(tmp_path / "back", device="cpu")), weights_of(parent))
    assert said["proof"]["identical"] is True
    assert said["proof"]["answers_sha256"]["before"] == said["proof"]["answers_sha256"]["after"]
    assert "9" * 64 in [bag["fingerprint"] for bag in said["proof"]["reference_bags"]]
    assert said["proof"] == json.loads((tmp_path / "back" / "proof.json").read_text(encoding="utf-8"))


def test_result_is_said_in_words(parent: SlideModel, tmp_path: Path):
    result = remove(tmp_path, "longer", "bright")
    assert "Removed 'bright'. Left: dark, share, stain." in result.output
    assert "identical bit by bit" in result.output


@pytest.mark.parametrize(
    ("model", "task", "out", "sentence"),
    [
        ("longer", "brigth", "back", "has no task 'brigth'"),
        ("nothing", "bright", "back", "There is no slide model"),
        ("longer", "bright", "parent", "no model is ever overwritten"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    model: str, task: str, out: str, sentence: str, parent: SlideModel, tmp_path: Path
):
    result = remove(tmp_path, model, task, out=out)
    assert result.exit_code == 1
    assert sentence in result.output
    assert len([line for line in result.output.splitlines() if line.startswith("Error")]) == 1
    assert not (tmp_path / "back").exists()


def test_task_that_others_read_stays(tmp_path: Path):
    saved_model(tmp_path, name="mixed", blocks=2)
    result = remove(tmp_path, "mixed", "dark")
    assert result.exit_code == 1
    assert "other tasks' answers depend on it" in result.output
    assert not (tmp_path / "back").exists()
