"""Labels that a user makes for a task: at once in memory, soon in the journal, shared by all windows on a slide."""

import contextlib
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from napari_mtlpath.review.events import (
    Act,
    LabelEvent,
    Origin,
    Redone,
    RegionDrawn,
    RegionRemoved,
    SlideLabelled,
    TaskDefined,
    TaskDropped,
    TilesLabelled,
    Undone,
)
from napari_mtlpath.review.journal import Entry
from napari_mtlpath.review.regions import area_of, tiles_inside
from napari_mtlpath.review.task_draft import TaskDraft
from napari_mtlpath.session.label_lesson import lesson_from
from napari_mtlpath.session.label_place import LabelPlace, place_of
from napari_mtlpath.session.label_writer import LabelWriter
from napari_mtlpath.session.labelling_state import LabellingState
from napari_mtlpath.session.messages import Level
from napari_mtlpath.session.outbox import Outbox
from napari_mtlpath.session.scale import user_name
from napari_mtlpath.tasks import Classification, Regression

if TYPE_CHECKING:
    from napari_mtlpath.session.session import Session
    from napari_mtlpath.training.teaching.lesson import Lesson

NO_PLACE = "Labels belong to the tiles of a slide as a model cuts them. Open a slide and load a model first."
NO_TASK = "Labels are answers to a task. Make one with 'New task…' in the Tasks section first."


class Labelling(LabellingState):
    """The labels of a session, told what to do by verbs that return at once, heard through ``labels_changed``.

    Verbs that label take the `place` that the user saw, so that a label goes to the slide that was clicked even where
    another one was opened meanwhile. Nothing is read or written before :meth:`wake` or the first verb.

    Parameters
    ----------
    session
        Whose slide and model.
    outbox
        The session's, through which news leave.
    """

    def __init__(self, session: "Session", outbox: Outbox) -> None:
        super().__init__(session)
        self._outbox = outbox
        self._author = ""
        self._awake = False
        self._writer = LabelWriter(on_entries=self._learn, on_trouble=self._tell_trouble)

    def wake(self) -> None:
        """Read what was labelled before and follow the session's slide and model. Waking twice is harmless."""
        with self._lock:
            if self._awake or self._closed:
                return
            self._awake = True
        for news in (self._session.slide_changed, self._session.model_changed, self._session.resolution_changed):
            news.connect(self._move)
        self._writer.start()
        self._move()

    def define(self, draft: TaskDraft) -> None:
        """Describe a task, or describe it anew, and label it from now on.

        Raises
        ------
        ValueError
            If labels were made for it that its new classes do not have.
        """
        self.wake()
        with self._lock:
            known = self._book.drafts().get(draft.name)
            if known is not None and (known.kind, len(known.classes)) != (draft.kind, len(draft.classes)):
                raise ValueError(
                    f"There is a task {known.shown!r} with other answers ({', '.join(known.classes) or 'a number'}). "
                    "Choose it in the list, or give the new one another name."
                )
            if known != draft:
                self._record("", draft.name, TaskDefined(draft=draft))
            self._task = draft
        self._tell()

    def choose(self, name: str | None) -> None:
        """Label one of :attr:`drafts`, or none."""
        self.wake()
        with self._lock:
            drafts = self._book.drafts()
            if name is not None and name not in drafts:
                raise ValueError(f"There is no task {name!r} to label. Known: {', '.join(drafts) or 'none'}.")
            self._task = drafts[name] if name is not None else None
        self._tell()

    def choose_existing(self, name: str) -> None:
        """Label one of the model's own tasks, to fine-tune it."""
        task = next((task for task in self._session.tasks if task.name == name), None)
        if not isinstance(task, Classification | Regression):
            raise ValueError(f"The model has no task {name!r} whose tiles can be labelled.")
        with self._lock:
            known = self._book.drafts().get(name)
        self.define(known if known is not None and known.task == task else TaskDraft.of(task))

    def drop(self, name: str) -> None:
        """Offer a task no longer; its labels stay in the journal, and come back with a task of the same name."""
        with self._lock:
            self._record("", name, TaskDropped())
            if self._task is not None and self._task.name == name:
                self._task = None
        self._tell()

    def label_tiles(
        self,
        indices: ArrayLike,
        value: float | None,
        *,
        origin: Origin = Origin.TILE,
        place: LabelPlace | None = None,
    ) -> int:
        """Give tiles a label, or take it back (None).

        Returns
        -------
        How many tiles it was: those without tissue are left out.

        Raises
        ------
        ValueError
            If there is no task or place, the label is none of the task's, or no tile holds tissue.
        """
        draft, place = self._ask(place)
        asked = np.unique(np.asarray(indices, dtype=np.int64))
        tiles = place.on_tissue(asked) if value is not None else asked
        if len(tiles) == 0:
            raise ValueError("There is no tissue on this tile, so the model never sees it. Label one with tissue.")
        act = TilesLabelled(
            corners=tuple(place.grid.corner(index) for index in tiles.tolist()),
            side=int(place.grid.side),
            value=None if value is None else draft.check(value),
            origin=origin,
        )
        self._label(place, draft, act)
        return len(tiles)

    def draw_region(
        self, outline: ArrayLike, value: float, *, key: str | None = None, place: LabelPlace | None = None
    ) -> str:
        """Give all tiles whose centre lies inside a drawn line a label.

        Parameters
        ----------
        outline
            Corners [n, 2] as (y, x) in level-0 pixels, edges at whole numbers.
        value
            The label.
        key
            A region of before that this one replaces; None for a new one.
        place
            Where it was drawn.

        Returns
        -------
        The region's key.

        Raises
        ------
        ValueError
            If the line has no inside, or no centre of a tile with tissue lies in it.
        """
        draft, place = self._ask(place)
        area = area_of(outline)
        inside = tiles_inside(area, place.grid)
        if len(place.on_tissue(inside)) == 0:
            what = "holds no tissue" if len(inside) else "holds no centre of a tile: draw a larger one, or click tiles"
            raise ValueError(f"The region {what}, so it labels nothing.")
        region = key if key is not None else uuid.uuid4().hex
        self._label(place, draft, RegionDrawn(region=region, area=area, value=draft.check(value)))
        return region

    def remove_region(self, key: str, *, place: LabelPlace | None = None) -> None:
        """Take a region away, and the labels that tiles have from it."""
        draft, place = self._ask(place)
        if key in {region.key for region in self.labels_at(place).regions}:
            self._label(place, draft, RegionRemoved(region=key))

    def label_slide(self, value: float | None, *, place: LabelPlace | None = None) -> None:
        """Give the whole slide a label, or take it back (None)."""
        draft, place = self._ask(place)
        self._label(place, draft, SlideLabelled(value=None if value is None else draft.check(value)))

    def undo(self) -> None:
        """Take back the last act of this window on the open slide; does nothing where there is none."""
        self._step(undo=True)

    def redo(self) -> None:
        """Bring back what was undone last; does nothing where there is none."""
        self._step(undo=False)

    def record(self, place: LabelPlace, act: Act) -> None:
        """Count any act for the task, such as what was imported from a file."""
        draft, place = self._ask(place)
        self._label(place, draft, act)

    def record_for(self, fingerprint: str, acts: Sequence[Act]) -> None:
        """Count acts about a slide that need not be open, such as labels from a table or what the slide is."""
        with self._lock:
            for act in acts:
                task = self._task.name if self._task is not None and isinstance(act, SlideLabelled) else ""
                self._record(fingerprint, task, act)
        self._tell()

    def lessons(self, names: Sequence[str] = ()) -> "tuple[Lesson, ...]":
        """Return what the model is taught from: the labels of all slides with their embeddings. Reads files.

        Parameters
        ----------
        names
            Of tasks among :attr:`drafts`; by default the one that is labelled.

        Raises
        ------
        ValueError
            If there is no such task, no model, or nothing to teach from.
        """
        self.wake()
        self.settle()
        drafts = {draft.name: draft for draft in self.drafts}
        wanted = tuple(names) or ((self._task.name,) if self._task is not None else ())
        if not wanted or any(name not in drafts for name in wanted):
            raise ValueError(NO_TASK)
        if self._session.slide_model is None:
            raise ValueError(NO_PLACE)
        made = [lesson_from(drafts[name], self.labelled_slides(drafts[name]), self._session.store) for name in wanted]
        for note in dict.fromkeys(note for _, notes in made for note in notes):
            self._session.say(Level.WARNING, note)
        return tuple(lesson for lesson, _ in made)

    def settle(self, timeout: float = 10.0) -> bool:
        """Wait until everything so far is in the journal, or was refused by the disk; not for the GUI thread."""
        return self._writer.settle(timeout)

    def close(self) -> None:
        """Write what is left and follow the session no longer."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        if self._awake:
            for news in (self._session.slide_changed, self._session.model_changed, self._session.resolution_changed):
                with contextlib.suppress(ValueError):
                    news.disconnect(self._move)
        self._writer.close()

    def _ask(self, place: LabelPlace | None) -> tuple[TaskDraft, LabelPlace]:
        place = place if place is not None else self._place
        if place is None:
            raise ValueError(NO_PLACE)
        if self._task is None:
            raise ValueError(NO_TASK)
        return self._task, place

    def _label(self, place: LabelPlace, draft: TaskDraft, act: Act) -> None:
        with self._lock:
            self._record(place.fingerprint, draft.name, act)
        self._tell()

    def _record(self, slide: str, task: str, act: Act) -> None:  # The lock is held.
        if self._closed:
            return
        event = LabelEvent(slide=slide, task=task, act=act, maker=self._maker, author=self._author)
        self._book.add(event)
        self._writer.write([event])

    def _step(self, *, undo: bool) -> None:
        with self._lock:
            keys = self._past(undo=undo)
            if not keys or self._place is None or self._task is None:
                return
            act = Undone(event=keys[-1]) if undo else Redone(event=keys[-1])
            self._record(self._place.fingerprint, self._task.name, act)
        self._tell()

    def _move(self, *_: object) -> None:
        """Follow the session to another slide, model or scale."""
        with self._lock:
            place, slide = self._place, self._session.slide
            if place is not None and (slide is not place.slide or slide.resolution.mpp != place.grid.mpp):
                self._place = None
        self._writer.do(self._find_place)
        self._tell()

    def _find_place(self) -> None:
        session = self._session
        slide, model = session.slide, session.slide_model
        self._author = self._author or user_name()
        place = None
        if slide is not None and model is not None and slide.resolution.known:
            with contextlib.suppress(ValueError):  # No tile fits; the analysis says so.
                place = place_of(slide, model)
        with self._lock:
            if session.slide is not slide or session.slide_model is not model or self._closed:
                return
            if place is None or self._place is None or place.key != self._place.key:
                self._place = place  # The same tiles of the same slide keep their place, and the tools in use there.
            if place is not None and self._book.seen().get(place.fingerprint) != (seen := place.seen()):
                self._record(place.fingerprint, "", seen)
            self._go_on()
        self._tell()

    def _go_on(self) -> None:  # The lock is held.
        """Label the task that was labelled last on this slide, until the user says otherwise."""
        place = self._place
        if self._task is not None or place is None or not self._ready:
            return
        on_slide = [d for d in self._book.drafts().values() if place.fingerprint in self._book.slides(d.name)]
        self._task = on_slide[-1] if on_slide else None

    def _learn(self, entries: Sequence[Entry]) -> None:
        with self._lock:
            news = self._book.learn(entries, own=not self._ready) or not self._ready
            self._ready = True
            if self._task is not None:
                self._task = self._book.drafts().get(self._task.name, self._task)
            self._go_on()
        if news:
            self._tell()

    def _tell(self) -> None:
        if not self._closed:
            self._outbox.send(self._session.labels_changed)

    def _tell_trouble(self, text: str) -> None:
        if text:
            self._session.say(Level.ERROR, text)
        else:
            self._session.say(Level.INFO, "All labels are saved again.")
