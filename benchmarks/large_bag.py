"""One training step on a large bag: ``python -m benchmarks.large_bag [NAME...] [--tiles 50000] [--limit-gib 16]``.

50,000 tiles of 768 features, 3 tasks, published widths, AdamW, on the CPU, each aggregator in a process of its own: the
peak of its resident memory over the whole life of the process (torch itself, the bag, weights, gradients and the
optimiser's state included) and the processor time of a step. Full mixing is left out: its memory is linear too, but its
time is not (--full takes it in; about half a minute per layer and core, forward alone).
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import Goal, write_json
from napari_mtlpath.tasks import Classification, Regression
from napari_mtlpath.training.losses.supervised import task_losses
from napari_mtlpath.zoo.aggregators import AGGREGATORS

FEATURES = 768
TASKS = (
    Classification(name="witness"),
    Classification(name="grade", classes=("low", "middle", "high")),
    Regression(name="share"),
)
LABELS = torch.tensor([[1.0, 2.0, 0.3]])

WAYS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "mecds, landmark": ("mecds", {"mixing": "landmark"}),
    "mecds, none": ("mecds", {"mixing": "none"}),
    "mecds, landmark, one block": ("mecds", {"mixing": "landmark", "blocks": 1}),
    "joint_transformer, landmark": ("joint_transformer", {"mixing": "landmark"}),
    "joint_transformer, none": ("joint_transformer", {"mixing": "none"}),
    "transmil": ("transmil", {}),
    "dsmil": ("dsmil", {}),
    "clam_sb": ("clam_sb", {}),
    "abmil": ("abmil", {}),
}
FULL: Mapping[str, tuple[str, dict[str, Any]]] = {
    "mecds, full": ("mecds", {}),
    "joint_transformer, full": ("joint_transformer", {}),
}


def peak_gib() -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 2**20


def measure(way: str, tiles: int) -> None:
    """Print peak memory and processor time of one training step (run in a child of :func:`measured`)."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    name, options = {**WAYS, **FULL}[way]
    model = AGGREGATORS.load(name).build(tasks=TASKS, features=FEATURES, options=options).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
    bag = torch.randn(tiles, FEATURES)
    start = time.process_time()
    output = model(bag)
    losses = task_losses(TASKS, {name: answer.logits[None] for name, answer in output.tasks.items()}, LABELS)
    loss = torch.stack(list(losses.values())).mean()
    loss.backward()
    optimiser.step()
    print(json.dumps({"peak_gib": peak_gib(), "cpu_s": time.process_time() - start, "loss": float(loss)}))


def measured(way: str, tiles: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.large_bag", "--measure", way, "--tiles", str(tiles)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {'; '.join({**WAYS, **FULL})}")
    parser.add_argument("--tiles", type=int, default=50_000)
    parser.add_argument("--limit-gib", type=float, default=16.0)
    parser.add_argument("--full", action="store_true", help="full mixing too")
    parser.add_argument("--measure", help="only measure one way, in this process")
    chosen = parser.parse_args()
    if chosen.measure:
        measure(chosen.measure, chosen.tiles)
        return
    known = {**WAYS, **FULL}
    if unknown := sorted(set(chosen.names) - set(known)):
        parser.error(f"there is no {'; '.join(unknown)}; known: {'; '.join(known)}")
    names = chosen.names or [*WAYS, *(FULL if chosen.full else ())]
    figures, goals = {}, []
    for way in names:
        figures[way] = measured(way, chosen.tiles)
        goals.append(Goal(name=f"{way}, GiB", value=figures[way]["peak_gib"], limit=chosen.limit_gib))
        print(f"{goals[-1]}; {figures[way]['cpu_s']:.1f} s of one core", flush=True)
    print(write_json("large_bag", goals=goals, tiles=chosen.tiles, features=FEATURES, figures=figures))


if __name__ == "__main__":
    main()
