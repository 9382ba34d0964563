"""One slide from file to exported results, as reports: what the child process of `mtlpath predict` runs."""

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from napari_mtlpath.features.store import FeatureStore
    from napari_mtlpath.inference.export.outputs import Outputs
    from napari_mtlpath.slides.slide import Slide
    from napari_mtlpath.zoo.any_model import AnyModel
    from napari_mtlpath.zoo.model import SlideModel
    from napari_mtlpath.zoo.pixel_model import PixelModel


SCAN_CACHE_BYTES = 128 * 2**20
"""Decoded tiles kept while a slide is read row by row: what one row shares with the next, at full size and 100,000 px
across. Nobody looks at the slide meanwhile, so more would only fill the memory."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the user asked of all slides alike.

    Attributes
    ----------
    model, device, backend
        Name or folder of the model, where it runs, and what computes its encoder.
    root
        Folder for the results.
    mpp
        Microns per pixel for slides, or None to take each slide's own.
    overwrite
        Whether finished slides are done again.
    outputs
        Which files are wanted.
    """

    model: str
    device: str
    root: Path
    mpp: float | None
    overwrite: bool
    outputs: "Outputs"
    backend: str = "torch"


@dataclass(frozen=True, kw_only=True)
class SlideProgress:
    """How far a slide is: tiles known of all tissue tiles."""

    known: int
    total: int


@dataclass(frozen=True, kw_only=True)
class SlideDone:
    """A slide whose results are on disk.

    Attributes
    ----------
    folder
        Where they are.
    predictions
        What predictions.json says.
    skipped
        Whether an earlier run had made them already.
    """

    folder: Path
    predictions: dict[str, Any]
    skipped: bool


def prepare(wishes: Wishes) -> "Callable[[Path], Iterator[SlideProgress | SlideDone]]":
    """Load the model, open the feature store, and return what works on one slide."""
    from napari_mtlpath.features.store import FeatureStore

    model = load_beside_readers(wishes.model, device=wishes.device, backend=wishes.backend)
    return partial(predict_slide, model=model, store=FeatureStore(), wishes=wishes)


def load_beside_readers(model: "str | Path", *, device: str, backend: str) -> "AnyModel":
    """Load a model, and meanwhile, on another core, what opens slides."""
    from napari_mtlpath.encoders.backend import Backend
    from napari_mtlpath.slides.open import load_readers
    from napari_mtlpath.zoo.any_model import load_any

    if backend != Backend.TORCH and importlib.util.find_spec("openvino") is not None:
        from napari_mtlpath.encoders.openvino_runtime import openvino_runtime

        # Imports wait for each other, and compiling a network waits for nobody: so first to there, then both at once.
        with contextlib.suppress(ImportError, OSError):  # said where the model is loaded
            openvino_runtime()
    with ThreadPoolExecutor(1, thread_name_prefix="mtlpath-loader") as beside:
        beside.submit(load_readers)  # what fails here fails again, and is said, when a slide is opened
        beside.submit(importlib.import_module, "numpy.ma")  # NumPy's percentiles, so finding tissue, ask for it
        return load_any(model, device=device, backend=backend)


def predict_slide(
    path: Path, *, model: "AnyModel", store: "FeatureStore", wishes: Wishes
) -> Iterator[SlideProgress | SlideDone]:
    """Analyse one slide and export its results; an earlier run's are kept where they still hold.

    Raises
    ------
    ValueError, OSError
        If the slide cannot be opened, its resolution is not known, or it changes while it is read.
    """
    from napari_mtlpath.inference.pixels.answers import answers_pixels
    from napari_mtlpath.slides.cache import TileCache
    from napari_mtlpath.slides.open import open_slide
    from napari_mtlpath.slides.resolution import ResolutionMemory, require_resolution

    slide = open_slide(path, mpp=wishes.mpp, memory=ResolutionMemory(), cache=TileCache(max_bytes=SCAN_CACHE_BYTES))
    try:
        require_resolution(slide.resolution, slide=slide.name)
        if answers_pixels(model):
            from napari_mtlpath.cli.pixel_prediction import predict_pixels

            yield from predict_pixels(slide, cast("PixelModel", model), wishes)
        else:
            yield from _predict(slide, cast("SlideModel", model), store, wishes)
    finally:
        slide.close()


def _predict(
    slide: "Slide", model: "SlideModel", store: "FeatureStore", wishes: Wishes
) -> Iterator[SlideProgress | SlideDone]:
    from napari_mtlpath.inference.export.provenance import provenance_now
    from napari_mtlpath.inference.export.slide_folder import Embeddings, export_slide, finished, folder_for
    from napari_mtlpath.inference.export.tiles import tile_columns
    from napari_mtlpath.inference.plan import grid_for, key_for
    from napari_mtlpath.inference.results import SlideResult
    from napari_mtlpath.inference.stream import analyse_slide

    grid = grid_for(slide, model)
    provenance = provenance_now(
        slide=slide.name,
        slide_fingerprint=slide.fingerprint,
        model=model.card.name,
        model_digest=model.digest,
        backend=model.backend,
        parameters={"mpp": slide.resolution.mpp, "grid": grid.key, "tile": grid.spec.key, "colour": str(slide.colour)},
    )
    folder = folder_for(wishes.root, slide=slide.name, fingerprint=slide.fingerprint)
    there = None if wishes.overwrite else finished(folder, key=provenance.key, outputs=wishes.outputs)
    if there is not None:
        yield SlideDone(folder=folder, predictions=there, skipped=True)
        return
    result = None
    for report in analyse_slide(slide, model, store=store):
        if isinstance(report, SlideResult):
            result = report
        else:
            yield SlideProgress(known=report.tiles_known, total=report.tiles_total)
    if result is None or not result.heatmaps:
        raise ValueError(f"No tile of slide '{slide.name}' could be read, so there is nothing to predict from.")
    indices, features = store.get(key_for(slide, model, grid), tile_columns(result).indices)
    predictions = export_slide(
        folder,
        result,
        provenance,
        outputs=wishes.outputs,
        model=model,
        embeddings=Embeddings(indices=indices, features=features),
    )
    yield SlideDone(folder=folder, predictions=predictions, skipped=False)
