"""Live analysis: the tiles in view first, then the rest of the tissue, while the view moves."""

import time
from collections.abc import Callable

from napari_mtlpath.features.store import FeatureStore
from napari_mtlpath.inference.desk import Desk
from napari_mtlpath.inference.encode import default_readers
from napari_mtlpath.inference.inputs import AnalysedSlide, AnalysisModel
from napari_mtlpath.inference.live_base import IDLE_SECONDS, TiledAnalysis
from napari_mtlpath.inference.live_report import LiveReport, LiveState
from napari_mtlpath.inference.live_run import LiveRun
from napari_mtlpath.inference.plan import grid_for

__all__ = ["LiveAnalysis", "LiveReport", "LiveState"]


class LiveAnalysis(TiledAnalysis):
    """Analyses a slide in the background, where the user looks first. Every method returns at once.

    One inference thread owns the model; reader threads fetch tiles. `on_report` is called from the inference thread, at
    most ten times a second apart from the last word, never after :meth:`close` has returned.

    Parameters
    ----------
    slide, model
        What is analysed, with what.
    store
        Where embeddings are kept.
    on_report
        Is given every report; must not block for long.
    readers
        Number of reader threads; None: as fits the machine.
    clock
        The time in seconds.
    idle_after
        Seconds without a new view after which the rest of the tissue follows.

    Raises
    ------
    ValueError
        If the slide's microns per pixel are unknown, or no tile fits.
    """

    def __init__(
        self,
        slide: AnalysedSlide,
        model: AnalysisModel,
        *,
        store: FeatureStore,
        on_report: Callable[[LiveReport], None],
        readers: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        idle_after: float = IDLE_SECONDS,
    ) -> None:
        super().__init__(
            slide,
            grid_for(slide, model),
            readers=readers or default_readers(model.device),
            on_report=on_report,
            clock=clock,
            idle_after=idle_after,
        )
        self.model = model
        self._store = store
        self._judge: AnalysisModel | None = None
        self._begin()

    def can_preview(self, model: AnalysisModel) -> bool:
        """Whether a model reads the same features as the analysis' own."""
        return model.encoder.digest == self.model.encoder.digest

    def preview(self, model: AnalysisModel | None) -> None:
        """Let another model judge the tiles known so far, and those to come; None: the analysis' own model again.

        Nothing is read or encoded for it: the bag in memory is aggregated anew, also while the analysis is paused.

        Raises
        ------
        ValueError
            If its encoder is another one, so that the embeddings mean nothing to it.
        """
        if model is not None and not self.can_preview(model):
            raise ValueError(
                f"Model {model.card.name!r} reads features of {model.encoder.name!r}; this analysis has those of "
                f"{self.model.encoder.name!r}. Load the model instead."
            )
        self._judge = model
        self._run.preview(model)

    def _new_cycle(self, desk: Desk) -> LiveRun:
        self._run = LiveRun(
            self.slide,
            self.model,
            desk,
            store=self._store,
            emit=self._emit,
            clock=self._clock,
            judge=self._judge,
        )
        return self._run
