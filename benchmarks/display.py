"""Measures what a user sees and feels: black pixels, stalls, time to sharp pixels, tile reads, memory.

    python -m benchmarks.display                 # everything
    python -m benchmarks.display pan gap         # some of it
    NAPARI_ASYNC=1 python -m benchmarks.display  # in napari's asynchronous mode

Needs a display or Xvfb. Software rendering makes absolute times pessimistic; ratios and counts are what to trust.
"""

import argparse
import json
import random
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
import psutil
from qtpy.QtWidgets import QApplication

from benchmarks.harness import OUTPUT
from benchmarks.slow_slide import TILE, SlowSlide
from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.viewer.binding import binding_of
from napari_mtlpath.viewer.gui_time import GuiSpan, recorded_gui_spans
from napari_mtlpath.viewer.layers.slide_layer import SlideDisplay, display_of, slide_layer_data
from napari_mtlpath.viewer.viewport import visible_rect

WINDOW = (1280, 900)
PAN_STEPS, PAN_PIXELS, STEP_S = 30, 250, 0.04


def pump(seconds: float) -> tuple[float, float]:
    """Run the GUI loop and return the longest time that one turn of it took: wall clock, and the thread's own."""
    longest = longest_cpu = 0.0
    end = time.perf_counter() + seconds
    while True:
        start, cpu = time.perf_counter(), time.thread_time()
        QApplication.processEvents()
        longest = max(longest, time.perf_counter() - start)
        longest_cpu = max(longest_cpu, time.thread_time() - cpu)
        if time.perf_counter() >= end:
            return longest, longest_cpu
        time.sleep(0.001)


def pump_until(condition: Callable[[], bool], patience: float = 60.0) -> float:
    """Run the GUI loop until the condition holds and return how long that took."""
    start = time.perf_counter()
    while not condition():
        if time.perf_counter() - start > patience:
            raise TimeoutError(f"Still waiting after {patience} s")
        QApplication.processEvents()
        time.sleep(0.001)
    return time.perf_counter() - start


def new_viewer() -> napari.Viewer:
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*WINDOW)
    binding_of(viewer)
    pump(0.5)
    return viewer


def show(viewer: napari.Viewer, slide: Any) -> tuple[Any, SlideDisplay]:
    levels, options, _ = slide_layer_data(slide)
    layer = viewer.add_image(levels, **options)
    viewer.canvas.overlays.scale_bar.visible = False
    display = display_of(layer)
    pump_until(lambda: display.settled)
    return layer, display


def own(spans: list[GuiSpan]) -> dict[str, float]:
    """Sum up our own time in the GUI thread; a redraw is napari's, and what of it is ours is counted as a slice.

    Waiting for tiles is counted apart: the thread sleeps.
    """
    ours = sorted(span.cpu_seconds * 1e3 for span in spans if span.name not in ("refresh", "wait"))
    wall = sorted(span.seconds * 1e3 for span in spans if span.name not in ("refresh", "wait"))
    if not ours:
        return {}
    return {
        "events": len(ours),
        "cpu_ms_median": statistics.median(ours),
        "cpu_ms_p95": ours[int(0.95 * (len(ours) - 1))],
        "cpu_ms_max": ours[-1],
        "wall_ms_p95": wall[int(0.95 * (len(wall) - 1))],
        "wall_ms_max": wall[-1],
        "waited_ms_max": max((span.seconds * 1e3 for span in spans if span.name == "wait"), default=0.0),
    }


def pan() -> dict[str, Any]:
    """Pan fast over a slide whose tiles take 60 ms each, at one slide pixel per screen pixel."""
    result: dict[str, Any] = {}
    for photographed in (True, False):
        viewer = new_viewer()
        slide = SlowSlide()
        layer, display = show(viewer, slide)
        camera = viewer.scene.camera
        camera.zoom = 1 / 0.5
        camera.center = (0, 4000, 4000)
        result["sharp_s_after_a_far_jump"] = pump_until(lambda shown=display: _asked(shown) and shown.settled)
        slide.reads.clear()
        black, least = [], set()
        with recorded_gui_spans() as spans:
            for step in range(1, PAN_STEPS + 1):
                place = 4000 + step * PAN_PIXELS * 0.5
                camera.center = (0, place, place)
                longest = pump(STEP_S)
                least |= _tiles(visible_rect(viewer, layer))
                if photographed:
                    shot = viewer.screenshot(canvas_only=True, flash=False)[..., :3]
                    black.append(float((shot.max(axis=-1) == 0).mean()))
                else:
                    result["longest_turn_s"] = max(result.get("longest_turn_s", 0.0), longest[0])
            seconds = pump_until(lambda shown=display: shown.settled)
        if photographed:
            result["black_worst"] = max(black)
        else:
            result |= {"sharp_s_after_the_pan": seconds, "reads": len(slide.reads), "least_reads": len(least)}
            result["reads_over_least"] = len(slide.reads) / len(least)
            result["reads_by_level"] = dict(Counter(level for level, _, _ in slide.reads))
            result["reads_twice"] = len(slide.reads) - len(set(slide.reads))
            result["reads_outside_the_views"] = len({(r, c) for level, r, c in slide.reads if level == 0} - least)
            result["own_gui_time"] = own(spans)
        close(viewer)
    return result


def _asked(display: SlideDisplay) -> bool:
    QApplication.processEvents()
    return display.loader.view is not None and display.loader.view.level == 0


def _tiles(rect: tuple[float, float, float, float]) -> set[tuple[int, int]]:
    top, left, bottom, right = (int(edge // TILE) for edge in rect)
    return {(row, column) for row in range(top, bottom + 1) for column in range(left, right + 1)}


def gap(path: Path, rounds: int = 12) -> dict[str, Any]:
    """Compare the longest stall per move with the same pyramid held in memory, moves interleaved."""
    slide = open_slide(path)
    in_memory = [
        slide.read_region(0, 0, level.height, level.width, level=i).array for i, level in enumerate(slide.levels)
    ]
    viewers = {"ours": new_viewer(), "in memory": new_viewer()}
    show(viewers["ours"], open_slide(path))
    viewers["in memory"].add_image(
        in_memory, multiscale=True, rgb=True, contrast_limits=(0, 255), scale=slide.resolution.mpp
    )
    pump(1.0)
    dice, mpp = random.Random(0), slide.resolution.mpp[0]
    stalls: dict[str, dict[str, list[tuple[float, float]]]] = {}
    with recorded_gui_spans() as spans:
        for kind, zoom in (("pan", 1.0), ("zoom 0.3", 0.3)):
            stalls[kind] = {name: [] for name in viewers}
            for _ in range(rounds):
                place = (dice.uniform(0.3, 0.7) * slide.height * mpp, dice.uniform(0.3, 0.7) * slide.width * mpp)
                for name in dice.sample(list(viewers), 2):
                    stalls[kind][name].append(_stall(viewers[name], kind, zoom / mpp, place, mpp))
    for viewer in viewers.values():
        close(viewer)
    table: dict[str, Any] = {"own_gui_time": own(spans)}
    for kind, rows in stalls.items():
        for clock, index in (("wall", 0), ("cpu", 1)):
            medians = {name: statistics.median(row[index] for row in values) * 1e3 for name, values in rows.items()}
            table[f"{kind}, {clock}"] = {**medians, "ratio": medians["ours"] / medians["in memory"]}
    return table


def _stall(
    viewer: napari.Viewer, kind: str, zoom: float, place: tuple[float, float], mpp: float
) -> tuple[float, float]:
    """Move once and return the longest turn of the GUI loop that followed."""
    camera = viewer.scene.camera
    if kind == "pan":
        camera.zoom, camera.center = zoom, (0, *place)
        pump(0.6)
        camera.center = (0, place[0] + 200 * mpp, place[1])
    else:
        camera.zoom, camera.center = 2 * zoom, (0, *place)
        pump(0.6)
        camera.zoom = zoom
    return pump(0.4)


def final(path: Path, rounds: int = 8) -> dict[str, Any]:
    """Compare how soon the last pixels come, between two stored levels, with a dask pyramid over tiffslide."""
    import dask.array
    import tiffslide

    slide = open_slide(path)
    mpp = slide.resolution.mpp[0]
    peer = tiffslide.TiffSlide(path)
    stored = [dask.array.from_zarr(peer.zarr_group[str(level)]) for level in range(peer.level_count)]
    ours, theirs = new_viewer(), new_viewer()
    ours_layer, display = show(ours, open_slide(path))
    their_layer = theirs.add_image(
        stored, multiscale=True, rgb=True, contrast_limits=(0, 255), scale=(mpp, mpp), cache=False
    )
    pump(1.0)
    dice = random.Random(1)
    times: dict[str, list[float]] = {"ours": [], "dask over tiffslide": []}
    for _ in range(rounds):
        place = (dice.uniform(0.2, 0.8) * slide.height * mpp, dice.uniform(0.2, 0.8) * slide.width * mpp)
        sides = [("ours", ours, ours_layer), ("dask over tiffslide", theirs, their_layer)]
        for name, viewer, layer in dice.sample(sides, 2):
            times[name].append(_final(viewer, layer, display if name == "ours" else None, 0.3 / mpp, place))
    close(ours)
    close(theirs)
    medians = {name: statistics.median(values) * 1e3 for name, values in times.items()}
    spread = {f"{name} (all)": [round(value * 1e3, 1) for value in values] for name, values in times.items()}
    return {**medians, "ratio": medians["ours"] / medians["dask over tiffslide"], **spread}


def _final(viewer: Any, layer: Any, display: SlideDisplay | None, zoom: float, place: tuple[float, float]) -> float:
    camera = viewer.scene.camera
    camera.zoom = zoom / 20
    camera.center = (0, *place)
    pump(0.6)
    if display is not None:
        display.slide.cache.drop(display.slide.fingerprint)
        display.loader.forget()
    last = [0.0]

    def note(_: object = None) -> None:
        last[0] = time.perf_counter()

    layer.events.set_data.connect(note)
    start = time.perf_counter()
    camera.zoom = zoom
    pump(0.15)
    if display is not None:
        pump_until(lambda: display.settled)
    pump(0.3)
    layer.events.set_data.disconnect(note)
    return last[0] - start


def memory(path: Path, slides: int = 20) -> dict[str, Any]:
    """Open and close slides in one viewer and see what memory stays, beside that of plain layers in memory."""
    viewer = new_viewer()
    napari_alone = _growth_of_layers_in_memory(viewer, slides)
    process = psutil.Process()
    sizes, cached = [], 0
    for index in range(slides + 1):
        (layer,) = viewer.open(path, plugin="napari-mtlpath")
        display = display_of(layer)
        camera = viewer.scene.camera
        mpp = display.slide.resolution.mpp[0]
        for zoom in (0.3, 1.0, 2.0):
            camera.zoom = zoom / mpp
            pump_until(lambda shown=display: shown.settled)
            pump(0.2)
        cached = max(cached, display.slide.cache.nbytes)
        slide = display.slide
        viewer.layers.remove(layer)
        del layer, display
        pump_until(lambda gone=slide: gone.closed)
        pump(0.1)
        left = slide.cache.nbytes
        del slide
        if index in (0, slides):
            sizes.append(process.memory_info().rss)
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("mtlpath-tiles")]
    close(viewer)
    return {
        "rss_mb_after_one": sizes[0] / 2**20,
        "rss_mb_after_all": sizes[1] / 2**20,
        "growth_mb": (sizes[1] - sizes[0]) / 2**20,
        "growth_mb_of_layers_in_memory": napari_alone / 2**20,
        "cache_mb_at_most": cached / 2**20,
        "cache_bytes_left": left,
        "threads_left": len(threads),
    }


def _growth_of_layers_in_memory(viewer: napari.Viewer, layers: int) -> int:
    """Add and remove layers of one picture, as often as slides are opened, and return the bytes that napari keeps."""
    picture = np.random.default_rng(0).integers(0, 255, (8192, 8192, 3), dtype=np.uint8)
    levels = [picture[::step, ::step] for step in (1, 2, 4, 8, 16)]
    first = 0
    for index in range(layers + 1):
        layer = viewer.add_image(levels, multiscale=True, rgb=True)
        for zoom in (0.3, 1.0, 2.0):
            viewer.scene.camera.zoom = zoom
            pump(0.4)
        viewer.layers.remove(layer)
        del layer
        pump(0.2)
        if index == 0:
            first = psutil.Process().memory_info().rss
    return psutil.Process().memory_info().rss - first


def close(viewer: napari.Viewer) -> None:
    viewer.close()
    pump(0.3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=["pan", "gap", "final", "memory", []], default=[])
    parser.add_argument("--slide", type=Path, help="a slide with stored levels 1, 4, 16; s20k by default")
    options = parser.parse_args()
    chosen = options.what or ["pan", "gap", "final", "memory"]
    path = options.slide or _sample()
    results: dict[str, Any] = {"slide": path.name, "async": napari.settings.get_settings().experimental.async_}
    for name in chosen:
        results[name] = pan() if name == "pan" else {"gap": gap, "final": final, "memory": memory}[name](path)
        print(name, json.dumps(results[name], indent=1, default=str), flush=True)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "display.json").write_text(json.dumps(results, indent=1, default=str), encoding="utf-8")
    sys.exit(0)


def _sample() -> Path:
    from benchmarks.make_large_slides import large_slide
    from napari_mtlpath.samples import sample_slides

    try:
        return large_slide("s20k")
    except FileNotFoundError:
        return next(sample for sample in sample_slides() if not sample.needs_internet).path()


if __name__ == "__main__":
    main()
