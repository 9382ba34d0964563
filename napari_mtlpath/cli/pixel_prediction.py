"""One slide through a pixel model, from file to exported masks: the part of `mtlpath predict` for such models."""

import contextlib
from collections.abc import Generator, Iterator
from functools import partial
from typing import TYPE_CHECKING

from napari_mtlpath.cli.prediction import SlideDone, SlideProgress, Wishes

if TYPE_CHECKING:
    from napari_mtlpath.inference.pixels.maps import PixelMaps
    from napari_mtlpath.inference.stream import Progress
    from napari_mtlpath.slides.slide import Slide
    from napari_mtlpath.zoo.pixel_model import PixelModel

WORK_FOLDER = ".windows"
"""Below the folder of results: what a stopped run has computed already; a finished one deletes it."""


def predict_pixels(slide: "Slide", model: "PixelModel", wishes: Wishes) -> Iterator[SlideProgress | SlideDone]:
    """Analyse one slide pixel by pixel and export its masks; an earlier run's are kept where they still hold.

    Raises
    ------
    ValueError
        If no tile can be read.
    OSError
        If the slide changes meanwhile, or the disk is full.
    """
    from napari_mtlpath.inference.export.pixel_folder import PixelOutputs, export_pixels
    from napari_mtlpath.inference.export.provenance import provenance_now
    from napari_mtlpath.inference.export.slide_folder import finished, folder_for
    from napari_mtlpath.inference.pixels.plan import pixel_plan
    from napari_mtlpath.inference.pixels.stream import analyse_pixels
    from napari_mtlpath.inference.pixels.summing import summed_up
    from napari_mtlpath.inference.pixels.window_file import WindowFile

    plan = pixel_plan(slide, model)
    provenance = provenance_now(
        slide=slide.name,
        slide_fingerprint=slide.fingerprint,
        model=model.card.name,
        model_digest=model.digest,
        parameters={"mpp": slide.resolution.mpp, "windows": plan.key},
    )
    outputs = PixelOutputs(tiles=wishes.outputs.tiles, masks=wishes.outputs.masks, geojson=wishes.outputs.geojson)
    folder = folder_for(wishes.root, slide=slide.name, fingerprint=slide.fingerprint)
    there = None if wishes.overwrite else finished(folder, key=provenance.key, outputs=outputs)
    if there is not None:
        yield SlideDone(folder=folder, predictions=there, skipped=True)
        return
    path = wishes.root / WORK_FOLDER / plan.key[:32]
    if wishes.overwrite:
        path.unlink(missing_ok=True)
    open_file = partial(WindowFile.kept, path, plan.key, plan.lattice)
    maps, unreadable = yield from _progress(analyse_pixels(slide, model, plan, open_file=open_file))
    if not maps.known.any():
        maps.close()
        raise ValueError(f"No tile of slide '{slide.name}' could be read, so there is nothing to predict from.")
    result = summed_up(model, maps, plan.total, slide=slide, unreadable=unreadable)
    predictions = export_pixels(folder, result, maps, provenance, outputs=outputs)
    maps.close()
    with contextlib.suppress(OSError):  # another slide's windows are there
        path.parent.rmdir()
    yield SlideDone(folder=folder, predictions=predictions, skipped=False)


def _progress(
    reports: "Generator[Progress, None, tuple[PixelMaps, int]]",
) -> "Generator[SlideProgress, None, tuple[PixelMaps, int]]":
    """Pass on how far the analysis is; return what it returns."""
    with contextlib.closing(reports):
        while True:
            try:
                report = next(reports)
            except StopIteration as end:
                return end.value
            yield SlideProgress(known=report.tiles_known, total=report.tiles_total)
