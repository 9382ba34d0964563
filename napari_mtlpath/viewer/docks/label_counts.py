"""How many labels there are and from where, what is weak about them, and what to do next."""

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_mtlpath.review.advice import ORIGIN_WORDS
from napari_mtlpath.review.events import Origin
from napari_mtlpath.review.task_draft import TaskDraft, TaskKind
from napari_mtlpath.session.session import Session
from napari_mtlpath.viewer.bridge import Bridge
from napari_mtlpath.viewer.docks.labels import PlainLabel

MOST_WARNINGS = 4


class LabelCounts(QWidget):
    """The state of the labels in words."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("label-counts")
        self._session = session
        self._counts = PlainLabel("label-count", tooltip="Labels of all slides for this task, by where they came from.")
        self._warnings = PlainLabel("label-warnings", tooltip="What would make the labels better.")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self._counts)
        layout.addWidget(self._warnings)
        self._bridge = bridge = Bridge(session, self)
        bridge.labels_changed.connect(self.show_labels)
        self.show_labels()

    def show_labels(self) -> None:
        """Show the present state."""
        labels = self._session.labels
        draft = labels.task
        self._counts.say(count_words(draft, labels.counts()) if draft is not None else "")
        self._warnings.say("\n".join(f"• {sentence}" for sentence in labels.warnings()[:MOST_WARNINGS]))


def count_words(draft: TaskDraft, counts: object) -> str:
    """Return how many labels of which answer came from where, a line for each origin."""
    per_origin = getattr(counts, "per_origin", {})
    lines = [f"{ORIGIN_WORDS[origin].capitalize()}: {_values(draft, count)}" for origin, count in per_origin.items()]
    slides = getattr(counts, "slides", 0)
    if slides > 1 and set(per_origin) - {Origin.SLIDE, Origin.TABLE}:
        lines.append(f"On {slides} slides together.")
    return "\n".join(lines)


def _values(draft: TaskDraft, count: dict[float, int]) -> str:
    if draft.kind is TaskKind.REGRESSION:
        low, high = min(count), max(count)
        number = sum(count.values())
        return f"{number} from {draft.words(low)} to {draft.words(high)}" if low < high else f"{number} of {low:g}"
    return ", ".join(f"{count[value]} {name}" for value, name in enumerate(draft.classes) if count.get(value))
