"""TensorBoard's event files of a training, where TensorBoard is installed."""

import logging
import math
from importlib.util import find_spec
from pathlib import Path

from napari_mtlpath.training.loop.report import Phase, TrainingReport

logger = logging.getLogger(__name__)

HINT = "For curves in TensorBoard: pip install 'napari-mtlpath[tensorboard]'"


def is_available() -> bool:
    """Return whether TensorBoard is installed."""
    return find_spec("tensorboard") is not None


class EventLog:
    """Writes reports as curves: loss and weight per task, conflicts per pair, learning rate, score and metrics.

    Without TensorBoard it does nothing, and says once how to get it.

    Parameters
    ----------
    folder
        Where the event files go; ``tensorboard --logdir`` reads it.
    starts_anew
        Whether event files of an earlier training there are removed first.
    """

    def __init__(self, folder: Path, *, starts_anew: bool = False) -> None:
        self._writer = None
        if not is_available():
            logger.info("%s.", HINT)
            return
        from torch.utils.tensorboard import SummaryWriter

        if starts_anew:
            for path in folder.glob("events.out.tfevents.*"):
                path.unlink()
        self._writer = SummaryWriter(log_dir=str(folder))

    def write(self, report: TrainingReport) -> None:
        """Add a report's numbers at its step; the last one of a training has nothing new."""
        if self._writer is None or report.phase is Phase.DONE:
            return
        for name, value in curves(report).items():
            self._writer.add_scalar(name, value, global_step=report.step)

    def close(self) -> None:
        """Write out what is still held back."""
        if self._writer is not None:
            self._writer.close()


def curves(report: TrainingReport) -> dict[str, float]:
    """Return the numbers of a report by the names of their curves; what is not known now is left out.

    Examples
    --------
    >>> plain = {"epoch": 1, "epochs": 2, "step": 5, "steps": 10, "best_epoch": 0, "best_score": 0.0, "seconds": 1.0}
    >>> numbers = {"loss": 0.5, "losses": {"blasts": 0.5}, "score": math.nan, "learning_rate": 0.01}
    >>> curves(TrainingReport(phase=Phase.STEP, **plain, **numbers))
    {'loss': 0.5, 'learning_rate': 0.01, 'loss/blasts': 0.5}
    """
    numbers = {"loss": report.loss, "learning_rate": report.learning_rate, "score": report.score}
    numbers |= {f"loss/{task}": value for task, value in report.losses.items()}
    numbers |= {f"weight/{task}": value for task, value in report.weights.items()}
    numbers |= {f"cosine/{first}, {second}": value for (first, second), value in report.conflicts.items()}
    numbers |= {f"validation/{name}": value for name, value in report.metrics.items()}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}
