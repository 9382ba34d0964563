"""A teaching in words: the one place where the Fine-tune section's sentences are made."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_mtlpath.session.teaching_view import TeachingPhase, TeachingView
from napari_mtlpath.session.wording import DEVICES, task_title

if TYPE_CHECKING:
    from napari_mtlpath.tasks import Task

MINUTE = 60.0
HOUR = 3600.0
MOVES = "In the mode 'shared' all tasks change: before you save, a table shows how far, and Discard takes it back."
ENCODER_MOVES = (
    "The encoder's last {} learn{}, too: every task's answers change on every slide, and tiles are read from the "
    "slides again, a second or more a step. Before you save, a table shows how far, and Discard takes it back."
)
NOT_PAINTED = "The new task is painted once the model is saved: then all tiles go through its own encoder."
SHORT_HASH = 12
"""Letters of a hash that are shown; the whole is in the tooltip."""


def status_words(view: TeachingView) -> str:
    """Return what a teaching is doing, how far it is, how long it takes and where it computes."""
    report = view.report
    match view.phase:
        case TeachingPhase.IDLE:
            return ""
        case TeachingPhase.PREPARING:
            return "Reading what is learned from …"
        case TeachingPhase.STOPPING:
            return "Stopping after the step at hand …"
        case TeachingPhase.STOPPED:
            at = f" at step {report.step:,}" if report is not None else ""
            return f"Stopped{at}. Resume goes on from there; Start begins anew."
        case TeachingPhase.FAILED:
            return view.problem
        case TeachingPhase.SAVING:
            return "Saving …"
        case TeachingPhase.SAVED:
            return f"Saved as '{view.saved_as}' and in use now. You find it in the list of models."
        case TeachingPhase.DONE if report is not None:
            early = f" {report.stopped}" if report.stopped else ""
            saved = f"Saved as '{view.saved_as}' among your models." if view.saved_as else "Not saved yet."
            painted = f" {NOT_PAINTED}" if view.encoder_blocks else ""
            return f"Finished after {report.step:,} steps in {duration_words(report.seconds)}.{early} {saved}{painted}"
        case _:
            return _progress_words(view)


def _progress_words(view: TeachingView) -> str:
    report = view.report
    if report is None:
        return "Starting …"
    words = [f"Step {report.step:,} of {report.steps:,}"]
    if view.phase is TeachingPhase.PAUSED:
        words.append("paused")
    elif str(report.phase) == "guarding":
        words.append("comparing the old tasks' answers")
    elif view.encoder_blocks and not view.points:
        words.append("encoding the labelled tiles anew")
    elif math.isfinite(report.seconds_left) and report.step > 0:
        words.append(f"{duration_words(report.seconds_left)} left")
    words.append(DEVICES.get(report.device.partition(":")[0], report.device))
    return " · ".join(word for word in words if word)


def duration_words(seconds: float) -> str:
    """Return a duration as a person says it.

    Examples
    --------
    >>> duration_words(8.4), duration_words(130), duration_words(7300)
    ('8 s', '2 min 10 s', '2 h 1 min')
    """
    whole = round(max(seconds, 0.0))
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def score_words(view: TeachingView) -> str:
    """Return the newest score of each task beside what the trivial answer reaches."""
    point = next((point for point in reversed(view.points) if point.scores), None)
    if point is None:
        return ""
    lines = []
    for task, score in point.scores.items():
        floor = f" (trivial answer {view.floors[task]:.2f})" if task in view.floors else ""
        name = view.score_names.get(task) or "score"
        lines.append(f"{name[:1].upper()}{name[1:]} of {title_of(view, task)} on held-out labels: {score:.2f}{floor}")
    return "\n".join(lines)


def title_of(view: TeachingView, task: str) -> str:
    """Return what a person calls a task of a teaching."""
    return next((task_title(known) for known in view.tasks if known.name == task), view.titles.get(task, task))


def origin_words(origins: Mapping[str, int]) -> str:
    """Return how many labels came from where.

    Examples
    --------
    >>> origin_words({"tile": 40, "region": 12})
    'Learns from 40 clicked tiles, 12 tiles in regions.'
    """
    parts = [f"{count:,} {_ORIGINS.get(origin, origin)}" for origin, count in origins.items() if count]
    return f"Learns from {', '.join(parts)}." if parts else ""


@dataclass(frozen=True, kw_only=True)
class GuardWords:
    """What the forgetting guard found: whether it is good news, the sentence, and the whole hashes."""

    good: bool
    text: str
    details: str


def guard_words(view: TeachingView) -> GuardWords | None:
    """Return what became of the old tasks' answers, or None before anybody has looked."""
    guard = view.guard
    if guard is None:
        return None
    slides = f"{guard.bags} slide{'' if guard.bags == 1 else 's'}"
    details = f"SHA-256 of all old answers on {slides}: before {guard.before}, after {guard.after}."
    if guard.identical:
        text = f"Old tasks unchanged, bit by bit, on {slides}. SHA-256 {guard.after[:SHORT_HASH]}…"
        return GuardWords(good=True, text=text, details=details)
    if view.encoder_blocks:
        text = (
            f"The encoder learned, too: every task answers anew; on {slides} the old answers moved as the table says. "
            "Look at it before you save."
        )
    elif view.shared:
        text = f"Old tasks' answers moved on {slides}, as the shared mode allows. Look at the table before you save."
    else:
        text = f"Old tasks' answers changed on {slides}, so this is not saved. Discard it; nothing is lost."
    return GuardWords(good=False, text=text, details=details)


@dataclass(frozen=True, kw_only=True)
class DeltaRow:
    """How far one old task's answers moved, in words: on average with the 95 % interval, and at most."""

    task: str
    mean: str
    largest: str


def delta_rows(view: TeachingView) -> tuple[DeltaRow, ...]:
    """Return how far each old task moved, where any did."""
    if view.guard is None or view.guard.identical:
        return ()
    return tuple(
        DeltaRow(
            task=title_of(view, name),
            mean=delta.words,
            largest=f"{delta.largest:.2g}",
        )
        for name, delta in view.guard.deltas.items()
    )


def start_hint(
    *,
    model: bool,
    tasks: "Sequence[Task]",
    labels: int,
    busy: bool,
    shared: bool = False,
    encoder_blocks: int = 0,
) -> str:
    """Return what is missing before anything can be taught, or what Start will do.

    Parameters
    ----------
    model
        Whether a model is in use.
    tasks
        What would be taught, the task that is labelled now first.
    labels
        Of all of them.
    busy
        Whether something is being taught.
    shared
        Whether what all tasks use would learn, too.
    encoder_blocks
        How many of the encoder's last blocks would.
    """
    if busy:
        return ""
    if not model:
        return "Load a model first: it is what learns the new task."
    if not tasks:
        return "Make a new task in the Tasks section and label some tiles; then Start teaches it."
    first, *others = (f"'{task_title(task)}'" for task in tasks)
    if labels == 0:
        return f"Label some tiles for {first} in the Tasks section; then Start teaches it."
    together = f" together with {', '.join(others)}," if others else ""
    ready = f"Ready to teach {first}{together} from {labels:,} label{'' if labels == 1 else 's'}."
    if encoder_blocks:
        words = ("block", "s") if encoder_blocks == 1 else (f"{encoder_blocks} blocks", "")
        return f"{ready} {ENCODER_MOVES.format(*words)}"
    return f"{ready} {MOVES}" if shared else ready


_ORIGINS = {
    "region": "tiles in regions",
    "tile": "clicked tiles",
    "gallery": "tiles from the gallery",
    "slide": "whole slides",
    "table": "slides from a table",
    "file": "tiles from a file",
}
