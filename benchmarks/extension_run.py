"""A third task taught to a base pair of tasks from slide labels, judged on the same patients as everything else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_mtlpath.evaluation.prediction_files import write_predictions
from napari_mtlpath.folders import patients_folder
from napari_mtlpath.nn.outputs import BagOutput
from napari_mtlpath.tasks import Task
from napari_mtlpath.training.bags.bags import Bag, BagSource
from napari_mtlpath.training.bags.run_predictions import RunName, predict_parts
from napari_mtlpath.training.config.train_config import BagsConfig, parse_config
from napari_mtlpath.training.sources import bag_source
from napari_mtlpath.training.teaching.config import TeachConfig
from napari_mtlpath.training.teaching.lesson import Lesson, TaughtBag
from napari_mtlpath.training.teaching.taught_model import save
from napari_mtlpath.training.teaching.teach import teach
from napari_mtlpath.zoo.load import load_model

ISOLATED, SHARED = "isolated", "shared"


def teach_third_task(tables: Mapping[str, Any], base: Path, output: Path, *, mode: str, data: Path, runs: Path) -> str:
    """Teach the model in `base` the one task of the config that it lacks; write model, proof and predictions.

    It learns from the labels of the train and the selection patients (a fifth is held out to choose the weights), as
    many steps as the base pair took, and its learning rate. In the shared mode everything learns, and the answers of
    the base pair before are its teacher.
    """
    config = parse_config(dict(tables))
    assert isinstance(config, BagsConfig)
    source = bag_source(config, folders=(data,), device=torch.device("cpu"))
    parent = load_model(base, device="cpu")
    (task,) = [task for task in source.tasks if task.name not in {known.name for known in parent.tasks}]
    settings = TeachConfig(
        mode=mode,
        steps=config.optimisation.epochs * (source.bags_per_epoch // config.optimisation.batch),
        batch=config.optimisation.batch,
        learning_rate=config.optimisation.learning_rate,
        validation_share=0.2,
        refresh_every=source.bags_per_epoch // config.optimisation.batch,
        seed=config.seed,
    )
    lesson = Lesson(task=task, bags=tuple(_taught_bags(source, task)))
    taught = None
    for report in teach(parent, lesson, settings, folder=runs / output.name, device="cpu"):
        taught = report.taught or taught
    assert taught is not None
    output.parent.mkdir(parents=True, exist_ok=True)
    save(taught, output)

    @torch.inference_mode()
    def answer(bag: Bag) -> BagOutput:
        return taught.model.aggregator(bag.features, bag.coordinates)

    parts = predict_parts(source, answer, name=RunName(run=config.name), seed=config.seed, model=config.name)
    write_predictions(patients_folder(output), parts)
    return taught.guard.sentence


def _taught_bags(source: BagSource, task: Task) -> list[TaughtBag]:
    column = [known.name for known in source.tasks].index(task.name)
    learned = [source.training_bag(row) for row in range(source.bags_per_epoch)]
    bags = []
    for bag in [*learned, *source.selection()]:
        count = len(bag.features)
        places = np.zeros((count, 2), np.int64) if bag.coordinates is None else bag.coordinates.numpy()
        bags.append(
            TaughtBag(
                name=bag.name,
                fingerprint=bag.name,
                features=bag.features.numpy().astype(np.float32),
                positions=np.round(places).astype(np.int64),
                tile_labels=np.full(count, np.nan),
                label=float(bag.labels[column]),
                origins={"table": 1},
                centres_um=places,
            )
        )
    return bags
