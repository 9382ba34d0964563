"""A taught model is saved whole with its proof, or not at all, and its task can be removed again."""

import copy
import errno
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from taught_world import NEW, bag_of, lesson_of, quick, same_bits, saved_model, taught_reports, weights_of

from napari_mtlpath.tasks import Classification
from napari_mtlpath.training.teaching.guard import Guard
from napari_mtlpath.training.teaching.report import Taught
from napari_mtlpath.training.teaching.taught_model import ForgettingError, remove_task, save
from napari_mtlpath.zoo.load import load_model


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Taught:
    folder = tmp_path_factory.mktemp("taught")
    parent = saved_model(folder)
    *_, last = taught_reports(parent, lesson_of(), folder / "run", references=[bag_of(7, labelled=0)])
    return last.taught


def test_saved_model_answers_as_the_taught_one_bit_by_bit(taught: Taught, tmp_path: Path):
    save(taught, tmp_path / "longer")
    again = load_model(tmp_path / "longer", device="cpu")
    assert same_bits(weights_of(again), weights_of(taught.model))
    assert [task.name for task in again.tasks] == ["dark", "share", "stain", "bright"]
    assert taught.reference.check(again).identical


def test_card_says_origin_and_counts_of_labels_figures_with_floors_and_the_parent(taught: Taught, tmp_path: Path):
    card = save(taught, tmp_path / "longer")
    assert card.provenance["parent"] == "parent"
    assert card.provenance["parent_sha256"] == taught.parent.card.weights_sha256
    assert card.provenance["labels"] == "bright: 12 tiles absent, 12 tiles present (from tile: 24)"
    assert card.tile_labels == {"bright": 24}
    (row,) = [row for group, row in card.metrics.items() if group.startswith("bright, 6 held-out tiles")]
    assert {"auc", "auc_floor", "auc_low", "auc_high"} <= set(row)
    assert card.metrics["dark"] == {"auc": 0.9, "auc_floor": 0.5}
    assert card.calibration == taught.parent.card.calibration
    assert "very slides that it learned from" in card.limits
    readme = (tmp_path / "longer" / "README.md").read_text(encoding="utf-8")
    assert "12 tiles present" in readme
    assert "identical bit by bit" in readme


def test_proof_names_hashes_bags_and_settings_and_no_slide(taught: Taught, tmp_path: Path):
    save(taught, tmp_path / "longer")
    text = (tmp_path / "longer" / "proof.json").read_text(encoding="utf-8")
    proof = json.loads(text)
    assert proof["identical"] is True
    assert proof["answers_sha256"]["before"] == proof["answers_sha256"]["after"] == taught.guard.after
    assert proof["weights_sha256"]["before"] == proof["weights_sha256"]["after"]
    assert [bag["fingerprint"] for bag in proof["reference_bags"]] == ["0001", "0007"]
    assert proof["parent"]["weights_sha256"] == taught.parent.card.weights_sha256
    assert proof["config"]["steps"] == 4
    assert [lesson["sha256"] for lesson in proof["lessons"]] == [lesson_of().digest()]
    assert "slide 1" not in text


@pytest.mark.parametrize("where", ["projection.", "blocks.0.", "branches.1."])
def test_one_old_weight_changed_by_one_step_of_float16_is_refused(where: str, taught: Taught, tmp_path: Path):
    name, weight = next(item for item in taught.model.aggregator.state_dict().items() if item[0].startswith(where))
    first = weight.view(-1)[:1]
    before = first.clone()
    first.copy_(torch.nextafter(first.half(), torch.tensor(9.0).half()))
    try:
        with pytest.raises(ForgettingError, match="was not saved"):
            save(taught, tmp_path / "longer")
    finally:
        first.copy_(before)
    assert not (tmp_path / "longer").exists(), name
    save(taught, tmp_path / "longer")


def test_shared_mode_is_saved_with_its_deltas_and_without_what_no_longer_holds(tmp_path: Path):
    parent = saved_model(tmp_path)
    *_, last = taught_reports(parent, lesson_of(), tmp_path / "run", config=quick(mode="shared"))
    card = save(last.taught, tmp_path / "longer")
    proof = json.loads((tmp_path / "longer" / "proof.json").read_text(encoding="utf-8"))
    assert proof["identical"] is False
    assert proof["deltas"]["dark"]["largest"] > 0
    assert not card.calibration
    assert "dark" not in card.metrics
    assert "changed" in card.summary
    assert same_bits(weights_of(parent), weights_of(load_model(tmp_path / "parent", device="cpu")))


@pytest.mark.parametrize("bags", [1, 2])
def test_how_far_a_task_moved_has_an_interval_over_several_slides_only(tmp_path: Path, bags: int):
    parent = saved_model(tmp_path)
    guard = Guard.of(parent, [bag_of(number) for number in range(1, bags + 1)])
    moved = copy.deepcopy(parent.aggregator)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter += 0.1
    result = guard.check(moved)
    delta = result.deltas["dark"]
    assert delta.mean > 0
    assert (delta.low is None, delta.high is None) == (bags == 1, bags == 1)
    assert delta.words.endswith("(one slide)") == (bags == 1)


def test_full_disk_is_said_in_one_sentence_and_leaves_nothing(taught: Taught, tmp_path: Path, monkeypatch):
    def full(*_: object, **__: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("napari_mtlpath.zoo.model_folder.write_weights", full)
    with pytest.raises(OSError, match=r"could not be saved in .*: No space left on device\. Nothing was left behind"):
        save(taught, tmp_path / "longer")
    assert not [path for path in tmp_path.iterdir() if "longer" in path.name]
    monkeypatch.undo()
    assert save(taught, tmp_path / "longer").name == "longer"


def test_no_model_is_overwritten(taught: Taught, tmp_path: Path):
    with pytest.raises(ValueError, match="no model is ever overwritten"):
        save(taught, taught.parent.card.folder)
    with pytest.raises(ValueError, match="no model is ever overwritten"):
        remove_task(taught.parent, "dark", taught.parent.card.folder)


def test_removed_task_leaves_the_parents_weights_byte_for_byte(taught: Taught, tmp_path: Path):
    save(taught, tmp_path / "longer")
    card = remove_task(load_model(tmp_path / "longer", device="cpu"), "bright", tmp_path / "back")
    assert card.weights_sha256 == taught.parent.card.weights_sha256
    assert [task.name for task in card.tasks] == ["dark", "share", "stain"]
    assert not any(group.startswith("bright") for group in card.metrics)
    assert not card.tile_labels


def test_task_that_others_read_is_not_removed(tmp_path: Path):
    parent = saved_model(tmp_path, blocks=2)  # and one stream: the first tasks meet in the tiles
    with pytest.raises(ForgettingError, match="other tasks' answers depend on it"):
        remove_task(parent, "dark", tmp_path / "less")
    with pytest.raises(ValueError, match="has no task 'drak'"):
        remove_task(parent, "drak", tmp_path / "less")


def test_taught_task_is_taught_further_later_and_the_others_stay(taught: Taught, tmp_path: Path):
    save(taught, tmp_path / "longer")
    parent = load_model(tmp_path / "longer", device="cpu")
    *_, last = taught_reports(parent, lesson_of(1, 3), tmp_path / "run", retrain=(NEW.name,))
    assert last.guard.identical
    card = save(last.taught, tmp_path / "better")
    assert [task.name for task in card.tasks] == ["dark", "share", "stain", "bright"]
    assert card.tile_labels == {"bright": 24 + 48}
    assert [group for group in card.metrics if group.startswith("bright")] == ["bright, 12 held-out tiles"]
    assert not same_bits(weights_of(parent), weights_of(last.model))


def test_second_task_is_taught_on_top_and_leaves_the_first_one_the_same_bits(taught: Taught, tmp_path: Path):
    save(taught, tmp_path / "longer")
    parent = load_model(tmp_path / "longer", device="cpu")
    lesson = replace(lesson_of(3), task=Classification(name="second"))
    *_, last = taught_reports(parent, lesson, tmp_path / "run")
    assert last.guard.identical
    assert set(last.guard.deltas) == {"dark", "share", "stain", NEW.name}
    save(last.taught, tmp_path / "longest")
    card = remove_task(load_model(tmp_path / "longest", device="cpu"), NEW.name, tmp_path / "other")
    assert [task.name for task in card.tasks] == ["dark", "share", "stain", "second"]
