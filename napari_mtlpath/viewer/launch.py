"""Starts napari on a slide with a model at work: to be looked at, or to be photographed where nobody looks."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEventLoop, QTimer

from napari_mtlpath.session.messages import Level
from napari_mtlpath.session.overlay import OverlayKind
from napari_mtlpath.viewer.binding import ViewerBinding, binding_of
from napari_mtlpath.viewer.layers.slide_layer import display_of
from napari_mtlpath.viewer.worker import run, sentence_of

if TYPE_CHECKING:
    import napari

PLUGIN = "napari-mtlpath"
PANEL = "Pathology panel"
"""The panel's name in the manifest."""

PICTURE_SIZE = (1600, 1000)
"""Width and height of a photographed window."""

LOOK_MS = 50
"""How often a waiting photographer looks, besides at every piece of news."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What to open.

    Attributes
    ----------
    slide
        The slide file.
    model
        Name or folder of a model, or None.
    mpp
        Microns per pixel, when the user states them.
    assumed_mpp
        Microns per pixel of a sample that does not state them; shown as assumed.
    device
        Where the model runs.
    backend
        What computes its encoder; torch when None.
    task, kind
        What is painted first; the model's first task and its routing importance by default.
    """

    slide: Path
    model: str | None
    mpp: float | None = None
    assumed_mpp: float | None = None
    device: str = "auto"
    backend: str | None = None
    task: str | None = None
    kind: OverlayKind | None = None


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What was photographed.

    Attributes
    ----------
    paths
        The pictures.
    predictions
        What predictions.json would say at that moment.
    """

    paths: tuple[Path, ...]
    predictions: dict[str, Any]


def show(launch: Launch) -> None:
    """Open napari and return when its window is closed. Ctrl-C closes it too."""
    import napari

    viewer, _ = _open_viewer()
    _start(viewer, launch)
    with _closed_by_interrupt(viewer):
        napari.run()


def photograph(launch: Launch, *, folder: Path, patience: float) -> Pictures:
    """Open napari, wait until the visible field is analysed, and write pictures of the window and of every heatmap.

    Parameters
    ----------
    launch
        What to open; it needs a model.
    folder
        Where the pictures go.
    patience
        Seconds to wait.

    Raises
    ------
    RuntimeError
        If slide or model cannot be opened, or nothing is known after so long.
    """
    folder.mkdir(parents=True, exist_ok=True)
    viewer, binding = _open_viewer()
    try:
        viewer.window.resize(*PICTURE_SIZE)
        return _photograph(viewer, binding, launch, folder=folder, patience=patience)
    finally:
        binding.close()
        viewer.close()


def _photograph(
    viewer: "napari.Viewer", binding: ViewerBinding, launch: Launch, *, folder: Path, patience: float
) -> Pictures:
    failures: list[str] = []
    waiting = _Waiting(failures)
    binding.bridge.message.connect(lambda said: failures.append(said.text) if said.level is Level.ERROR else None)
    _start(viewer, launch, needs_resolution=True, on_error=lambda error: failures.append(sentence_of(error)))
    waiting.until(lambda: _is_analysed(binding), patience=patience)
    if binding.session.result is None:
        report = binding.session.report
        said = report.message if report is not None else ""
        raise RuntimeError(f"Nothing was predicted within {patience:.0f} s. {said} Try a longer --patience.")
    waiting.until(lambda: _is_sharp(binding), patience=30.0)
    paths = tuple(_take_pictures(viewer, binding, folder, waiting))
    return Pictures(paths=paths, predictions=_predictions(binding))


def _start(
    viewer: "napari.Viewer",
    launch: Launch,
    *,
    needs_resolution: bool = False,
    on_error: Callable[[Exception], None] | None = None,
) -> None:
    """Open slide and model in the background; the slide first, so that there is something to see."""
    session = binding_of(viewer).session

    def work() -> None:
        slide = session.open_slide(launch.slide, mpp=launch.mpp, assumed_mpp=launch.assumed_mpp)
        if needs_resolution and slide is not None and not slide.resolution.known:
            raise ValueError(f"It is unknown how large a pixel of '{slide.name}' is, so no model can look. Pass --mpp.")
        if launch.model is not None:
            session.load_model(launch.model, device=launch.device, backend=launch.backend)
            wishes = {"task": launch.task, "kind": launch.kind}
            session.set_overlay(**{name: wish for name, wish in wishes.items() if wish is not None})

    def fit(_: object) -> None:
        if binding_of(viewer).slide_layer() is not None:
            viewer.reset_view()

    binding_of(viewer).bridge.slide_changed.connect(fit)
    run(work, on_error=on_error)


def _open_viewer() -> "tuple[napari.Viewer, ViewerBinding]":
    import napari

    viewer = napari.Viewer(title="napari-mtlpath (research use only)")
    binding = binding_of(viewer)
    viewer.window.add_plugin_dock_widget(PLUGIN, PANEL)
    return viewer, binding


@contextmanager
def _closed_by_interrupt(viewer: "napari.Viewer") -> Iterator[None]:
    before = signal.signal(signal.SIGINT, lambda *_: viewer.close())
    # Qt's loop runs no Python between events; this lets Python see the signal.
    pulse = QTimer()
    pulse.start(200)
    pulse.timeout.connect(lambda: None)
    try:
        yield
    finally:
        pulse.stop()
        signal.signal(signal.SIGINT, before)


class _Waiting:
    """Runs Qt's event loop until something holds; raises what went wrong meanwhile."""

    def __init__(self, failures: list[str]) -> None:
        self._failures = failures

    def until(self, condition: Callable[[], bool], *, patience: float) -> bool:
        """Return whether the condition held within `patience` seconds."""
        loop = QEventLoop()
        look, end = QTimer(), QTimer()
        end.setSingleShot(True)
        end.timeout.connect(loop.quit)

        def check() -> None:
            if self._failures or condition():
                loop.quit()

        look.timeout.connect(check)
        look.start(LOOK_MS)
        end.start(int(patience * 1000))
        loop.exec()
        look.stop()
        end.stop()
        if self._failures:
            raise RuntimeError(self._failures[0])
        return condition()


def _is_analysed(binding: ViewerBinding) -> bool:
    report, result = binding.session.report, binding.session.result
    if report is None or result is None or not result.offered:
        return False
    return report.visible_total > 0 and report.visible_known >= report.visible_total


def _is_sharp(binding: ViewerBinding) -> bool:
    layer = binding.slide_layer()
    display = display_of(layer) if layer is not None else None
    return display is not None and not display.loader.busy


def _take_pictures(viewer: "napari.Viewer", binding: ViewerBinding, folder: Path, waiting: _Waiting) -> Iterator[Path]:
    session = binding.session
    result = session.result
    if result is None:
        return
    binding.overlays.update()
    window = folder / "window.png"
    _settle(waiting)
    viewer.screenshot(str(window), canvas_only=False, flash=False)
    yield window
    chosen = session.overlay
    tiles = [(task, kind.value) for task, kind in result.heatmaps]
    for task, kind in [*tiles, *sorted(result.offered.difference(tiles))]:
        session.set_overlay(task=task, kind=OverlayKind(kind), visible=True)
        _settle(waiting)
        path = folder / f"{_file_name(task)}-{kind}.png"
        viewer.screenshot(str(path), canvas_only=True, flash=False)
        yield path
    session.set_overlay(visible=False)
    _settle(waiting)
    slide = folder / "slide.png"
    viewer.screenshot(str(slide), canvas_only=True, flash=False)
    yield slide
    session.set_overlay(task=chosen.task, kind=chosen.kind, visible=chosen.visible)


def _settle(waiting: _Waiting) -> None:
    """Let what was asked for be drawn."""
    rounds = iter(range(4))
    waiting.until(lambda: next(rounds, None) is None, patience=10.0)


def _file_name(task: str) -> str:
    from napari_mtlpath.inference.export.naming import safe_name

    return safe_name(task)


def _predictions(binding: ViewerBinding) -> dict[str, Any]:
    from napari_mtlpath.inference.export.predictions import predictions
    from napari_mtlpath.inference.export.provenance import provenance_now

    result = binding.session.result
    if result is None:
        raise RuntimeError("The result is gone: slide or model were closed. Run the command again.")
    provenance = provenance_now(
        slide=result.slide_name,
        slide_fingerprint=result.slide_fingerprint,
        model=result.model_name,
        model_digest=result.model_digest,
        parameters={},
    )
    return predictions(result, provenance)
