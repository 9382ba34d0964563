"""All labels in memory: what the journal holds and what is on its way there, ready to be asked at once."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.review.events import Area, LabelEvent, SlideSeen, TaskDefined, TaskDropped
from napari_mtlpath.review.history import History, history
from napari_mtlpath.review.journal import Entry
from napari_mtlpath.review.regions import tiles_inside
from napari_mtlpath.review.task_draft import TaskDraft
from napari_mtlpath.review.tile_labels import Labels, labels_of
from napari_mtlpath.tiles.grid import TileGrid


class LabelBook:
    """Events by slide and task, in the journal's order, with those that are not written yet at the end.

    Two windows that have read the same journal hold the same labels, whoever made them. Not thread-safe: its owner has
    a lock.

    Parameters
    ----------
    maker
        Identifies the window: whose events :meth:`history` lets it undo, beside those that were there before it.
    """

    def __init__(self, maker: str) -> None:
        self._maker = maker
        self._written: dict[tuple[str, str], list[LabelEvent]] = defaultdict(list)
        self._pending: dict[str, LabelEvent] = {}
        self._mine: set[str] = set()
        self._known: set[str] = set()
        self._latest = 0
        self._seen: dict[str, SlideSeen] = {}
        self._inside: dict[tuple[int, str], tuple[Area, NDArray[np.int64]]] = {}
        self._labels: dict[tuple[str, str, str], tuple[int, Labels]] = {}

    @property
    def latest(self) -> int:
        """Number of the newest entry of the journal that is known."""
        return self._latest

    @property
    def pending(self) -> tuple[LabelEvent, ...]:
        """Events that are not in the journal yet."""
        return tuple(self._pending.values())

    def add(self, event: LabelEvent) -> None:
        """Count an event of this window, before it is written."""
        self._pending[event.key] = event
        self._mine.add(event.key)
        self._note(event)

    def learn(self, entries: Sequence[Entry], *, own: bool = False) -> bool:
        """Take what the journal holds beyond :attr:`latest`; return whether anything was new.

        Parameters
        ----------
        entries
            In order.
        own
            Whether this window may undo them, as those that were there when it was opened.
        """
        news = False
        for entry in entries:
            event = entry.event
            self._latest = max(self._latest, entry.number)
            if event.key in self._known:
                continue
            self._known.add(event.key)
            news |= self._pending.pop(event.key, None) is None
            self._written[event.slide, event.task].append(event)
            self._note(event)
            if own or event.maker == self._maker:
                self._mine.add(event.key)
        return news

    def events(self, slide: str, task: str) -> tuple[LabelEvent, ...]:
        """Return the events of a slide and a task, in order."""
        waiting = [event for event in self._pending.values() if (event.slide, event.task) == (slide, task)]
        return (*self._written.get((slide, task), ()), *waiting)

    def slides(self, task: str) -> tuple[str, ...]:
        """Return the fingerprints of the slides with events for a task."""
        keys = [*self._written, *((event.slide, event.task) for event in self._pending.values())]
        return tuple(dict.fromkeys(slide for slide, named in keys if named == task and slide))

    def history(self, slide: str, task: str) -> History:
        """Return what counts, and what this window can undo and redo."""
        return history(self.events(slide, task), mine=frozenset(self._mine))

    def labels(self, slide: str, task: str, grid: TileGrid) -> Labels:
        """Return the labels of a slide for a task on a grid."""
        events = self.events(slide, task)
        stamp = hash(tuple(event.key for event in events))
        kept = self._labels.get((slide, task, grid.key))
        if kept is not None and kept[0] == stamp:
            return kept[1]
        labels = labels_of(history(events).effective, grid, inside=self._tiles_inside)
        self._labels[slide, task, grid.key] = (stamp, labels)
        return labels

    def drafts(self) -> dict[str, TaskDraft]:
        """Return the tasks that were described, by name."""
        found: dict[str, TaskDraft] = {}
        for (slide, task), events in [*self._written.items(), *((("", e.task), [e]) for e in self._pending.values())]:
            for event in events if not slide else ():
                match event.act:
                    case TaskDefined(draft=draft):
                        found.pop(task, None)
                        found[task] = draft
                    case TaskDropped():
                        found.pop(task, None)
                    case _:
                        pass
        return found

    def seen(self) -> dict[str, SlideSeen]:
        """Return what is known of each slide that was open once, by fingerprint."""
        return dict(self._seen)

    def _note(self, event: LabelEvent) -> None:
        if isinstance(event.act, SlideSeen):
            self._seen[event.slide] = event.act

    def _tiles_inside(self, area: Area, grid: TileGrid) -> NDArray[np.int64]:
        """Return the tiles inside a region; found once per grid, for as long as the region itself is kept."""
        key = (id(area), grid.key)
        kept = self._inside.get(key)
        if kept is None:
            kept = self._inside[key] = (area, tiles_inside(area, grid))
        return kept[1]
