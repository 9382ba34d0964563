"""One run of a training: what was asked for, whether it may go on, and what it has made so far."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from napari_mtlpath.session.messages import Level
from napari_mtlpath.session.run_control import RunControl
from napari_mtlpath.session.teaching_view import TeachingPhase, paused_or_running

if TYPE_CHECKING:
    from napari_mtlpath.review.events import SlideSeen
    from napari_mtlpath.session.session import Session
    from napari_mtlpath.session.teaching_tools import TeachingTools
    from napari_mtlpath.tasks import Task
    from napari_mtlpath.training.teaching.report import TeachReport
    from napari_mtlpath.zoo.model import SlideModel


class TeachingRun(RunControl):
    """What is taught to which model, and what the thread has made of it.

    Parameters
    ----------
    parent
        The model that is taught, which stays as it is.
    settings
        How: what differs from the defaults.
    wanted
        Names of the tasks that are taught; none for the one that is labelled when it starts.
    resume
        Whether to go on from a checkpoint.
    seen
        What is known of the slides that were open once, for their pixels.

    Attributes
    ----------
    tasks
        What is taught, once the labels were read.
    snapshot
        The newest model that may be shown, or None.
    tell
        Takes a sentence for the user.
    taught
        What the training returned, or None while it has not ended by itself.
    """

    def __init__(
        self,
        *,
        parent: "SlideModel",
        settings: Mapping[str, Any] | None = None,
        wanted: Sequence[str] = (),
        resume: bool = False,
        seen: "Mapping[str, SlideSeen] | None" = None,
    ) -> None:
        super().__init__()
        self.parent = parent
        self.settings = dict(settings or {})
        self.resume = resume
        self.seen = dict(seen or {})
        self.wanted = tuple(wanted)
        self.tasks: tuple[Task, ...] = ()
        self.snapshot: SlideModel | None = None
        self.taught: Any = None
        self.tell: Callable[[str], object] = lambda _: None

    def pulled(
        self,
        session: "Session",
        tools: "TeachingTools",
        *,
        on_change: Callable[..., None],
        on_report: "Callable[[TeachReport], None]",
    ) -> Any:  # noqa: ANN401 - what the training returns is given back to its `save`
        """Read what is taught, train, and return the result; in the thread of the training.

        Parameters
        ----------
        session, tools
            Where labels, features and the training come from.
        on_change
            Called with fields of the view that are others now.
        on_report
            Called with each report.

        Raises
        ------
        RunStopped
            If the user stopped it; a checkpoint is kept.
        """
        self.check()
        self.tell = lambda text: session.say(Level.WARNING, text)
        with session.working("Reading labels and features"):
            lessons = tools.lessons(session, self.wanted)
            self.tasks = tuple(lesson.task for lesson in lessons)
            origins = sum((Counter(lesson.counts().origins) for lesson in lessons), Counter[str]())
            on_change(tasks=self.tasks, origins=dict(origins))
            self.check()
            references = tools.references(session, self.parent, lessons)
        self.check()
        with closing(tools.teach(self, lessons, references)) as reports:
            on_change(phase=TeachingPhase.RUNNING)
            command = None  # the first thing sent into a generator must be nothing
            while True:
                try:
                    on_report(reports.send(command))
                except StopIteration as end:
                    return end.value
                self.hold(lambda pausing: on_change(phase=paused_or_running(pausing)))
                command = tools.finish() if self.take_finish() else None


def failure_words(error: Exception) -> str:
    """Return what a user should read about a failure: its own sentence, or that something unforeseen happened."""
    text = str(error).strip()
    if isinstance(error, OSError | ValueError | FloatingPointError | MemoryError) and text:
        return text
    return f"Something unforeseen happened ({type(error).__name__}: {text}). The details are in the log."
