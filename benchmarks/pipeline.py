"""From slide to heatmap, whole processes: our wall and CPU time against the limit and against peers, and peak memory.

    python -m benchmarks.pipeline [--rounds 3] [--tiles 400] [--slides FOLDER]

Tiles of 1024 px become 224 px for LeViT-128S with random weights (weights do not change the time), all tiles of the
slide in order, no tissue detection on either side. The encoder runs through OpenVINO where it is installed, and once
more in torch. The limit is what cannot be saved: decoding the file's own JPEG tiles at a quarter of their size, and the
encoder, spread over all cores. Where both sides compute the same encoder in torch, what this limit comes to beside the
peer is printed with the goal ("floor"). Before anything is timed, one run of 20 tiles converts the encoder and the
aggregator for OpenVINO and compiles them, as a user's first run does; what it cost is printed and written beside the
ratios. From then on our process imports no torch. A peer runs where its Python is named, in an environment of its own,
because its requirements differ from ours (for WSInfer see ``benchmarks.peer_wsinfer``):

    uv venv peers && uv pip install --python peers/bin/python lazyslide tiffslide timm
    MTLPATH_LAZYSLIDE=peers/bin/python MTLPATH_WSINFER=wsinfer/bin/python python -m benchmarks.pipeline

Where the machine is shared, trust the CPU ratios; wall time counts the neighbours too.
"""

import argparse
import importlib.util
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

from benchmarks import peer_wsinfer
from benchmarks.harness import OUTPUT, Goal, write_json
from benchmarks.pipeline_model import SIDE_PX, TILE_PX, prepared_model

BATCH = 16
HOME = OUTPUT / "pipeline"
"""Where the model and its compiled form are kept between runs."""

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


def our_model(backend: str) -> Any:
    """Load the benchmark's model as ``mtlpath predict`` loads a model."""
    from napari_mtlpath.cli.isolation import loading_only
    from napari_mtlpath.cli.prediction import load_beside_readers

    with loading_only():
        return load_beside_readers(prepared_model(HOME / "models"), device="cpu", backend=backend)


def run_ours(path: Path, tiles: int, backend: str) -> dict[str, float]:
    """Analyse the first tiles of a slide and keep the heatmaps, as ``mtlpath predict`` does."""
    model = our_model(backend)
    from napari_mtlpath.features.store import FeatureStore
    from napari_mtlpath.inference.stream import analyse_slide
    from napari_mtlpath.slides.open import open_slide

    slide = open_slide(path)
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(Path(folder) / "features.sqlite")
        began, cpu = time.perf_counter(), time.process_time()
        *_, result = analyse_slide(FirstTiles(slide, tiles), model, store=store)
        spent = time.perf_counter() - began, time.process_time() - cpu
        for (task, kind), heatmap in result.heatmaps.items():
            np.save(Path(folder) / f"{task}-{kind}.npy", heatmap.values)
        store.close()
    return {"tiles": result.tiles_known, "part_wall": spent[0], "part_cpu": spent[1], "peak_mib": _peak_mib()}


def run_imports() -> dict[str, float]:
    """Return what a process costs that has imported torch and done nothing: no predictor that uses it is below that."""
    import torch

    return {"tiles": torch.get_num_threads(), "peak_mib": _peak_mib()}


def run_limit(path: Path, tiles: int, backend: str) -> dict[str, float]:
    """Return the CPU seconds per tile of what cannot be saved: scaled decoding and the encoder."""
    import simplejpeg
    import tifffile
    import torch

    torch.set_num_threads(1)  # OpenVINO, too, takes as many threads as torch
    model = our_model(backend)
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
    batch = np.zeros((BATCH, TILE_PX, TILE_PX, 3), np.uint8)
    model.encoder.embed_pixels(batch)
    cpu = time.process_time()
    for _ in range(max(1, tiles // BATCH)):
        model.encoder.embed_pixels(batch)
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


def _own(run: str, path: Path, tiles: int, backend: str) -> list[str]:
    command = [sys.executable, "-m", "benchmarks.pipeline", "--run", run, "--path", str(path)]
    return [*command, "--tiles", str(tiles), "--backend", backend]


def _peers(path: Path, tiles: int) -> dict[str, list[str]]:
    peers = {}
    if lazyslide := os.environ.get("MTLPATH_LAZYSLIDE"):
        peers["LazySlide"] = [lazyslide, "-c", PEER, str(path), str(tiles)]
    if wsinfer := os.environ.get("MTLPATH_WSINFER"):
        network = HOME / "wsinfer.pt"
        if not network.is_file():
            subprocess.run([wsinfer, peer_wsinfer.__file__, "--trace", str(network)], check=True)
        peers["WSInfer"] = [wsinfer, peer_wsinfer.__file__, str(path), str(tiles), str(network)]
    return peers


def measure(rounds: int, tiles: int, slides: Path | None) -> None:
    from benchmarks.make_large_slides import large_slide

    small, large = large_slide("s20k", out=slides), large_slide("s60k", out=slides)
    HOME.mkdir(parents=True, exist_ok=True)
    backend = "openvino" if importlib.util.find_spec("openvino") is not None else "torch"
    candidates = {
        "ours": _own("ours", small, tiles, backend),
        "limit": _own("limit", small, tiles, backend),
        "ours, 9 x the slide": _own("ours", large, tiles, backend),
        "ours, torch": _own("ours", small, tiles, "torch"),
        "limit, torch": _own("limit", small, tiles, "torch"),
        "import torch": _own("imports", small, tiles, "torch"),
        **_peers(small, tiles),
    }
    first = in_process(_own("ours", small, 20, backend))  # makes the model and its compiled form
    print(
        f"first run, converting and compiling: {first['wall']:.1f} s wall, {first['cpu']:.1f} s CPU; backend {backend}"
    )
    runs: Runs = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, command in candidates.items():
            runs[name].append(in_process(command))
            print(
                f"{name:20} {json.dumps({key: round(value, 4) for key, value in runs[name][-1].items()})}", flush=True
            )
    goals = _goals(runs)
    for goal in goals:
        print(goal)
    print(write_json("pipeline", goals=goals, runs=runs, rounds=rounds, tiles=tiles, first_run=first))


Runs = dict[str, list[dict[str, float]]]
"""By candidate, what each round has printed."""


def _goals(runs: Runs) -> list[Goal]:
    goals = []
    for ours, limit in (("ours", "limit"), ("ours, torch", "limit, torch")):
        for key in ("part_wall", "part_cpu"):
            value = _median(runs, lambda n, o=ours, x=limit, k=key: _least(runs, x, k, n) / runs[o][n][k])
            name = f"{ours}: throughput over the limit, {key.removeprefix('part_')}"
            goals.append(Goal(name=name, value=value, limit=0.80, at_most=False))
    large = _median(runs, lambda n: runs["ours, 9 x the slide"][n]["peak_mib"] / runs["ours"][n]["peak_mib"])
    goals.append(Goal(name="peak memory, slide of 9 times the pixels over the small one", value=large, limit=1.2))
    for peer, shortest, smallest in (("LazySlide", 0.15, 0.25), ("WSInfer", 0.20, 0.5)):
        if peer in runs:
            goals += _beside(runs, peer, shortest=shortest, smallest=smallest)
    return goals


def _beside(runs: Runs, peer: str, *, shortest: float, smallest: float) -> list[Goal]:
    def over(ours: str, key: str) -> float:
        return _median(runs, lambda n: runs[ours][n][key] / runs[peer][n][key])

    goals = [
        Goal(name=f"whole process over {peer}, {key}", value=over("ours", key), limit=shortest)
        for key in ("wall", "cpu")
    ]
    for key in ("part_wall", "part_cpu"):
        floor, alone = (
            _median(runs, lambda n, p=parts, k=key: _least(runs, "limit, torch", k, n, parts=p) / runs[peer][n][k])
            for parts in (("decode_cpu", "encode_cpu"), ("encode_cpu",))
        )
        name = f"reading and encoding over {peer}, torch fp32 on both sides, {key.removeprefix('part_')}"
        name = f"{name} (floor {floor:.3f}, encoder alone {alone:.3f})"
        goals.append(Goal(name=name, value=over("ours, torch", key), limit=0.5))
    goals.append(Goal(name=f"peak memory over {peer}", value=over("ours", "peak_mib"), limit=smallest))
    beyond = _median(runs, lambda n: _beyond(runs, "ours", n) / _beyond(runs, peer, n))
    goals.append(Goal(name=f"peak memory beyond importing torch over {peer}", value=beyond, limit=smallest))
    return goals


def _median(runs: Runs, value: Callable[[int], float]) -> float:
    return statistics.median(value(number) for number in range(len(runs["ours"])))


def _least(
    runs: Runs, limit: str, key: str, number: int, *, parts: tuple[str, ...] = ("decode_cpu", "encode_cpu")
) -> float:
    """Return the seconds of wall or CPU time that parts of the limit take for all tiles."""
    run = runs[limit][number]
    cores = len(os.sched_getaffinity(0)) if key == "part_wall" else 1
    return run["tiles"] * sum(run[part] for part in parts) / cores


def _beyond(runs: Runs, name: str, number: int) -> float:
    return runs[name][number]["peak_mib"] - runs["import torch"][number]["peak_mib"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tiles", type=int, default=400, help="how many tiles, a multiple of 20 up to 400")
    parser.add_argument("--slides", type=Path, default=None, help="folder of the large slides; made there if missing")
    parser.add_argument("--run", choices=["ours", "limit", "imports"], help="one measurement here, printed as JSON")
    parser.add_argument("--path", type=Path, help="the slide of --run")
    parser.add_argument("--backend", default="torch", help="what computes the encoder of --run: torch or openvino")
    arguments = parser.parse_args()
    if arguments.run is None:
        measure(arguments.rounds, arguments.tiles, arguments.slides)
        return
    os.environ["MTLPATH_HOME"] = str(HOME)
    match arguments.run:
        case "ours":
            found = run_ours(arguments.path, arguments.tiles, arguments.backend)
        case "limit":
            found = run_limit(arguments.path, arguments.tiles, arguments.backend)
        case _:
            found = run_imports()
    print(json.dumps(found))
    if arguments.run == "ours":  # as the process in which `mtlpath predict` works
        from napari_mtlpath.cli.isolation import leave

        leave()


if __name__ == "__main__":
    main()
