"""Predictions survive the disk, and what cannot be right is refused in one sentence."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_mtlpath.evaluation.floors import TrainingFacts, floors
from napari_mtlpath.evaluation.prediction_files import read_predictions, write_predictions
from napari_mtlpath.evaluation.predictions import Predictions
from napari_mtlpath.folders import patients_folder
from napari_mtlpath.tasks import Classification, Regression

TASKS = (
    Classification(name="tumour"),
    Classification(name="grade", classes=("low", "middle, or so", "high")),
    Regression(name="share"),
)


def predictions(*, seed: int = 0, count: int = 12, part: str = "test") -> Predictions:
    random = np.random.default_rng(seed)
    labels = np.stack([random.integers(0, 2, count), random.integers(0, 3, count), random.random(count)], axis=1)
    labels[3, 0] = labels[5, 2] = np.nan
    learned = np.array([[0.0, 0, 0.2], [1, 1, 0.4], [1, 2, 0.6], [1, 2, np.nan]])
    return Predictions(
        samples=tuple(f"{part} slide {number}" for number in range(count)),
        patients=tuple(f"{part} patient {number // 2}" for number in range(count)),
        tasks=TASKS,
        labels=labels.astype(np.float64),
        logits={task.name: random.normal(size=(count, task.outputs)) for task in TASKS},
        embeddings={"tumour": random.normal(size=(count, 4)).astype(np.float32).astype(np.float64)},
        floors=floors(
            TASKS,
            TrainingFacts(labels=learned, features=random.normal(size=(4, 5))),
            samples=count,
            features=random.normal(size=(count, 5)),
        ),
        part=part,
        run="mecds",
        seed=seed,
        model="a model",
        facts={"split": "by patient"},
    )


def test_predictions_are_found_beside_a_models_folder_and_in_it(tmp_path: Path) -> None:
    model = tmp_path / "mecds"
    model.mkdir()
    with pytest.raises(FileNotFoundError, match=r"nor in 'mecds\.patients' beside it"):
        read_predictions(model)
    write_predictions(patients_folder(model), [predictions()])
    assert list(read_predictions(model)) == list(read_predictions(patients_folder(model))) == ["test"]
    write_predictions(model, [predictions(part="selection")])  # as earlier versions did
    assert list(read_predictions(model)) == ["selection"]


def test_predictions_come_back_from_disk_exactly(tmp_path: Path) -> None:
    written = [predictions(), predictions(part="selection")]
    write_predictions(tmp_path, written)

    found = read_predictions(tmp_path)

    assert list(found) == ["test", "selection"]
    for before in written:
        after = found[before.part]
        assert (after.samples, after.patients, after.tasks) == (before.samples, before.patients, before.tasks)
        assert (after.run, after.seed, after.model, after.facts) == (
            before.run,
            before.seed,
            before.model,
            before.facts,
        )
        np.testing.assert_array_equal(after.labels, before.labels)
        for task in TASKS:
            np.testing.assert_array_equal(after.logits[task.name], before.logits[task.name])
        np.testing.assert_array_equal(after.embeddings["tumour"], before.embeddings["tumour"])
        assert set(after.floors) == {"majority", "linear probe"}
        for floor, answers in before.floors.items():
            for task_name, values in answers.items():
                np.testing.assert_array_equal(after.floors[floor][task_name], values)


def test_a_patient_in_two_parts_is_refused(tmp_path: Path) -> None:
    test, selection = predictions(), predictions(part="selection")
    leaking = replace(selection, patients=(test.patients[0], *selection.patients[1:]))

    with pytest.raises(ValueError, match="Split by patient"):
        write_predictions(tmp_path, [test, leaking])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"samples": ("a",) * 12}, "different names"),
        ({"patients": ("p",)}, "needs its patient"),
        ({"labels": np.zeros((12, 2))}, "labels"),
        ({"labels": np.full((12, 3), 7.0)}, "class indices 0 to 1"),
        ({"logits": {"tumour": np.zeros((12, 1))}}, "logits of the tasks"),
    ],
)
def test_predictions_that_cannot_be_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(predictions(), **change)  # type: ignore[arg-type]  # wrong on purpose


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    table = write_predictions(tmp_path, [predictions()])
    table.write_text(table.read_text(encoding="utf-8").replace("share: logit", "share: number"), encoding="utf-8")

    with pytest.raises(ValueError, match="share: logit"):
        read_predictions(tmp_path)


def test_the_majority_answers_with_the_training_shares() -> None:
    answers = predictions().floors["majority"]

    np.testing.assert_allclose(answers["tumour"], np.log(3))
    np.testing.assert_allclose(np.exp(answers["grade"][0]), [0.25, 0.25, 0.5])
    np.testing.assert_allclose(answers["share"], 0.4)
