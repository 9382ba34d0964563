"""Opens, pans, switches, removes and closes slides at random, in both of napari's slicing modes, and counts crashes.

    python -m benchmarks.display_soak --runs 200

Each run is one viewer; some runs share a process, and a process that dies counts as one crash of the run it was at.
A run fails too where it raises or leaves a thread behind.
"""

import argparse
import faulthandler
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

RUNS_PER_PROCESS = 10
RUN_SECONDS_AT_MOST = 180
"""A run that takes longer hangs: it is ended with the stacks of all threads, and counts as a crash."""

WORDS = "soak-run "


def one_run(seed: int, files: list[Path]) -> dict:
    """Drive one viewer at random and return what went wrong."""
    import napari
    from qtpy.QtWidgets import QApplication

    from napari_mtlpath.viewer.binding import session_of

    dice = random.Random(seed)
    before = _our_threads()

    def pump(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(0.001)

    viewer = napari.Viewer(show=True)
    session = session_of(viewer)
    viewer.open(dice.choice(files), plugin="napari-mtlpath")
    steps = []
    for _ in range(dice.randint(10, 40)):
        step = dice.choices(
            ["pan", "zoom", "wait", "switch", "remove", "hide", "resize", "async open"],
            weights=[40, 20, 15, 6, 3, 5, 3, 3],
        )[0]
        steps.append(step)
        _do(step, viewer, session, files, dice)
        pump(dice.choice([0.0, 0.005, 0.03]))
    viewer.close()
    end = time.monotonic() + 15
    while time.monotonic() < end and (not session.closed or _our_threads() > before):
        pump(0.02)
    return {
        "seed": seed,
        "steps": len(steps),
        "closed": session.closed,
        "threads_left": sorted(_our_threads() - before),
    }


def _do(step: str, viewer: object, session: object, files: list[Path], dice: random.Random) -> None:
    camera = viewer.scene.camera
    slides = [layer for layer in viewer.layers if "slide" in layer.metadata]
    match step:
        case "pan":
            camera.center = (0, dice.uniform(0, 1500), dice.uniform(0, 1200))
        case "zoom":
            camera.zoom = 2 ** dice.uniform(-3, 3)
        case "switch":
            viewer.open(dice.choice(files), plugin="napari-mtlpath")
        case "remove" if slides:
            viewer.layers.remove(slides[0])
        case "hide" if slides:
            slides[0].visible = not slides[0].visible
        case "resize":
            viewer.window.resize(dice.randint(700, 1500), dice.randint(500, 950))
        case "async open":
            path = dice.choice(files)
            threading.Thread(target=lambda: session.open_slide(path), daemon=True).start()


def _our_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("mtlpath")}


def child(seeds: list[int], files: list[Path]) -> None:
    """Run several seeds in this process and print one line for each."""
    for seed in seeds:
        print(WORDS + json.dumps({"start": seed}), flush=True)
        faulthandler.dump_traceback_later(RUN_SECONDS_AT_MOST, exit=True)
        print(WORDS + json.dumps(one_run(seed, files)), flush=True)
        faulthandler.cancel_dump_traceback_later()


def parent(runs: int, mode: str, files: list[Path], first: int) -> dict:
    """Run all seeds in child processes of one slicing mode and sum up."""
    crashes, failures, done = [], [], 0
    seeds = list(range(first, first + runs))
    while seeds:
        batch, seeds = seeds[:RUNS_PER_PROCESS], seeds[RUNS_PER_PROCESS:]
        with tempfile.TemporaryDirectory() as home:
            environment = {
                **os.environ,
                "NAPARI_ASYNC": mode,
                "NAPARI_CONFIG": str(Path(home) / "settings.yaml"),
                "MTLPATH_HOME": home,
            }
            command = [
                sys.executable,
                "-X",
                "faulthandler",
                "-m",
                "benchmarks.display_soak",
                "--child",
                *map(str, batch),
            ]
            command += [word for file in files for word in ("--file", str(file))]
            run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        lines = [json.loads(line.removeprefix(WORDS)) for line in run.stdout.splitlines() if line.startswith(WORDS)]
        results = [line for line in lines if "closed" in line]
        done += len(results)
        failures += [line for line in results if not line["closed"] or line["threads_left"]]
        if run.returncode != 0:
            started = [line["start"] for line in lines if "start" in line]
            at = started[-1] if started else batch[0]
            crashes.append({"seed": at, "returncode": run.returncode, "stderr": run.stderr[-4000:]})
            seeds = [seed for seed in batch if seed > at] + seeds
        elif "Traceback" in run.stderr:
            failures.append({"seeds": batch, "stderr": run.stderr[-4000:]})
        for crash in crashes[-1:] if run.returncode else []:
            print(crash["stderr"], flush=True)
        print(f"async={mode}: {done} runs done, {len(crashes)} crashes, {len(failures)} failures", flush=True)
    return {"mode": mode, "runs": done + len(crashes), "crashes": crashes, "failures": failures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--mode", choices=["0", "1"], action="append", help="NAPARI_ASYNC; both by default")
    parser.add_argument("--file", type=Path, action="append", help="a slide; the samples by default")
    parser.add_argument("--child", type=int, nargs="*")
    options = parser.parse_args()
    if options.child is not None:
        child(options.child, options.file)
        return
    from benchmarks.harness import OUTPUT
    from napari_mtlpath.samples import sample_slides

    files = options.file or [sample.path() for sample in sample_slides() if not sample.needs_internet][:3]
    results = [parent(options.runs, mode, files, options.first) for mode in options.mode or ["0", "1"]]
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "display_soak.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    for result in results:
        counts = f"{len(result['crashes'])} crashes, {len(result['failures'])} failures"
        print(f"async={result['mode']}: {result['runs']} runs, {counts}")
    sys.exit(any(result["crashes"] or result["failures"] for result in results))


if __name__ == "__main__":
    main()
