"""Live segmentation of the visible field: our time against the network's own forward passes over the same tiles.

    python -m benchmarks.pixel_live [--slide PATH] [--model NAME] [--tile 128] [--rounds 3] [--attention]

A slide model of pixels looks at a field of 1,500 x 1,500 px of a real slide. Ours: from the moment of the look until
every tile in view is answered, blended, counted and in memory, as in the viewer, with reading, overlap and everything
else. The limit: the network alone over the same windows, already read, in batches of 16, on as many threads as the live
analysis gives it. With ``--attention`` somebody looks at maps of attention, and both sides make them; without, neither
does. Without ``--model`` the network is a CTAN on a ResNet-18 with random weights: weights do not change the time.
Where the machine is shared, trust the CPU ratio; wall time counts the neighbours too.
"""

import argparse
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.harness import OUTPUT, Goal, write_json
from napari_mtlpath.inference.encode import compute_threads
from napari_mtlpath.inference.live_report import LiveReport
from napari_mtlpath.inference.pixels.answering import read_window
from napari_mtlpath.inference.pixels.live import PixelAnalysis
from napari_mtlpath.inference.pixels.plan import lattice_for
from napari_mtlpath.slides.cache import TileCache
from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.tasks import Classification, Segmentation
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.zoo.pixel_card import PixelCard
from napari_mtlpath.zoo.pixel_load import PIXEL_NETWORKS, load_pixel_model, save_pixel_model

BATCH = 16
FIELD_PX = 1500
LIMIT = 1.3
TASKS = (
    Segmentation(name="cell_parts", classes=("background", "cytoplasm", "nucleus")),
    Classification(name="cell_type", classes=("a", "b", "c", "d")),
)


def random_model(folder: Path, *, tile_px: int, mpp: float) -> Any:
    """Return a CTAN on a ResNet-18 with random weights, loaded as any model is."""
    network = PIXEL_NETWORKS.load("ctan").build(
        tasks=TASKS, options={"backbone": "resnet18"}, generator=torch.Generator().manual_seed(0)
    )
    card = PixelCard(
        name="random",
        tasks=TASKS,
        tile=TileSpec(tile_um=tile_px * mpp, tile_px=tile_px),
        network="ctan",
        options=network.options,
        licence="CC0-1.0",
    )
    save_pixel_model(folder / "random", card, network.state_dict())
    return load_pixel_model(folder / "random", device="cpu")


def live(slide: Any, model: Any, field: tuple[float, float, float, float], *, attention: bool) -> dict[str, float]:
    """Return wall and CPU seconds from the look until all of the field is known, and how many windows it took."""
    ready, known, last = threading.Event(), threading.Event(), []
    inside = lattice_for(slide, model).grid.tiles_in(*field).tolist()

    def hear(report: LiveReport) -> None:
        last[:] = [report]
        if report.tiles_total:
            ready.set()
        if report.result is None or report.result.painting is None:
            return
        # Every tile of the view is answered, and no seam waits for a neighbour.
        shown = report.result.painting.attention if attention else report.result.painting.maps
        painted = shown.known.sum() >= report.tiles_known and not shown.unfinished(inside)
        if report.visible_known >= report.visible_total > 0 and painted:
            known.set()

    analysis = PixelAnalysis(slide, model, on_report=hear, idle_after=1e9)
    analysis.explain(attention)
    ready.wait()
    began, cpu = time.perf_counter(), time.process_time()
    analysis.look_at(*field)
    known.wait()
    spent = {"wall": time.perf_counter() - began, "cpu": time.process_time() - cpu, "tiles": last[0].tiles_known}
    analysis.close()
    return spent


def forward(model: Any, windows: np.ndarray, tiles: int, *, attention: bool) -> dict[str, float]:
    """Return wall and CPU seconds of the network alone over so many windows."""
    with compute_threads(model.device), torch.inference_mode():
        batches = [torch.from_numpy(windows[first : first + BATCH]) for first in range(0, len(windows), BATCH)]
        model.network(batches[0], explain=attention)
        began, cpu = time.perf_counter(), time.process_time()
        done = 0
        while done < tiles:
            batch = batches[(done // BATCH) % len(batches)][: tiles - done]
            model.network(batch, explain=attention)
            done += len(batch)
        return {"wall": time.perf_counter() - began, "cpu": time.process_time() - cpu}


def measure(path: Path, *, model_name: str | None, tile_px: int, rounds: int, attention: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        slide = open_slide(path)
        mpp = slide.resolution.mpp
        if mpp is None:
            raise SystemExit(f"{path} does not say how large a pixel is; name another slide.")
        if model_name is not None:
            model = load_pixel_model(model_name, device="cpu")
        else:
            model = random_model(Path(folder), tile_px=tile_px, mpp=mpp[0])
        lattice = lattice_for(slide, model)
        middle = slide.height / 2, slide.width / 2
        half = FIELD_PX / 2
        field = (middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half)
        inside = lattice.grid.tiles_in(*field)
        windows = np.stack([read_window(slide, lattice, int(index)) for index in inside[: 4 * BATCH]])
        runs = []
        for _ in range(rounds):
            slide.close()
            slide = open_slide(path, cache=TileCache())  # nothing decoded yet
            ours = live(slide, model, field, attention=attention)
            limit = forward(model, windows, int(ours["tiles"]), attention=attention)
            runs.append({"ours": ours, "limit": limit})
            print(f"ours {ours}  network {limit}")
        slide.close()
    ratios = {
        clock: statistics.median(run["ours"][clock] / run["limit"][clock] for run in runs) for clock in ("cpu", "wall")
    }
    overlap = (lattice.window_px / lattice.core_px) ** 2
    print(f"{len(inside)} tiles in the field; windows overlap: {overlap:.2f} x the pixels of the cores")
    goals = [
        Goal(name=f"live segmentation over the network's forward passes, {clock}", value=ratio, limit=LIMIT)
        for clock, ratio in ratios.items()
    ]
    print(*goals, sep="\n")
    write_json("pixel_live", goals=goals, runs=runs, overlap=overlap, slide=path.name, attention=attention)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slide", type=Path, required=True)
    parser.add_argument("--model")
    parser.add_argument("--tile", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--attention", action="store_true")
    given = parser.parse_args()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    measure(given.slide, model_name=given.model, tile_px=given.tile, rounds=given.rounds, attention=given.attention)
