"""Curves for TensorBoard: written where it is installed, asked for in words where it is not."""

import logging
from pathlib import Path

import pytest
from table_job import TableJob, table_loop

from napari_mtlpath.training.loop import event_log
from napari_mtlpath.training.loop.event_log import EventLog


def test_curves_of_a_training_are_read_back_from_its_folder(tmp_path: Path):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = EventLog(tmp_path)
    reports = list(table_loop(TableJob(), tmp_path, method="uncert+pcgrad").run(output=tmp_path / "model"))
    for report in reports:
        log.write(report)
    log.close()
    kept = reading.EventAccumulator(str(tmp_path)).Reload()
    curves = {"loss", "loss/a", "weight/b", "cosine/a, c", "learning_rate", "score", "validation/error"}
    assert curves <= set(kept.Tags()["scalars"])
    assert [event.step for event in kept.Scalars("loss/a")] == [6, 12, 18]
    assert [event.value for event in kept.Scalars("score")] == pytest.approx([report.score for report in reports[:3]])


def test_new_training_in_the_same_folder_removes_old_curves(tmp_path: Path):
    pytest.importorskip("tensorboard")
    EventLog(tmp_path).close()
    (old,) = tmp_path.iterdir()
    EventLog(tmp_path, starts_anew=True).close()
    assert not old.exists()


def test_without_tensorboard_one_sentence_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(event_log, "is_available", lambda: False)
    caplog.set_level(logging.INFO)
    log = EventLog(tmp_path)
    for report in table_loop(TableJob(), tmp_path, epochs=1).run(output=tmp_path / "model"):
        log.write(report)
    log.close()
    assert caplog.text.count("pip install 'napari-mtlpath[tensorboard]'") == 1
    assert not list(tmp_path.glob("events*"))
