"""The signals of a session: what others may hear about it."""

from psygnal import Signal


class SessionNews:
    """Signals, emitted from any thread, in the order in which the state changed, with no lock held.

    A receiver that gets its events through a queue of its own reads the session's properties rather than trusting an
    event's argument, which may be older.
    """

    slide_changed = Signal(object)
    """The slide that is open now, or None."""
    model_changed = Signal(object)
    """The model that is used now, or None."""
    report_changed = Signal(object)
    """The newest :class:`~napari_mtlpath.inference.live.LiveReport` of the present slide and model."""
    resolution_changed = Signal(object)
    """The slide's :class:`~napari_mtlpath.slides.resolution.Resolution` after the user typed one."""
    tasks_changed = Signal()
    """The model's tasks are others than before."""
    message = Signal(object)
    """A :class:`~napari_mtlpath.session.messages.Message` for the user."""
    overlay_changed = Signal(object)
    """The :class:`~napari_mtlpath.session.overlay.OverlayChoice` after a change."""
    teaching_changed = Signal(object)
    """The :class:`~napari_mtlpath.session.teaching_view.TeachingView` after a step, a pause, an end."""
    training_changed = Signal(object)
    """The same of the training of a whole model."""
    models_changed = Signal()
    """A model was saved: the chooser's list is out of date."""
    labels_changed = Signal()
    """Labels, the task that is labelled, or the place where it is done are others than before."""
    busy_changed = Signal(object)
    """What the session is busy with, in words, or None."""
