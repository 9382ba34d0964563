"""Trainings of several models with one command: a teacher before its student, one model per fold."""

import hashlib
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from napari_mtlpath.tables.split_file import SPLIT_FILE
from napari_mtlpath.training.bags.bags import BagSource
from napari_mtlpath.training.bags.run_predictions import RunName
from napari_mtlpath.training.cohorts.cohort_bags import CohortBagSource
from napari_mtlpath.training.config.data import CohortBags
from napari_mtlpath.training.config.train_config import BagsConfig, config_key
from napari_mtlpath.training.distillation import Teacher, load_teacher
from napari_mtlpath.training.end_to_end.job import bags_job
from napari_mtlpath.training.loop.report import TrainingReport
from napari_mtlpath.training.run import Run
from napari_mtlpath.training.sources import bag_sources


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fold:
    """One model that a config asks for, and the data of its fold."""

    run: Run
    source: BagSource
    name: RunName


def train_bags(
    config: BagsConfig,
    *,
    output: Path,
    folder: Path,
    data: tuple[Path, ...],
    device: torch.device,
    resume: bool,
) -> Iterator[TrainingReport]:
    """Train all that a config of bags asks for; see :func:`napari_mtlpath.training.train.train`.

    With folds, `output` gets a model folder per fold. A teacher that is trained first lies below `folder`. What an
    earlier call of the same config finished is not trained again, unless `resume` is False or all of it was finished.
    """
    sources = bag_sources(config, folders=data, device=device)
    folds = [
        _fold(config, source, number=number, count=len(sources), output=output, folder=folder)
        for number, source in enumerate(sources)
    ]
    finished: list[Run] = []
    for number, fold in enumerate(folds, start=1):
        finished.append(fold.run)
        is_last = number == len(folds)
        if resume and not is_last and fold.run.is_finished():
            continue
        with closing(_train_fold(fold, finished, device=device, resume=resume)) as reports:
            for report in reports:
                if report.output is None:
                    yield report
                    continue
                # Noted before anybody can stop: who does so at this report finds the model finished.
                if is_last:
                    for run in finished:
                        run.forget_finished()
                else:
                    fold.run.note_finished()
                yield replace(report, output=output if is_last else None)


def _train_fold(
    fold: _Fold, finished: list[Run], *, device: torch.device, resume: bool
) -> Generator[TrainingReport, None, None]:
    config = fold.run.config
    assert isinstance(config, BagsConfig)
    teacher: Teacher | None = None
    run = fold.run
    if config.distillation is not None:
        named: str | Path = config.distillation.teacher
        if not named:
            first = _teacher_run(fold)
            finished.append(first)
            named = first.output
            if not (resume and first.is_finished()):
                assert isinstance(first.config, BagsConfig)
                job = bags_job(first.config, fold.source, device=device, name=fold.name)
                with closing(first.reports(job, resume=resume)) as reports:
                    for report in reports:
                        if report.output is not None:
                            first.note_finished()
                        yield replace(report, output=None)
        teacher = load_teacher(named, encoder=fold.source.encoder, tasks=fold.source.tasks, device=device)
        run = replace(run, key=_key(run.key, teacher.card.weights_sha256), stage=_stage(run.stage, "student"))
    job = bags_job(config, fold.source, device=device, teacher=teacher, name=fold.name)
    yield from run.reports(job, resume=resume)


def _teacher_run(fold: _Fold) -> Run:
    """Return the training of the teacher of a fold: as the student, on other slides, the encoder frozen, no teacher."""
    config = fold.run.config
    assert isinstance(config, BagsConfig)
    assert config.distillation is not None
    table = config.distillation
    epochs = table.teacher_epochs or config.optimisation.epochs
    name = f"{config.name}-teacher"
    alone = config.model_copy(
        update={
            "name": name,
            "distillation": None,
            "encoder_training": None,
            "sampling": config.sampling.model_copy(update={"bags": table.teacher_sampling}),
            "optimisation": config.optimisation.model_copy(update={"epochs": epochs}),
        }
    )
    folder = fold.run.folder / "teacher"
    return Run(
        config=alone,
        output=folder / name,
        folder=folder,
        key=_key(config_key(alone), fold.source.digest),
        stage=_stage(fold.run.stage, "teacher"),
    )


def _fold(config: BagsConfig, source: BagSource, *, number: int, count: int, output: Path, folder: Path) -> _Fold:
    key = _key(config_key(config), source.digest)
    if count == 1:
        run = Run(config=config, output=output, folder=folder, key=key)
        return _Fold(run=run, source=source, name=RunName(run=config.name, fold=_fold_of(source)))
    name = f"{config.name}-fold-{number + 1}"
    assert isinstance(config.data, CohortBags)
    # A fold's config stands for itself: the split that it names lies beside its model.
    table = config.data.model_copy(update={"folds": 0, "split": SPLIT_FILE})
    alone = config.model_copy(update={"name": name, "data": table})
    run = Run(
        config=alone,
        output=output / name,
        folder=folder / f"fold-{number + 1}",
        key=key,
        stage=f"fold {number + 1} of {count}",
    )
    return _Fold(run=run, source=source, name=RunName(run=config.name, fold=number))


def _fold_of(source: BagSource) -> int:
    return (source.split.fold or 0) if isinstance(source, CohortBagSource) else 0


def _stage(*words: str) -> str:
    return ", ".join(word for word in words if word)


def _key(*parts: str) -> str:
    """Return the first part where the others say nothing, so that checkpoints of made-up slides stay valid."""
    if not any(parts[1:]):
        return parts[0]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
