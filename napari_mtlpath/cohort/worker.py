"""What a worker process does: one slide from file to feature file."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_mtlpath.cohort.claims import claim, verdict
from napari_mtlpath.cohort.ledger import Status
from napari_mtlpath.cohort.recipe import Recipe, SlideJob, computed_encoder
from napari_mtlpath.cohort.watchdog import Watchdog
from napari_mtlpath.encoders.backend import Backend
from napari_mtlpath.slides.foreign_errors import FOREIGN_ERRORS

if TYPE_CHECKING:
    import torch

    from napari_mtlpath.encoders.tile_encoder import TileEncoder
    from napari_mtlpath.inference.bag import Bag
    from napari_mtlpath.inference.plan import AnalysisPlan
    from napari_mtlpath.slides.slide import Slide
    from napari_mtlpath.tiles.spec import TileSpec

TOPIC = "mtlpath-extract"
"""Under which workers tell dask how far they are."""

REPORT_SECONDS = 1.0
RESEARCH_USE_ONLY = "Research use only"

_one_slide = threading.Lock()  # one slide open per process, however many threads a foreign worker has


class OutputRefused(OSError):
    """A result cannot be written: that stops the whole run, for it is no slide's fault."""


class WrongEncoder(ValueError):
    """A worker does not have the encoder that was asked for: that stops the whole run."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How work on one slide ended.

    Attributes
    ----------
    status, reason
        The end, and a sentence where the slide is broken.
    tiles, unreadable
        Tiles with features, and tissue tiles that could not be read.
    size
        Bytes of the feature file.
    """

    status: Status
    reason: str = ""
    tiles: int = 0
    unreadable: int = 0
    size: int = 0


def extract_slide(job: SlideJob) -> Outcome:
    """Write the features of one slide; what is wrong with the slide comes back as an outcome.

    Raises
    ------
    OutputRefused
        If the result cannot be written.
    WrongEncoder
        If this process has another encoder of that name, or none.
    """
    with _one_slide:
        known = verdict(job.claim)
        if known is not None:
            return Outcome(status=Status.QUARANTINED, reason=known)
        try:
            attempt = claim(job.claim)
        except OSError as error:
            raise OutputRefused(f"Nothing can be written beside {job.target} ({error.strerror or error}).") from error
        try:
            with Watchdog(attempt, job.recipe.patience) as watchdog:
                return _outcome(job, watchdog)
        finally:
            attempt.unlink(missing_ok=True)


def _outcome(job: SlideJob, watchdog: Watchdog) -> Outcome:
    encoding = _encoding(job.recipe)
    watchdog.alive()  # loading an encoder may take minutes where its weights come over a network
    try:
        return _extract(job, encoding, _reporter(job, watchdog))
    except OutputRefused:
        raise
    except FOREIGN_ERRORS as error:
        words = str(error).strip()
        return Outcome(status=Status.QUARANTINED, reason=words or type(error).__name__)


def _extract(job: SlideJob, encoding: "_Encoding", report: Callable[[int, int], None]) -> Outcome:
    from napari_mtlpath.inference.plan import SlideChangedError
    from napari_mtlpath.inference.stream import embed_slide
    from napari_mtlpath.slides.open import open_slide
    from napari_mtlpath.slides.resolution import require_resolution

    slide = open_slide(job.slide, mpp=job.mpp)
    try:
        if slide.fingerprint != job.fingerprint:
            raise SlideChangedError("The file is not what it was when the run began. Run the same command again.")
        require_resolution(slide.resolution, slide=slide.name)
        reports = embed_slide(slide, encoding, readers=encoding.readers)
        while True:
            try:
                progress = next(reports)
            except StopIteration as end:
                plan, bag = end.value
                return _write(job, encoding, slide, plan, bag)
            report(progress.tiles_known, progress.tiles_total)
    finally:
        slide.close()


def _write(job: SlideJob, encoding: "_Encoding", slide: "Slide", plan: "AnalysisPlan", bag: "Bag") -> Outcome:
    from napari_mtlpath.features.h5 import write_features

    if bag.known == 0:
        raise ValueError(f"None of its {plan.total} tissue tiles could be read: copy or download the slide again.")
    indices, features = bag.contents()
    target = Path(job.target)
    try:
        write_features(
            target,
            features,
            plan.grid.corners_um(indices),
            extractor=job.recipe.extractor,
            tile_um=plan.grid.spec.tile_um,
            tile_px=plan.grid.spec.tile_px,
            attributes={
                # Nothing here may differ between two runs: no time, no machine.
                "note": f"{RESEARCH_USE_ONLY}. napari-mtlpath",
                "slide_fingerprint": job.fingerprint,
                "encoder_digest": encoding.encoder.digest,
                "recipe": job.key,
                "mpp_y": plan.grid.mpp[0],
                "mpp_x": plan.grid.mpp[1],
                "tissue_tiles": plan.total,
                "unreadable_tiles": bag.unreadable,
            },
        )
        size = target.stat().st_size
    except OSError as error:
        raise OutputRefused(
            f"{target} cannot be written ({error.strerror or error}). Check free space and permissions, then run the "
            "same command again."
        ) from error
    return Outcome(status=Status.DONE, tiles=bag.known, unreadable=bag.unreadable, size=size)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Card:
    name: str
    tile: "TileSpec"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Encoding:
    """An encoder with its tiles, as :func:`embed_slide` takes it."""

    card: _Card
    encoder: "TileEncoder"
    device: "torch.device"
    readers: int | None


@lru_cache(maxsize=1)
def _encoding(recipe: Recipe) -> _Encoding:
    """Load the encoder once per process."""
    import torch

    from napari_mtlpath.zoo.device import pick_device

    # As many as the recipe says, wherever it runs: sums depend on their number.
    torch.set_num_threads(recipe.threads)
    try:
        encoder = computed_encoder(recipe.encoder, device=recipe.device, backend=recipe.backend)
    except (OSError, ValueError, ImportError) as error:
        raise WrongEncoder(f"A worker cannot load encoder {recipe.encoder!r}: {error}") from error
    if encoder.digest != recipe.encoder_digest:
        raise WrongEncoder(
            f"A worker has another encoder {recipe.encoder!r} (digest {encoder.digest[:8]}, asked for "
            f"{recipe.encoder_digest[:8]}). Give all machines the same models folder"
            + (" and the same OpenVINO on like processors." if recipe.backend is Backend.OPENVINO else ".")
        )
    device = pick_device(recipe.device).device
    encoder.to(device)
    readers = recipe.threads if device.type == "cpu" else None
    card = _Card(name=encoder.name, tile=recipe.tile)
    return _Encoding(card=card, encoder=encoder, device=device, readers=readers)


def _reporter(job: SlideJob, watchdog: Watchdog) -> Callable[[int, int], None]:
    """Return what takes a slide's progress: it keeps the watchdog quiet and tells the client once a second."""
    worker = _worker()
    last = -REPORT_SECONDS

    def report(known: int, total: int) -> None:
        nonlocal last
        watchdog.alive()
        now = time.monotonic()
        if worker is not None and now - last >= REPORT_SECONDS:
            last = now
            worker.log_event(TOPIC, {"target": job.target, "known": known, "total": total})

    return report


def _worker() -> Any:  # noqa: ANN401  dask's worker, which has no types
    from distributed import get_worker

    try:
        return get_worker()
    except ValueError:  # called outside dask
        return None
