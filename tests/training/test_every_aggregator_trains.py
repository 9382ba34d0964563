"""Every aggregator learns from a cohort's tables: all tasks, or one alone, to a model's folder with its predictions."""

from pathlib import Path

import numpy as np
import pytest
from made_cohort import TASKS, cohort_config, write_cohort

from napari_mtlpath.evaluation.prediction_files import read_predictions
from napari_mtlpath.evaluation.predictions import Predictions
from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.training.loop.report import Phase
from napari_mtlpath.training.train import train
from napari_mtlpath.zoo.aggregators import AGGREGATORS
from napari_mtlpath.zoo.card import read_model_card

SMALL = {
    "width": 24,
    "heads": 4,
    "blocks": 1,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "feedforward": 1,
    "landmarks": 8,
    "attention_width": 8,
    "query_width": 8,
    "dropout": 0.0,
}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("cohort"), patients=20)


def options_of(kind: type[Aggregator]) -> dict[str, object]:
    task = cohort_config().data.tasks[0].task()
    known = kind.build(tasks=(task,), features=1, options={}).options
    return {key: value for key, value in SMALL.items() if key in known}


def trained(cohort: Path, folder: Path, name: str, tasks: list[dict[str, object]], **tables: object) -> Predictions:
    aggregator = {"name": name, "options": options_of(AGGREGATORS.load(name))}
    optimisation = {"epochs": 1, "batch": 4, "learning_rate": 0.003, "weight_decay": 0.0}
    config = cohort_config(
        "small", tables={"aggregator": aggregator, "optimisation": optimisation, **tables}, tasks=tasks
    )
    reports = list(train(config, output=folder / "small", runs=folder / "runs", data=(cohort,)))
    assert all(np.isfinite(report.loss) for report in reports if report.phase is Phase.EPOCH)
    assert [task.name for task in read_model_card(folder / "small").tasks] == [task["name"] for task in tasks]
    return read_predictions(folder / "small")["test"]


@pytest.mark.parametrize("name", ["clam_sb", "dsmil", "joint_transformer", "transmil"])
def test_all_tasks_are_learned_and_answered(cohort: Path, tmp_path: Path, name: str) -> None:
    predictions = trained(cohort, tmp_path, name, TASKS)
    assert [predictions.logits[task["name"]].shape[1] for task in TASKS] == [1, 3, 1]
    assert all(np.isfinite(rows).all() for rows in predictions.logits.values())
    assert set(predictions.floors) == {"majority", "linear probe"}


@pytest.mark.parametrize("name", AGGREGATORS.names())
def test_a_config_with_one_task_just_works(cohort: Path, tmp_path: Path, name: str) -> None:
    predictions = trained(cohort, tmp_path, name, TASKS[2:], losses={"regression": "min_max"})
    values = predictions.logits["score"]
    assert len(values) == len(predictions.samples)
    assert np.isfinite(values).all()
    # Learned from 0 to 1, answered in the unit of the table, 10 to 50.
    assert 3.0 < values.mean() < 60.0
