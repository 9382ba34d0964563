"""What a session knows about itself: properties that any thread may read."""

from typing import TYPE_CHECKING, cast

from napari_mtlpath.inference.pixels.answers import answers_pixels
from napari_mtlpath.session.former import FormerSlide
from napari_mtlpath.session.holdings import Holdings
from napari_mtlpath.session.keeper import AnalysisKeeper
from napari_mtlpath.session.news import SessionNews
from napari_mtlpath.session.overlay import OverlayChoice
from napari_mtlpath.session.work import Work
from napari_mtlpath.slides.cache import TileCache

if TYPE_CHECKING:
    from napari_mtlpath.features.store import FeatureStore
    from napari_mtlpath.inference.live_base import TiledAnalysis
    from napari_mtlpath.inference.live_report import LiveReport
    from napari_mtlpath.inference.results import SlideResult
    from napari_mtlpath.slides.slide import Slide
    from napari_mtlpath.tasks import AnyTask
    from napari_mtlpath.zoo.any_model import AnyModel
    from napari_mtlpath.zoo.model import SlideModel


class SessionState(SessionNews):
    """The state of a session without its verbs; only the session itself changes it.

    Parameters
    ----------
    holdings
        Tiles in memory, features and typed resolutions on disk.
    """

    _keeper: AnalysisKeeper
    _work: Work

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._slide: Slide | None = None
        self._former: FormerSlide | None = None
        self._model: AnyModel | None = None
        self._preview: SlideModel | None = None
        self._tasks: tuple[AnyTask, ...] = ()
        self._report: LiveReport | None = None
        self._result: SlideResult | None = None
        self._overlay = OverlayChoice()
        self._closed = False

    @property
    def slide(self) -> "Slide | None":
        """The open slide."""
        return self._slide

    @property
    def former(self) -> FormerSlide | None:
        """The slide that another took the place of; see :func:`~napari_mtlpath.session.former.go_back`."""
        return self._former

    @property
    def model(self) -> "AnyModel | None":
        """The model in use."""
        return self._model

    @property
    def slide_model(self) -> "SlideModel | None":
        """The model in use, where it judges slides by embeddings of tiles, so that tasks can be taught; else None."""
        model = self._model
        if model is None or answers_pixels(model):
            return None
        return cast("SlideModel", model)

    @property
    def unteachable(self) -> str:
        """Why the model in use can learn no task here, as a sentence; empty where it can, and without a model."""
        model = self._model
        if model is None or self.slide_model is not None:
            return ""
        return (
            f"'{model.card.title or model.card.name}' answers pixel by pixel: tasks cannot be labelled for it or added "
            "to it here. Train it anew with 'mtlpath train' (kind = \"pixels\"), or load a slide model."
        )

    @property
    def live(self) -> "TiledAnalysis | None":
        """The running analysis of the slide with the model."""
        return self._keeper.live

    @property
    def report(self) -> "LiveReport | None":
        """The newest report on the present slide with the present model."""
        return self._report

    @property
    def result(self) -> "SlideResult | None":
        """The newest result for the present slide with the present model."""
        return self._result

    @property
    def overlay(self) -> OverlayChoice:
        """What is shown on top of the slide."""
        return self._overlay

    @property
    def tasks(self) -> tuple["AnyTask", ...]:
        """The tasks that are answered: those of the model, with the one being taught while it is previewed."""
        return self._tasks

    @property
    def busy(self) -> str | None:
        """What the session is busy with, in words."""
        return self._work.present

    @property
    def paused(self) -> bool:
        """Whether the user holds the analysis."""
        return self._keeper.paused

    @property
    def closed(self) -> bool:
        """Whether the session has ended."""
        return self._closed

    @property
    def cache(self) -> TileCache:
        """Native tiles in memory, shared by display and analysis."""
        return self._holdings.cache

    @property
    def store(self) -> "FeatureStore":
        """Features on disk; opening them for the first time reads a file, so not from the GUI thread."""
        return self._holdings.store
