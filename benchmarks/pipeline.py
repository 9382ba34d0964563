"""From slide to heatmap, whole processes: our wall and CPU time against the limit and against peers, and peak memory.

    python -m benchmarks.pipeline [--rounds 3] [--tiles 400] [--slides FOLDER]

Tiles of 1024 px become 224 px for LeViT-128S with random weights (weights do not change the time), all tiles of the
slide in order, no tissue detection on either side. The limit is what cannot be saved: decoding the file's own JPEG
tiles at a quarter of their size, and the encoder, spread over all cores. A peer runs where its Python is named, in an
environment of its own, because its requirements differ from ours:

    uv venv peers && uv pip install --python peers/bin/python lazyslide tiffslide timm
    MTLPATH_LAZYSLIDE=peers/bin/python python -m benchmarks.pipeline

Where the machine is shared, trust the CPU ratios; wall time counts the neighbours too.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Goal, write_json
from benchmarks.make_large_slides import large_slide

TILE_UM, TILE_PX, SIDE_PX = 512.0, 224, 1024
NETWORK = "levit_128s"
BATCH = 16
PEER = """
import json, resource, sys, time, warnings
warnings.filterwarnings("ignore")
path, tiles = sys.argv[1], int(sys.argv[2])
import timm, torch
import lazyslide as zs
from wsidata import open_wsi
network = timm.create_model("levit_128s", pretrained=False, num_classes=0).eval()
wsi = open_wsi(path, reader="tiffslide", store=None)
zs.pp.tile_tissues(wsi, 224, mpp=512 / 224, slide_mpp=0.5, tissue_key=None, background_filter=False)
wsi.shapes["tiles"] = wsi.shapes["tiles"].iloc[:tiles]
began, cpu = time.perf_counter(), time.process_time()
from lazyslide_models.base import get_default_transform
found = zs.tl.feature_extraction(
    wsi, network, model_name="levit", transform=get_default_transform((224, 224)), device="cpu", batch_size=16,
    pbar=False, return_features=True,
)
print(json.dumps({
    "tiles": len(found), "part_wall": time.perf_counter() - began, "part_cpu": time.process_time() - cpu,
    "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
"""


class FirstTiles:
    """A slide that shows tissue on its first tiles only, so that every program reads the same ones."""

    def __init__(self, slide: Any, tiles: int) -> None:
        self._slide = slide
        self._rows = -(-tiles // (slide.width // SIDE_PX))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._slide, name)

    def thumbnail(self, max_side: int = 1024) -> np.ndarray:
        thumbnail = np.full((self._slide.height // 64, self._slide.width // 64, 3), 250, np.uint8)
        thumbnail[: self._rows * SIDE_PX // 64] = (180, 90, 160)
        return thumbnail


def our_model() -> Any:
    """Return LeViT-128S with random weights and a small MECDS."""
    from napari_mtlpath.encoders.families.timm import Timm
    from napari_mtlpath.nn.aggregators.mecds import MECDS
    from napari_mtlpath.tasks import Classification
    from napari_mtlpath.tiles.spec import TileSpec
    from napari_mtlpath.units import Microns
    from napari_mtlpath.zoo.card import ModelCard
    from napari_mtlpath.zoo.device import pick_device
    from napari_mtlpath.zoo.model import SlideModel

    encoder = Timm.build(name="levit", options={"model": NETWORK, "tile_px": TILE_PX}, state=None)
    encoder.module.eval()
    tasks = tuple(Classification(name=name) for name in ("a", "b", "c"))
    aggregator = MECDS.build(tasks=tasks, features=encoder.features, options={})
    card = ModelCard(
        name="benchmark",
        tasks=tasks,
        encoder=encoder.name,
        encoder_sha256=encoder.digest,
        tile=TileSpec(tile_um=Microns(TILE_UM), tile_px=encoder.tile_px),
        aggregator="mecds",
        options=aggregator.options,
        licence="CC0-1.0",
    )
    return SlideModel(card=card, encoder=encoder, aggregator=aggregator, device=pick_device("cpu"))


def run_ours(path: Path, tiles: int) -> dict[str, float]:
    """Analyse the first tiles of a slide and keep the heatmaps, as ``mtlpath predict`` does."""
    from napari_mtlpath.features.store import FeatureStore
    from napari_mtlpath.inference.stream import analyse_slide
    from napari_mtlpath.slides.open import open_slide

    model, slide = our_model(), open_slide(path)
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(Path(folder) / "features.sqlite")
        began, cpu = time.perf_counter(), time.process_time()
        *_, result = analyse_slide(FirstTiles(slide, tiles), model, store=store, batch=BATCH)
        spent = time.perf_counter() - began, time.process_time() - cpu
        for (task, kind), heatmap in result.heatmaps.items():
            np.save(Path(folder) / f"{task}-{kind}.npy", heatmap.values)
        store.close()
    return {"tiles": result.tiles_known, "part_wall": spent[0], "part_cpu": spent[1], "peak_mib": _peak_mib()}


def run_limit(path: Path, tiles: int) -> dict[str, float]:
    """Return the CPU seconds per tile of what cannot be saved: scaled decoding and the encoder."""
    import simplejpeg
    import tifffile
    import torch

    torch.set_num_threads(1)
    model = our_model()
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        columns = page.imagewidth // page.tilewidth
        per_side = SIDE_PX // page.tilewidth
        handle = tiff.filehandle
        wanted = [
            (row * columns + column)
            for tile in range(tiles)
            for row in range(
                tile // (columns // per_side) * per_side, tile // (columns // per_side) * per_side + per_side
            )
            for column in range(tile % (columns // per_side) * per_side, (tile % (columns // per_side) + 1) * per_side)
        ]
        encoded = []
        for index in wanted:
            handle.seek(page.dataoffsets[index])
            encoded.append(handle.read(page.databytecounts[index]))
    least = page.tilewidth // 4
    cpu = time.process_time()
    for data in encoded:
        simplejpeg.decode_jpeg(data, "RGB", min_height=least, min_width=least, min_factor=4)
    decode = (time.process_time() - cpu) / tiles
    batch = torch.zeros(BATCH, TILE_PX, TILE_PX, 3, dtype=torch.uint8)
    with torch.inference_mode():
        model.encoder.embed(batch)
        cpu = time.process_time()
        for _ in range(max(1, tiles // BATCH)):
            model.encoder.embed(batch)
    encode = (time.process_time() - cpu) / (max(1, tiles // BATCH) * BATCH)
    return {"tiles": tiles, "decode_cpu": decode, "encode_cpu": encode}


def in_process(command: list[str]) -> dict[str, float]:
    """Run one whole process; return what it prints with its wall and CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise RuntimeError(f"{command[:3]} failed:\n{done.stderr[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**json.loads(done.stdout.strip().splitlines()[-1]), "wall": wall, "cpu": cpu}


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _own(run: str, path: Path, tiles: int) -> list[str]:
    return [sys.executable, "-m", "benchmarks.pipeline", "--run", run, "--path", str(path), "--tiles", str(tiles)]


def measure(rounds: int, tiles: int, slides: Path | None) -> None:
    small, large = large_slide("s20k", out=slides), large_slide("s60k", out=slides)
    candidates = {
        "ours": _own("ours", small, tiles),
        "limit": _own("limit", small, tiles),
        "ours, 9 x the slide": _own("ours", large, tiles),
    }
    peer = os.environ.get("MTLPATH_LAZYSLIDE")
    if peer:
        candidates["lazyslide"] = [peer, "-c", PEER, str(small), str(tiles)]
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, command in candidates.items():
            runs[name].append(in_process(command))
            print(
                f"{name:20} {json.dumps({key: round(value, 4) for key, value in runs[name][-1].items()})}", flush=True
            )
    goals = _goals(runs)
    for goal in goals:
        print(goal)
    print(write_json("pipeline", goals=goals, runs=runs, rounds=rounds, tiles=tiles))


def _goals(runs: dict[str, list[dict[str, float]]]) -> list[Goal]:
    def ratio(value: Callable[[int], float]) -> float:
        return statistics.median(value(number) for number in range(len(runs["ours"])))

    def shortest(number: int) -> float:
        limit = runs["limit"][number]
        cores = len(os.sched_getaffinity(0))
        return limit["tiles"] * (limit["decode_cpu"] + limit["encode_cpu"]) / cores

    def least_cpu(number: int) -> float:
        limit = runs["limit"][number]
        return limit["tiles"] * (limit["decode_cpu"] + limit["encode_cpu"])

    ours, large = runs["ours"], runs["ours, 9 x the slide"]
    goals = [
        Goal(
            name="throughput over the limit, wall",
            value=ratio(lambda number: shortest(number) / ours[number]["part_wall"]),
            limit=0.80,
            at_most=False,
        ),
        Goal(
            name="throughput over the limit, CPU",
            value=ratio(lambda number: least_cpu(number) / ours[number]["part_cpu"]),
            limit=0.80,
            at_most=False,
        ),
        Goal(
            name="peak memory, slide of 9 times the pixels over the small one",
            value=ratio(lambda number: large[number]["peak_mib"] / ours[number]["peak_mib"]),
            limit=1.2,
        ),
    ]
    if "lazyslide" in runs:
        theirs = runs["lazyslide"]
        for name, key, limit in (
            ("whole process over LazySlide, wall", "wall", 0.15),
            ("whole process over LazySlide, CPU", "cpu", 0.15),
            ("reading and encoding over LazySlide, fp32 eager on both sides, CPU", "part_cpu", 0.5),
            ("peak memory over LazySlide", "peak_mib", 0.25),
        ):
            value = ratio(lambda number, key=key: ours[number][key] / theirs[number][key])  # type: ignore[misc]
            goals.append(Goal(name=name, value=value, limit=limit))
    return goals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tiles", type=int, default=400, help="how many tiles, a multiple of 20 up to 400")
    parser.add_argument("--slides", type=Path, default=None, help="folder of the large slides; made there if missing")
    parser.add_argument("--run", choices=["ours", "limit"], help="one measurement in this process, printed as JSON")
    parser.add_argument("--path", type=Path, help="the slide of --run")
    arguments = parser.parse_args()
    if arguments.run is None:
        measure(arguments.rounds, arguments.tiles, arguments.slides)
        return
    run = run_ours if arguments.run == "ours" else run_limit
    print(json.dumps(run(arguments.path, arguments.tiles)))


if __name__ == "__main__":
    main()
