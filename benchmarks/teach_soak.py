"""Cancels, pauses, resumes, finishes, switches slides and models, and closes viewers at random during trainings.

    python -m benchmarks.teach_soak --events 500

Each run is one viewer with the panel; it ends by closing the viewer, mostly in the middle of a training. Now and then a
second viewer is opened beside it, taught in, and closed. Some trainings train the encoder's last block, too. Some runs
share a process. A run fails where it raises, leaves a thread behind, or a training is found in a state it cannot leave;
a process that does not exit with 0 counts as a crash.
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
from collections import Counter
from collections.abc import Callable
from pathlib import Path

MODEL = "smear-mecds"
ROWS, COLUMNS, SLIDES = 8, 10, 3
RUNS_PER_PROCESS = 5
EVENTS_PER_RUN = 25
RUN_SECONDS_AT_MOST = 240
"""A run that takes longer hangs: it is ended with the stacks of all threads, and counts as a crash."""

WEIGHTS = {
    "cancel": 22,
    "pause": 18,
    "switch slide": 18,
    "go on": 14,
    "start": 14,
    "close slide": 4,
    "switch model": 4,
    "finish": 3,
    "discard": 3,
    "pan": 4,
    "overlay": 4,
    "second viewer": 6,
}
ENCODER_SHARE = 0.15
"""Of the trainings: those in which the encoder learns, too."""

WORDS = "soak-run "


class Run:
    """One viewer that is treated badly."""

    def __init__(self, seed: int, home: Path) -> None:
        from napari_mtlpath.zoo.load import load_model

        self.dice, self.home = random.Random(seed), home
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []
        self.parent = load_model(MODEL, device="cpu")
        self.other = load_model(MODEL, device="cpu")
        self.viewer, self.session = self.opened(self.parent)
        self.second: tuple[object, object] | None = None
        self.seconds_model = load_model(MODEL, device="cpu")

    def opened(self, model: object) -> tuple[object, object]:
        """Open a viewer with the panel, a model and the first slide; return it and its session."""
        import napari

        from napari_mtlpath.viewer.binding import session_of

        viewer = napari.Viewer(show=True)
        session = session_of(viewer)
        session.message.connect(lambda said: self.errors.append(said.text) if said.level == "error" else None)
        viewer.window.add_plugin_dock_widget("napari-mtlpath", "Pathology panel")
        session.set_model(model)
        session.open_slide(slide_path(self.home, 0))
        self.until(lambda: session.labels.place is not None and session.labels.ready)
        return viewer, session

    def play(self, events: int) -> None:
        """Do so many random things, then close the viewer wherever the training is."""
        from napari_mtlpath.session.teaching import WhenClosed

        self.do("start")
        for _ in range(events - 1):
            self.pump(self.dice.choice([0.0, 0.01, 0.05, 0.3]))
            self.do(self.dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0])
        if self.dice.random() < 0.7:
            self.do("start")
            self.pump(self.dice.uniform(0.0, 1.0))
        if self.second is not None:
            self.close_second()
        self.session.teaching.when_closed = WhenClosed.STOP
        self.counts[f"close while {self.session.teaching.view.phase}"] += 1
        self.viewer.close()
        self.until(lambda: self.session.closed and not our_threads())

    def do(self, event: str) -> None:
        """Do one thing; what the program refuses in a sentence is fine."""
        teaching = self.session.teaching
        acts: dict[str, Callable[[], object]] = {
            "start": self.start,
            "cancel": teaching.cancel,
            "pause": teaching.pause,
            "go on": teaching.go_on,
            "finish": teaching.finish,
            "discard": teaching.discard,
            "switch slide": lambda: self.session.open_slide(slide_path(self.home, self.dice.randrange(SLIDES))),
            "close slide": self.session.close_slide,
            "switch model": lambda: self.session.set_model(self.dice.choice([self.parent, self.other])),
            "pan": self.pan,
            "overlay": lambda: self.session.set_overlay(task=self.dice.choice(self.session.tasks).name),
            "second viewer": self.use_second,
        }
        self.counts[event] += 1
        try:
            acts[event]()
        except ValueError as refusal:
            self.counts["refused in a sentence"] += 1
            if not str(refusal).endswith("."):
                raise

    def start(self) -> None:
        """Start a short or a long training, or one of the encoder."""
        dice = self.dice
        settings = {"steps": dice.choice([20, 60, 400]), "refresh_every": dice.choice([2, 10])}
        if dice.random() < ENCODER_SHARE:
            self.counts["start with the encoder"] += 1
            settings = {
                "mode": "shared",
                "encoder_blocks": 1,
                "steps": dice.choice([2, 6]),
                "refresh_every": 2,
                "batch": 1,
            }
        self.session.teaching.start(settings)

    def use_second(self) -> None:
        """Open a second viewer and teach in it, or close it wherever its training is; the first goes on."""
        if self.second is None:
            self.second = self.opened(self.seconds_model)
            self.second[1].teaching.start({"steps": 400, "refresh_every": 10})
        else:
            self.close_second()

    def close_second(self) -> None:
        """Close the second viewer and see that the first one is still there."""
        viewer, session = self.second
        self.second = None
        self.counts[f"close the second while {session.teaching.view.phase}"] += 1
        viewer.close()
        self.until(lambda: session.closed)
        if self.session.closed:
            raise AssertionError("The first viewer's session ended with the second viewer.")

    def pan(self) -> None:
        """Look elsewhere."""
        self.viewer.scene.camera.center = (0, self.dice.uniform(0, 280), self.dice.uniform(0, 350))

    def pump(self, seconds: float) -> None:
        """Run the GUI loop for a while."""
        from qtpy.QtWidgets import QApplication

        end = time.monotonic() + seconds
        while True:
            QApplication.processEvents()
            if time.monotonic() >= end:
                return
            time.sleep(0.001)

    def until(self, holds: Callable[[], bool], seconds: float = 60.0) -> None:
        """Run the GUI loop until something holds."""
        end = time.monotonic() + seconds
        while not holds():
            self.pump(0.01)
            if time.monotonic() > end:
                raise TimeoutError(f"Nothing after {seconds:.0f} s; threads: {sorted(our_threads())}")


def slide_path(home: Path, number: int) -> Path:
    return home / f"made-up-{number}.tiff"


def our_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("mtlpath")}


def prepare(home: Path) -> None:
    """Write slides, embeddings and labels that all runs of a process share."""
    from benchmarks.teaching_slides import fill_store, label, write_slide
    from napari_mtlpath.session.session import Session
    from napari_mtlpath.zoo.load import load_model

    session, model = Session(), load_model(MODEL, device="cpu")
    session.set_model(model)
    session.labels.wake()
    for number in range(SLIDES):
        path = write_slide(slide_path(home, number), rows=ROWS, columns=COLUMNS, seed=number)
        rare = fill_store(session.store, path, model, seed=number)
        slide = session.open_slide(path)
        while session.labels.place is None or session.labels.place.slide is not slide or not session.labels.ready:
            time.sleep(0.01)
        label(session, rare, positives=5, negatives=10)
    session.labels.settle()
    session.close()


def child(seeds: list[int], events: int) -> None:
    """Run several seeds in this process and print one line for each."""
    home = Path(os.environ["MTLPATH_HOME"])
    prepare(home)
    for seed in seeds:
        print(WORDS + json.dumps({"start": seed}), flush=True)
        faulthandler.dump_traceback_later(RUN_SECONDS_AT_MOST, exit=True)
        run = Run(seed, home)
        run.play(events)
        faulthandler.cancel_dump_traceback_later()
        done = {"seed": seed, "counts": run.counts, "errors": run.errors, "threads_left": sorted(our_threads())}
        print(WORDS + json.dumps(done), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=500, help="at least so many; a run has 25")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--child", type=int, nargs="*")
    options = parser.parse_args()
    if options.child is not None:
        child(options.child, EVENTS_PER_RUN)
        return 0
    seeds = list(range(options.first, options.first + -(-options.events // EVENTS_PER_RUN)))
    counts: Counter[str] = Counter()
    failures: list[dict] = []
    done = 0
    while seeds:
        batch, seeds = seeds[:RUNS_PER_PROCESS], seeds[RUNS_PER_PROCESS:]
        run, results, started = _process(batch)
        done += len(results)
        for result in results:
            counts.update(result["counts"])
            if result["errors"] or result["threads_left"]:
                failures.append(result)
        if run.returncode != 0 or "Traceback" in run.stderr:
            kept = "".join(line for line in run.stderr.splitlines(True) if not line.startswith("Extension modules:"))
            failures.append({"seed": started, "returncode": run.returncode, "stderr": kept[-20_000:]})
            print(kept[-20_000:], flush=True)
            seeds = [seed for seed in batch if started is not None and seed > started and run.returncode != 0] + seeds
        print(f"{done} viewers, {sum(counts[event] for event in WEIGHTS)} events, {len(failures)} failures", flush=True)
    from benchmarks.harness import write_json

    write_json("teach_soak", viewers=done, events=dict(counts), failures=failures)
    print(json.dumps(counts, indent=1))
    return int(bool(failures))


def _process(seeds: list[int]) -> "tuple[subprocess.CompletedProcess[str], list[dict], int | None]":
    """Run seeds in a process of their own; return it, what it reports, and the seed that it was at last."""
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "NAPARI_CONFIG": str(Path(home) / "settings.yaml"), "MTLPATH_HOME": home}
        command = [sys.executable, "-X", "faulthandler", "-m", "benchmarks.teach_soak", "--child", *map(str, seeds)]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    lines = [json.loads(line.removeprefix(WORDS)) for line in run.stdout.splitlines() if line.startswith(WORDS)]
    started = [line["start"] for line in lines if "start" in line]
    return run, [line for line in lines if "counts" in line], started[-1] if started else None


if __name__ == "__main__":
    sys.exit(main())
