"""Which events still count, and which one undo and redo would take: one rule for every window."""

from collections.abc import Sequence
from dataclasses import dataclass

from napari_mtlpath.review.events import LABELLING, LabelEvent, Redone, Undone


@dataclass(frozen=True, kw_only=True)
class History:
    """Events of one slide and task, after undo and redo.

    Attributes
    ----------
    effective
        The acts that count, in order.
    undoable
        Keys of events that undo takes, the next one last.
    redoable
        Keys of events that redo brings back, the next one last.
    """

    effective: tuple[LabelEvent, ...]
    undoable: tuple[str, ...]
    redoable: tuple[str, ...]


def history(events: Sequence[LabelEvent], *, mine: frozenset[str] | None = None) -> History:
    """Work out what a sequence of events amounts to.

    A new act forgets what could be redone. An undo of something unknown, or of something already undone, does nothing.

    Parameters
    ----------
    events
        Of one slide and task, in the journal's order.
    mine
        Keys of events that this window may undo; None for all. Another window's labels are its own to take back.

    Examples
    --------
    >>> from napari_mtlpath.review.events import SlideLabelled
    >>> first = LabelEvent(slide="s", task="t", act=SlideLabelled(value=1.0))
    >>> back = LabelEvent(slide="s", task="t", act=Undone(event=first.key))
    >>> history([first, back]).effective, history([first, back]).redoable == (first.key,)
    ((), True)
    """
    acts = {event.key: event for event in events if isinstance(event.act, LABELLING)}
    standing = dict.fromkeys(acts, True)
    undoable: list[str] = []
    redoable: list[str] = []
    for event in events:
        own = mine is None or event.key in mine
        match event.act:
            case Undone(event=key) if standing.get(key, False):
                standing[key] = False
                if key in undoable:
                    undoable.remove(key)
                    redoable.append(key)
            case Redone(event=key) if key in standing and not standing[key]:
                standing[key] = True
                if key in redoable:
                    redoable.remove(key)
                    undoable.append(key)
            case _ if event.key in acts and own:
                undoable.append(event.key)
                redoable.clear()
    return History(
        effective=tuple(event for key, event in acts.items() if standing[key]),
        undoable=tuple(undoable),
        redoable=tuple(redoable),
    )
