"""The forgetting guard: the old tasks' answers on reference bags, before and after, bit by bit."""

import copy
import hashlib
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.nn.fingerprint import state_hash
from napari_mtlpath.nn.outputs import TaskOutput
from napari_mtlpath.tasks import Classification, Task
from napari_mtlpath.training.evaluation import estimate
from napari_mtlpath.training.teaching.aside import computed_aside
from napari_mtlpath.training.teaching.lesson import TaughtBag
from napari_mtlpath.zoo.model import SlideModel

COMPARED = ("logits", "embedding", "routing", "selected", "attention", "tile_logits")
"""What a task says about a bag; all of it is hashed."""


@dataclass(frozen=True, kw_only=True)
class Delta:
    """How far a task's answers moved over the reference bags: absolute differences of its score or value.

    Attributes
    ----------
    mean, low, high
        Mean over the bags with the 95 % interval of its bootstrap over bags; one bag says nothing of others: None.
    largest
        On any bag.
    """

    mean: float
    low: float | None
    high: float | None
    largest: float

    @property
    def words(self) -> str:
        """How far the answers moved on average, with its interval.

        Examples
        --------
        >>> Delta(mean=0.0123, low=0.005, high=0.02, largest=0.04).words
        '0.012 (0.005 to 0.02)'
        """
        interval = "one slide" if self.low is None else f"{self.low:.2g} to {self.high:.2g}"
        return f"{self.mean:.2g} ({interval})"


@dataclass(frozen=True, kw_only=True)
class GuardResult:
    """Whether the guarded tasks answer as before.

    Attributes
    ----------
    identical
        Whether every answer, every map and every weight is the same bit by bit.
    before, after
        SHA-256 (hex) over all answers and maps on all reference bags.
    weights_before, weights_after
        SHA-256 (hex) over everything shared and the guarded tasks' own weights.
    bags
        Number of reference bags.
    deltas
        By guarded task.
    """

    identical: bool
    before: str
    after: str
    weights_before: str
    weights_after: str
    bags: int
    deltas: Mapping[str, Delta] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """What became of the old answers, for a person."""
        count = f"{self.bags} slide{'s' if self.bags != 1 else ''}"
        if self.identical and not self.deltas:
            return "There is no other task whose answers could have changed."
        if self.identical:
            return f"All old answers on {count} are identical bit by bit (SHA-256 {self.after[:12]}…)."
        moved = [name for name, delta in self.deltas.items() if delta.largest > 0]
        which = ", ".join(moved) if moved else "none beyond rounding, but some map or weight is another"
        return f"Old answers on {count} changed: {which} (SHA-256 {self.before[:12]}… became {self.after[:12]}…)."


@dataclass(frozen=True, kw_only=True, eq=False)
class _Answers:
    digest: str
    weights: str
    scores: Mapping[str, NDArray[np.float64]]


class Guard:
    """What the guarded tasks said before, and on which bags.

    Everything is computed on the CPU, one bag after the other in the order given, where sums have a fixed order.

    Parameters
    ----------
    tasks
        The tasks that must not change.
    bags
        Reference bags, at least one.
    answers
        What they said.
    """

    def __init__(self, tasks: tuple[Task, ...], bags: tuple[TaughtBag, ...], answers: _Answers) -> None:
        self.tasks = tasks
        self.bags = bags
        self._before = answers

    @classmethod
    def of(
        cls, model: SlideModel | Aggregator, bags: Sequence[TaughtBag], *, except_for: Collection[str] = ()
    ) -> "Guard":
        """Record the answers of all tasks of `model` but those called `except_for` on `bags`."""
        recording = cls.recording(model, bags, except_for=except_for)
        return _last(recording)

    @classmethod
    def recording(
        cls, model: SlideModel | Aggregator, bags: Sequence[TaughtBag], *, except_for: Collection[str] = ()
    ) -> Generator["Guard | None", None, None]:
        """As :meth:`of`, yielding None while it takes and the guard in the end; closed, it ends at once."""
        if not bags:
            raise ValueError("The guard needs at least one reference bag; found none. Let the model see a slide first.")
        aggregator = _aggregator(model)
        tasks = tuple(task for task in aggregator.tasks if task.name not in except_for)
        answers = yield from _answers(aggregator, tasks, bags)
        yield cls(tasks, tuple(bags), answers)

    def check(self, model: SlideModel | Aggregator, seen: Sequence[TaughtBag] | None = None) -> GuardResult:
        """Compare what `model` says now with what was recorded; `seen`: for the same tiles by another encoder."""
        return _last(self.checking(model, seen))

    def checking(
        self, model: SlideModel | Aggregator, seen: Sequence[TaughtBag] | None = None
    ) -> Generator[GuardResult | None, None, None]:
        """As :meth:`check`, yielding None while it takes and the result in the end; closed, it ends at once."""
        after = yield from _answers(_aggregator(model), self.tasks, self.bags if seen is None else seen)
        before = self._before
        yield GuardResult(
            identical=before.digest == after.digest and before.weights == after.weights,
            before=before.digest,
            after=after.digest,
            weights_before=before.weights,
            weights_after=after.weights,
            bags=len(self.bags),
            deltas={task.name: _delta(before.scores[task.name], after.scores[task.name]) for task in self.tasks},
        )


def _aggregator(model: SlideModel | Aggregator) -> Aggregator:
    return model.aggregator if isinstance(model, SlideModel) else model


def _last(values: Iterable[Any]) -> Any:  # noqa: ANN401  the last of whatever is yielded
    *_, last = values
    return last


def _answers(
    aggregator: Aggregator, tasks: tuple[Task, ...], bags: Sequence[TaughtBag]
) -> Generator[None, None, _Answers]:
    """Yield None while it takes; return all answers."""
    on_cpu = copy.deepcopy(aggregator).to("cpu").eval().requires_grad_(False)
    return (yield from computed_aside(lambda: _all_answers(on_cpu, tasks, bags)))


def _all_answers(aggregator: Aggregator, tasks: tuple[Task, ...], bags: Sequence[TaughtBag]) -> _Answers:
    digest = hashlib.sha256()
    scores: dict[str, list[NDArray[np.float64]]] = {task.name: [] for task in tasks}
    for bag in bags:
        features = torch.from_numpy(np.ascontiguousarray(bag.features, dtype=np.float32))
        centres = None if bag.centres_um is None else torch.from_numpy(bag.centres_um.astype(np.float32))
        with torch.inference_mode():
            output = aggregator(features, centres, explain=True)
        for task in tasks:
            answer = output.tasks[task.name]
            _add(digest, task, answer)
            scores[task.name].append(_score(task, answer.logits))
    return _Answers(
        digest=digest.hexdigest(),
        weights=state_hash(aggregator, [task.name for task in tasks]),
        scores={name: np.stack(values) for name, values in scores.items()},
    )


def _add(digest: Any, task: Task, answer: TaskOutput) -> None:  # noqa: ANN401  hashlib names no public type
    for name in COMPARED:
        value: Tensor | None = getattr(answer, name)
        if value is None:
            digest.update(f"{task.name} {name} none\n".encode())
            continue
        plain = value.detach().cpu().contiguous()
        digest.update(f"{task.name} {name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())


def _score(task: Task, logits: Tensor) -> NDArray[np.float64]:
    exact = logits.double()
    if isinstance(task, Classification):
        exact = torch.sigmoid(exact) if task.is_binary else torch.softmax(exact, dim=0)
    return exact.numpy()


def _delta(before: NDArray[np.float64], after: NDArray[np.float64]) -> Delta:
    moved = np.abs(after - before).max(axis=1)
    if len(moved) == 1:
        return Delta(mean=float(moved[0]), low=None, high=None, largest=float(moved[0]))
    measured = estimate(lambda truth, answers: float(np.mean(answers)), np.arange(len(moved), dtype=np.float64), moved)
    return Delta(mean=measured.value, low=measured.low, high=measured.high, largest=float(moved.max()))
