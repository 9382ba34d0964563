"""Predictions as a training run leaves them: three tasks of every kind, partial labels, two slides per patient."""

import numpy as np

from napari_mtlpath.evaluation.floors import TrainingFacts, floors
from napari_mtlpath.evaluation.predictions import Predictions
from napari_mtlpath.tasks import Classification, Regression

TASKS = (
    Classification(name="msi", title="Microsatellite instability", question="Is the tumour MSI-high?"),
    Classification(name="grade", classes=("low", "middle", "high")),
    Regression(name="share", unit="share"),
)
SEEDS = {"test": 7, "selection": 8}


def made(
    run: str = "mecds",
    *,
    seed: int = 0,
    part: str = "test",
    signal: float = 1.0,
    count: int = 80,
    tasks: tuple[str, ...] = ("msi", "grade", "share"),
) -> Predictions:
    """The same slides for every run and seed; how well they are answered depends on `signal` and a little on `seed`."""
    slides, noise = np.random.default_rng(SEEDS[part]), np.random.default_rng([seed, len(run), SEEDS[part]])
    labels = np.stack([slides.random(count) < 0.4, slides.integers(0, 3, count), slides.random(count)], axis=1)
    hard = slides.normal(size=(count, 5))
    logits = {
        "msi": 2.0 * signal * labels[:, :1] - 1.0 + hard[:, :1] + 0.3 * noise.normal(size=(count, 1)),
        "grade": 1.5 * signal * np.eye(3)[labels[:, 1].astype(int)]
        + hard[:, 1:4]
        + 0.3 * noise.normal(size=(count, 3)),
        "share": labels[:, 2:] + 0.1 / signal * hard[:, 4:] + 0.02 * noise.normal(size=(count, 1)),
    }
    labels = labels.astype(np.float64)
    labels[slides.random(count) < 0.1, 0] = np.nan
    chosen = [number for number, task in enumerate(TASKS) if task.name in tasks]
    asked = tuple(TASKS[number] for number in chosen)
    learned = np.stack([slides.random(60) < 0.4, slides.integers(0, 3, 60), slides.random(60)], axis=1).astype(float)
    training = TrainingFacts(labels=learned[:, chosen], features=slides.normal(size=(60, 3)))
    return Predictions(
        samples=tuple(f"{part}-CANARY-slide-{number}" for number in range(count)),
        patients=tuple(f"{part}-CANARY-patient-{number // 2}" for number in range(count)),
        tasks=asked,
        labels=labels[:, chosen],
        logits={name: logits[name] for name in tasks},
        embeddings={name: np.c_[logits[name], noise.normal(size=(count, 2))] for name in tasks if name != "share"},
        floors=floors(asked, training, samples=count, features=slides.normal(size=(count, 3))),
        part=part,
        run=run,
        seed=seed,
        facts={"bag": "one slide"},
    )
