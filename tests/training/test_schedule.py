"""T10: the cosine schedule's end points, and that it never starts again within a training."""

import math
from pathlib import Path

import pytest
from table_job import TableJob, table_loop

from napari_mtlpath.training.loop.schedule import cosine_factor
from napari_mtlpath.training.step.optimisation import Pace


def test_cosine_starts_at_one_and_ends_at_zero():
    assert cosine_factor(0.0) == pytest.approx(1.0)
    assert cosine_factor(0.5) == pytest.approx(0.5)
    assert cosine_factor(1.0) == pytest.approx(0.0, abs=1e-12)


def test_cosine_only_falls_and_warmup_only_rises():
    falls = [cosine_factor(step / 50) for step in range(51)]
    assert falls == sorted(falls, reverse=True)
    rises = [cosine_factor(step / 50, warmup=0.2) for step in range(11)]
    assert rises == sorted(rises)
    assert rises[0] == 0.0
    assert rises[-1] == pytest.approx(1.0)


def test_progress_outside_the_training_is_refused():
    with pytest.raises(ValueError, match="0 to 1"):
        cosine_factor(1.01)


@pytest.mark.parametrize("pace", list(Pace))
def test_rate_never_rises_again_however_many_steps_an_epoch_has(pace: Pace, tmp_path: Path):
    rates = rates_of_training(TableJob(rows=90, batch=2), tmp_path, pace=pace)
    assert len(rates) == 90
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == pytest.approx(1e-2)
    assert len(set(rates)) == {Pace.STEP: 90, Pace.EPOCH: 2, Pace.CONSTANT: 1}[pace]


def test_rate_per_epoch_follows_the_cosine_of_the_epochs(tmp_path: Path):
    rates = rates_of_training(TableJob(), tmp_path, pace=Pace.EPOCH, epochs=4)
    assert rates[::6] == pytest.approx([1e-2 * 0.5 * (1 + math.cos(math.pi * epoch / 4)) for epoch in range(4)])


def rates_of_training(job: TableJob, folder: Path, *, pace: Pace, epochs: int = 2) -> list[float]:
    """Return the learning rate of every step."""
    loop = table_loop(job, folder, schedule=pace, epochs=epochs)
    rates: list[float] = []
    set_rate = loop.optimisation.set_learning_rate
    loop.optimisation.set_learning_rate = lambda rate: (rates.append(rate), set_rate(rate))[1]
    list(loop.run(output=folder / "model"))
    return rates
