"""What is known of the labels of a session: what any thread may ask at any time."""

import threading
import uuid
from typing import TYPE_CHECKING

from napari_mtlpath.review.advice import LabelCounts, count_labels, next_step, warnings_for
from napari_mtlpath.review.task_draft import TaskDraft
from napari_mtlpath.review.tile_labels import Labels
from napari_mtlpath.session.label_book import LabelBook
from napari_mtlpath.session.label_lesson import LabelledSlide
from napari_mtlpath.session.label_place import LabelPlace, grid_of, key_of

if TYPE_CHECKING:
    from napari_mtlpath.review.events import SlideSeen
    from napari_mtlpath.session.session import Session


class LabellingState:
    """The labels without the verbs that make them.

    Parameters
    ----------
    session
        Whose slide and model.
    """

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._lock = threading.RLock()
        self._maker = uuid.uuid4().hex
        self._book = LabelBook(self._maker)
        self._task: TaskDraft | None = None
        self._place: LabelPlace | None = None
        self._ready = self._closed = False

    @property
    def ready(self) -> bool:
        """Whether the labels of before were read."""
        return self._ready

    @property
    def task(self) -> TaskDraft | None:
        """The task that is labelled."""
        return self._task

    @property
    def drafts(self) -> tuple[TaskDraft, ...]:
        """The tasks that were described, newest last."""
        with self._lock:
            return tuple(self._book.drafts().values())

    @property
    def place(self) -> LabelPlace | None:
        """The tiles of the open slide for the model in use; None until both are there."""
        return self._place

    @property
    def labels(self) -> Labels:
        """What is known about the open slide for the task; empty where there is no place or no task."""
        return self.labels_at(self._place)

    @property
    def can_undo(self) -> bool:
        """Whether there is something to undo."""
        return bool(self._past(undo=True))

    @property
    def can_redo(self) -> bool:
        """Whether there is something to redo."""
        return bool(self._past(undo=False))

    def labels_at(self, place: LabelPlace | None) -> Labels:
        """Return what is known about a slide for the task."""
        with self._lock:
            if place is None or self._task is None:
                return Labels()
            return self._book.labels(place.fingerprint, self._task.name, place.grid)

    def labelled_slides(self, task: TaskDraft | None = None) -> tuple[LabelledSlide, ...]:
        """Return every slide with labels for a task, on the tiles of the model in use; the open one first.

        The task is the one that is labelled, unless another is given.
        """
        model, place = self._session.slide_model, self._place
        with self._lock:
            draft = task or self._task
            if model is None or draft is None:
                return ()
            seen = self._book.seen()
            found = []
            for fingerprint in self._book.slides(draft.name):
                if place is not None and fingerprint == place.fingerprint:
                    name, grid, key = place.slide.name, place.grid, place.key
                elif fingerprint in seen:
                    name, grid = seen[fingerprint].name, grid_of(seen[fingerprint], model.card.tile)
                    key = key_of(fingerprint, seen[fingerprint], grid, model.encoder.digest)
                else:
                    continue
                labels = self._book.labels(fingerprint, draft.name, grid)
                found.append(LabelledSlide(name=name, fingerprint=fingerprint, grid=grid, key=key, labels=labels))
        return tuple(sorted(found, key=lambda slide: place is None or slide.fingerprint != place.fingerprint))

    def all_labels(self, task: TaskDraft | None = None) -> tuple[Labels, ...]:
        """Return the labels of every slide for a task, of the open one first."""
        return tuple(slide.labels for slide in self.labelled_slides(task))

    def others(self) -> tuple[tuple[TaskDraft, int], ...]:
        """Return the other tasks that have labels, with how many: they can be taught together with this one."""
        counted = [(draft, count_labels(self.all_labels(draft)).total) for draft in self.drafts if draft != self._task]
        return tuple((draft, count) for draft, count in counted if count)

    def counts(self) -> LabelCounts:
        """Return how many labels there are, on all slides, by origin and value."""
        return count_labels(self.all_labels())

    def warnings(self) -> tuple[str, ...]:
        """Return what is weak about the labels, one sentence each."""
        draft = self._task
        return warnings_for(draft, self.all_labels()) if draft is not None else ()

    def next_step(self) -> str:
        """Return what to do next, as a sentence."""
        session = self._session
        return next_step(
            self._task, self.all_labels(), slide=session.slide is not None, model=session.slide_model is not None
        )

    def slides_seen(self) -> "dict[str, SlideSeen]":
        """Return what is known of each slide that was open once, by fingerprint."""
        with self._lock:
            return self._book.seen()

    def _past(self, *, undo: bool) -> tuple[str, ...]:
        """Return the keys of what can be undone or redone on the open slide, the next one last."""
        with self._lock:
            if self._place is None or self._task is None:
                return ()
            past = self._book.history(self._place.fingerprint, self._task.name)
            return past.undoable if undo else past.redoable
