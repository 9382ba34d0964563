"""One training of a job, and the note that it is finished, so that a command of several trainings can go on."""

import json
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from napari_mtlpath.files import replacing
from napari_mtlpath.training.config.train_config import TrainConfig
from napari_mtlpath.training.loop.distributed import current
from napari_mtlpath.training.loop.job import Job
from napari_mtlpath.training.loop.report import TrainingReport
from napari_mtlpath.training.train_job import train_job

FINISHED_FILE = "finished.json"


@dataclass(frozen=True, kw_only=True)
class Run:
    """Where one training keeps what it makes.

    Attributes
    ----------
    config
        What is trained; its name is that of `output`.
    output
        The model folder to write.
    folder
        Where its checkpoint lies.
    key
        Digest of all that decides the result; a checkpoint and a finished model belong to one.
    stage
        What its reports say it is, such as ``"teacher"``.
    """

    config: TrainConfig
    output: Path
    folder: Path
    key: str
    stage: str = ""

    def reports(self, job: Job, *, resume: bool) -> Generator[TrainingReport, None, None]:
        """Train `job` and yield its reports, marked with the stage."""
        with closing(
            train_job(job, self.config, output=self.output, folder=self.folder, key=self.key, resume=resume)
        ) as reports:
            for report in reports:
                yield replace(report, stage=self.stage)

    def is_finished(self) -> bool:
        """Whether an earlier command of the same key finished it and its model is still there."""
        path = self.folder / FINISHED_FILE
        return path.is_file() and self.output.is_dir() and json.loads(path.read_text("utf-8")) == self._note

    def note_finished(self) -> None:
        """Remember that it is finished, once the leading process has written its model."""
        current().any(False)
        if not current().leads:
            return
        with replacing(self.folder / FINISHED_FILE) as temporary:
            temporary.write_text(json.dumps(self._note), encoding="utf-8")

    def forget_finished(self) -> None:
        """Let the next command train it anew."""
        (self.folder / FINISHED_FILE).unlink(missing_ok=True)

    @property
    def _note(self) -> dict[str, str]:
        return {"key": self.key, "output": str(self.output.resolve())}
