"""Small stand-ins for a slide, a model and an analysis, for tests of the session and of the docks."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np

from napari_mtlpath.slides.resolution import Resolution, ResolutionSource
from napari_mtlpath.tasks import Classification, Regression
from napari_mtlpath.tiles.spec import TileSpec

TASKS = (
    Classification(name="basophils", title="Basophils", question="Are there basophils?", classes=("absent", "present")),
    Regression(name="neutrophils", title="Neutrophils", question="What share are neutrophils?", unit="share"),
)


class FakeSlide:
    """What the session and the docks use of a slide; counts how often it is closed."""

    def __init__(self, fingerprint="a" * 64, *, name="a.svs", mpp=(0.5, 0.5), detail="", shape=(4000, 6000)):
        source = ResolutionSource.FILE if mpp is not None else ResolutionSource.UNKNOWN
        self.resolution = Resolution(mpp=mpp, source=source, detail=detail or "The file says so.")
        self.fingerprint, self.name, self.path = fingerprint, name, Path(name)
        self.height, self.width = shape
        self.levels = tuple(
            SimpleNamespace(height=shape[0] >> n, width=shape[1] >> n, downsample=(2.0**n, 2.0**n), stored=n == 0)
            for n in range(4)
        )
        self.facts = SimpleNamespace(
            format="aperio", mpp_origin="", properties={}, warnings=(), associated={"label": (300, 400)}
        )
        self.unreadable_tiles = 0
        self.closings = 0
        self.changed = None

    @property
    def closed(self):
        return self.closings > 0

    def with_resolution(self, resolution):
        self.resolution = resolution

    def changed_on_disk(self):
        return self.changed

    def thumbnail(self, max_side=1024):
        height = max(1, round(max_side * self.height / max(self.height, self.width)))
        width = max(1, round(max_side * self.width / max(self.height, self.width)))
        return np.full((height, width, 3), 200, np.uint8)

    def associated(self, name):
        return np.full((30, 40, 3), 90, np.uint8)

    def close(self):
        self.closings += 1


def fake_model(name="model", *, tasks=TASKS, tile_um=48.0, made_for="simulated blood smears"):
    """A model that knows its tasks and its card."""
    card = SimpleNamespace(
        name=name,
        title=name.title(),
        summary="A model for tests.",
        tasks=tasks,
        tile=TileSpec(tile_um=tile_um, tile_px=96),
        made_for=made_for,
        encoder="colour_stats",
        licence="CC0-1.0",
        limits="None known.",
        metrics={},
        provenance={},
        folder=Path(name),
    )
    return SimpleNamespace(card=card, tasks=tasks, digest=name, device=SimpleNamespace(type="cpu"))


def fake_result(slide, model, *, known=3, total=12, shape=(3, 4), kinds=("routing", "attention")):
    """A result that says which slide and model it belongs to."""
    values = np.full(shape, np.nan, np.float32)
    values.flat[:known] = np.linspace(0.2, 1.8, known)
    heatmaps = {
        (task.name, kind): SimpleNamespace(task=task.name, kind=kind, values=values, grid=None)
        for task in model.tasks
        for kind in kinds
    }
    tasks = tuple(
        SimpleNamespace(
            task=task,
            value=0.25,
            class_values=(0.75, 0.25),
            calibrated=False,
            word=word,
            possible=None,
            scope="slide",
            areas_mm2=(),
        )
        for task, word in zip(model.tasks, ("score", "value"), strict=False)
    )
    return SimpleNamespace(
        tasks=tasks,
        tiles_known=known,
        tiles_total=total,
        unreadable=0,
        complete=known == total,
        region_level=known != total,
        model_name=model.card.name,
        model_digest=model.digest,
        slide_name=slide.name,
        slide_fingerprint=slide.fingerprint,
        heatmaps=heatmaps,
        offered=frozenset(heatmaps),
        painting=None,
        selected={},
    )


def fake_report(slide, model, *, state="running", message="", **result):
    """A report on `slide` with `model`."""
    found = fake_result(slide, model, **result)
    return SimpleNamespace(
        generation=0,
        result=found,
        visible_known=2,
        visible_total=4,
        tiles_known=found.tiles_known,
        tiles_total=found.tiles_total,
        tiles_per_second=31.0,
        queue=5,
        device="cpu",
        state=state,
        message=message,
    )


class FakeAnalysis:
    """An analysis that reports without pause from a thread of its own until it is closed."""

    alive: ClassVar[set["FakeAnalysis"]] = set()

    def __init__(self, slide, model, on_report, *, talk=True):
        self.slide, self.model, self.on_report = slide, model, on_report
        self.calls = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._talk, daemon=True) if talk else None
        FakeAnalysis.alive.add(self)
        if self._thread is not None:
            self._thread.start()

    def _talk(self):
        while not self._stop.wait(0.0005):
            self.on_report(fake_report(self.slide, self.model))

    def look_at(self, *rect):
        self.calls.append(("look_at", rect))

    def can_preview(self, model):
        return True

    def preview(self, model):
        self.calls.append(("preview", model))

    def explain(self, wanted):
        self.calls.append(("explain", wanted))

    def pause(self):
        self.calls.append("pause")

    def resume(self):
        self.calls.append("resume")

    def rerun(self):
        self.calls.append("rerun")

    def close(self, timeout=None):
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout)
        self.calls.append("close")
        FakeAnalysis.alive.discard(self)


class FakeStore:
    """A store that only knows whether it was closed."""

    def __init__(self):
        self.closed = False

    def close(self):
        self.closed = True
