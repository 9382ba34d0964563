"""What a step with a gradient method costs: ``python -m benchmarks.balancing [--rounds 5]``.

One optimisation step (forward, gradients, AdamW) of a MECDS with several tasks on a bag of 400 and of 2,000 tiles, per
method relative to equal weights in the same run, and to the floor of the exact form: a plain backward pass per task
(everything in turn into ``.grad``). At the level of the shared representation the trunk is passed once. Peak memory is
that of processes of their own for each method, above the process before its first step; the median of three, because
the memory that an allocator keeps differs from run to run.
"""

import argparse
import gc
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.harness import Goal, Table, compare, write_json
from napari_mtlpath.balancing.balancer import GRADIENTS, parse
from napari_mtlpath.nn.aggregators.mecds import MECDS
from napari_mtlpath.tasks import Classification
from napari_mtlpath.training.losses.supervised import task_loss
from napari_mtlpath.training.step.update import Update

FEATURES = 384
OPTIONS = {"width": 256, "heads": 4}  # otherwise the defaults: two blocks, full mixing, routed experts
FEW, MANY = 400, 2000  # tiles
TASKS = {FEW: (2, 3, 6, 10), MANY: (2, 6, 10)}
SLOW = ("equal", "plain", "pcgrad", "upgrad", "graddrop", "upgrad at the representation")  # what is run on many tiles
PLAIN = "plain"
LEVELS = ("parameters", "representation")
PROCESSES = 3  # whose peaks are measured
Step = Callable[[], None]


class Training:
    """A model, a bag and an optimizer, as in a training of a MECDS with its default options."""

    def __init__(self, tasks: int, tiles: int) -> None:
        torch.manual_seed(0)
        self.tasks = [Classification(name=f"task {place}") for place in range(tasks)]
        self.model = MECDS.build(tasks=self.tasks, features=FEATURES, options=OPTIONS).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-5)
        self.bag = torch.randn(tiles, FEATURES)
        self.labels = torch.tensor([place % 2 for place in range(tasks)]).float()

    def losses(self) -> dict[str, Tensor]:
        answers = self.model(self.bag).tasks
        return {
            task.name: task_loss(task, answers[task.name].logits[None], self.labels[place : place + 1])
            for place, task in enumerate(self.tasks)
        }

    def stepped(self, gradients: Callable[[], object]) -> Step:
        def step() -> None:
            torch.manual_seed(1)  # every candidate drops and routes alike
            self.optimizer.zero_grad(set_to_none=True)
            gradients()
            self.optimizer.step()

        return step

    def by(self, method: str, level: str = LEVELS[0]) -> Step:
        update = Update(self.model, parse(method, tasks=[task.name for task in self.tasks]), level=level)

        def gradients() -> None:
            with update.recording():
                losses = self.losses()
            update.backward(losses)

        return self.stepped(gradients)

    def plain_passes(self) -> Step:
        """One plain backward pass per task: the floor of every method that needs all task gradients."""

        def gradients() -> None:
            losses = list(self.losses().values())
            for place, loss in enumerate(losses):
                loss.backward(retain_graph=place + 1 < len(losses))

        return self.stepped(gradients)


def candidates(training: Training, wanted: Sequence[str] | None) -> dict[str, Step]:
    steps = {"equal": training.by("equal"), PLAIN: training.plain_passes()}
    for method in GRADIENTS.names():
        steps[method] = training.by(method)
    for method in ("mgda", "upgrad"):
        steps[f"{method} at the representation"] = training.by(method, LEVELS[1])
    return {name: step for name, step in steps.items() if wanted is None or name in wanted}


def peak_mib() -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024


def resident_mib() -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) / 1024


def measure_peak(method: str, level: str, tasks: int, tiles: int) -> None:
    """Print what three steps add to this process, and its whole peak (run in a child of :func:`peak_of`)."""
    training = Training(tasks, tiles)
    step = training.by(method, level)
    gc.collect()
    before = resident_mib()
    for _ in range(3):
        step()
    print(peak_mib() - before, peak_mib())


def peak_of(method: str, level: str, tasks: int, tiles: int) -> tuple[float, float]:
    arguments = ["--peak", method, "--level", level, "--tasks", str(tasks), "--tiles", str(tiles)]
    command = [sys.executable, "-m", "benchmarks.balancing", *arguments]
    runs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(PROCESSES)]
    added, whole = zip(*(map(float, said.split()) for said in runs), strict=True)
    return statistics.median(added), statistics.median(whole)


def peaks(tasks: int, tiles: int) -> dict[str, tuple[float, float]]:
    wanted = {"equal": ("equal", LEVELS[0]), "graddrop": ("graddrop", LEVELS[0]), "upgrad": ("upgrad", LEVELS[0])}
    wanted["upgrad at the representation"] = ("upgrad", LEVELS[1])
    return {name: peak_of(method, level, tasks, tiles) for name, (method, level) in wanted.items()}


def goals_of(tables: dict[str, Table], memory: dict[str, dict[str, tuple[float, float]]]) -> list[Goal]:
    goals = []
    for name, table in tables.items():
        gramian = [method for method in table.measurements if method in GRADIENTS.names() and method != "graddrop"]
        typical = statistics.median(table.ratio(method, PLAIN).median for method in gramian)
        goals.append(
            Goal(name=f"{name}: Gramian methods (median) over a plain pass per task", value=typical, limit=1.05)
        )
        if name.startswith("6 tasks"):
            cost = table.ratio("upgrad at the representation", "equal").median
            goals.append(Goal(name=f"{name}: upgrad at the representation over equal", value=cost, limit=1.5))
    methods = {method for table in tables.values() for method in table.measurements} & set(GRADIENTS.names())
    for method in sorted(methods - {"graddrop"}):
        typical = statistics.median(t.ratio(method, PLAIN).median for t in tables.values() if method in t.measurements)
        goals.append(Goal(name=f"{method} over a plain pass per task, median of all sizes", value=typical, limit=1.05))
    for name, peak in memory.items():
        for method in ("upgrad", "upgrad at the representation"):
            ratio = peak[method][0] / peak["equal"][0]
            goals.append(Goal(name=f"{name}: peak memory added by {method} over equal", value=ratio, limit=1.5))
    return goals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tasks", type=int, nargs="+", help="of 2, 3, 6, 10; all by default")
    parser.add_argument("--tiles", type=int, nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--only", nargs="+", metavar="NAME", help="of the candidates, all by default")
    parser.add_argument("--peak", help="only measure the peak memory of one method, in this process")
    parser.add_argument("--level", choices=LEVELS, default=LEVELS[0])
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.peak:
        measure_peak(chosen.peak, chosen.level, chosen.tasks[0], chosen.tiles[0])
        return
    tables, memory = {}, {}
    for tiles in chosen.tiles:
        for tasks in chosen.tasks or TASKS[tiles]:
            name = f"{tasks} tasks, {tiles} tiles"
            steps = candidates(Training(tasks, tiles), chosen.only or (SLOW if tiles == MANY else None))
            table = tables[name] = compare(steps, rounds=chosen.rounds)
            print(f"\n{name}\n{table.show('equal')}", flush=True)
            floors = {method: table.ratio(method, PLAIN) for method in steps if method in GRADIENTS.names()}
            print("over a plain pass per task: " + ", ".join(f"{method} {ratio}" for method, ratio in floors.items()))
            if tasks >= 6:
                memory[name] = peaks(tasks, tiles)
                told = ", ".join(
                    f"{method} {added:.0f} ({whole:.0f})" for method, (added, whole) in memory[name].items()
                )
                print(f"peak memory added (whole process), MiB: {told}", flush=True)
    goals = goals_of(tables, memory)
    print(*goals, sep="\n")
    print(write_json("balancing", goals=goals, tables=tables, peaks_mib=memory))


if __name__ == "__main__":
    main()
