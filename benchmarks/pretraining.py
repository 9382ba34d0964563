"""What pre-training on a pool is worth: ``python -m benchmarks.pretraining FOLDER [--left-out bccd] [--seeds 0 1 2]``.

One set of the pool is left out, and four encoders of the same network serve its tasks as frozen features of a linear
SVM, judged once on the set's test part:

- ``untrained``: random weights.
- ``from scratch``: learned from the left-out set's own training part alone.
- ``MTDP``: pre-trained on the pool without the left-out set, task first, then image.
- ``joint``: learned from the whole pool, the left-out set's training part included.

The trained ones took the same number of steps of the same batch. Colour statistics, an encoder without weights, and
the trivial answer stand beside them. ``--train-groups`` shows the SVM and the encoders from scratch and joint no more
patients, slides or images of the left-out set than that, as where a new task is small; the others of its training part
are judged with the test part. Seeds are those of weights and sampling; the division is the same for all, so that
differences are paired. White cells of PBC are cut to the size at which the other sets show theirs, and colours are
varied more than within one laboratory, because another set is another laboratory.

With ``--adapt-norms`` every arm's batch norms take the statistics of the left-out set's training pictures first.
``--arms`` and ``--seeds`` run a part of it. A finished run is not repeated, so the same command goes on after an
interruption and adds seeds. At the end (or with ``--report``, of what there is) it prints Markdown. Needs the public
sets in MTLPATH_DATA or ../shared/data.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from napari_mtlpath.encoders.load import load_encoder
from napari_mtlpath.files import replacing
from napari_mtlpath.training.config.pool import PoolConfig
from napari_mtlpath.training.loop.job import Validation
from napari_mtlpath.training.loop.loop import Loop
from napari_mtlpath.training.pool.parts import Part
from napari_mtlpath.training.pool.pool_job import PoolJob
from napari_mtlpath.training.pool.task_pool import PoolTask, Samples, TaskPool, read_pool
from napari_mtlpath.training.transfer.linear_probe import linear_probe
from napari_mtlpath.training.transfer.new_domain import transfer_features

ARMS = ("untrained", "from scratch", "MTDP", "joint")
BASELINE = "colour statistics"
CPU = torch.device("cpu")
POOL = [
    *(
        {"name": name, "source": "wbcatt", "options": {"label": name, "crop": 0.6}}
        for name in ("cell_type", "nucleus_shape", "granule_type", "cytoplasm_vacuole", "cytoplasm_colour")
    ),
    {"name": "blood_cells", "source": "bccd"},
    {"name": "white_cells", "source": "bccd", "options": {"label": "white_cells"}},
    {"name": "red_cells", "source": "chula"},
]
NETWORK = {"model": "resnet10t", "arguments": {"channels": [16, 32, 64, 128], "stem_width": 16}}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is trained, and where results lie."""

    folder: Path
    left_out: str
    steps: int
    batch: int
    tile_px: int
    rate: float
    train_groups: int
    adapt_norms: bool
    seeds: tuple[int, ...]

    def result(self, arm: str, seed: int) -> Path:
        budget = f"{self.left_out}-{self.train_groups or 'all'}-{self.steps}x{self.batch}-{self.tile_px}px"
        kind = "-adapted" if self.adapt_norms and arm != BASELINE else ""
        return self.folder / budget / f"{arm.replace(' ', '-')}-{seed}{kind}.json"

    def training(self, arm: str, seed: int) -> Path:
        """Where the checkpoints of an arm lie, which does not depend on how its features are judged."""
        return replace(self, adapt_norms=False).result(arm, seed).with_suffix("")

    def config(self, seed: int) -> PoolConfig:
        settings = {"epochs": 1, "steps_per_epoch": self.steps, "batch": self.batch, "learning_rate": self.rate}
        return PoolConfig.model_validate(
            {
                "kind": "pool",
                "name": "benchmark",
                "seed": seed,
                "pool": POOL,
                "tile": {"tile_px": self.tile_px},
                "encoder": {"options": NETWORK},
                "augmentation": {"zoom": 0.2, "contrast": 0.25, "brightness": 0.1, "tint": 0.15},
                "optimisation": {**settings, "warmup_epochs": 0.05, "average": 0.99},
            }
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where results lie")
    parser.add_argument("--left-out", default="bccd", help="the set: wbcatt, bccd or chula")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--tile-px", type=int, default=64)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--train-groups", type=int, default=0, help="of the left-out set; 0 for all")
    parser.add_argument("--adapt-norms", action="store_true", help="batch norms by the left-out set, for all arms")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=(*ARMS, BASELINE), default=[*ARMS, BASELINE])
    parser.add_argument("--report", action="store_true", help="print what there is, train nothing")
    given = vars(parser.parse_args())
    report, arms, seeds = given.pop("report"), given.pop("arms"), tuple(given.pop("seeds"))
    plan = Plan(**given, seeds=seeds)
    if not report:
        run(plan, arms)
    print(table(plan))
    return 0


def run(plan: Plan, arms: Sequence[str]) -> None:
    pool = read_pool(plan.config(0))
    target = small(pool.only([plan.left_out]), plan.train_groups)
    for seed in plan.seeds:
        for arm in arms:
            if (arm == BASELINE and seed) or plan.result(arm, seed).is_file():
                continue
            started = time.process_time()
            network = encoder(arm, plan, pool, target, seed=seed)
            rows = probe(network, target, arm, seed=seed, adapt_norms=plan.adapt_norms)
            path = plan.result(arm, seed)
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_text(json.dumps({"rows": rows, "cpu_seconds": time.process_time() - started}))
            figures = ", ".join(f"{row['task']} {row['value']:.3f}" for row in rows)
            print(f"{path.stem}: {figures}", file=sys.stderr, flush=True)


def small(pool: TaskPool, groups: int) -> TaskPool:
    """Return a pool of which only so many training groups are known, the same ones for all tasks; others judge."""
    if not groups:
        return pool
    every = sorted({group for task in pool.tasks for group in task.parts[Part.TRAIN].groups})
    kept = set(np.random.default_rng(0).permutation(every)[:groups].tolist())
    return replace(pool, tasks=tuple(_of_groups(task, kept) for task in pool.tasks))


def _of_groups(task: PoolTask, kept: set[str]) -> PoolTask:
    train, test = task.parts[Part.TRAIN], task.parts[Part.TEST]
    known = np.array([group in kept for group in train.groups])
    added = _chosen(train, ~known)
    judged = Samples(
        pictures=test.pictures,
        items=np.concatenate([test.items, added.items]),
        labels=np.concatenate([test.labels, added.labels]),
        groups=test.groups + added.groups,
    )
    return replace(task, parts={**task.parts, Part.TRAIN: _chosen(train, known), Part.TEST: judged})


def _chosen(samples: Samples, chosen: np.ndarray) -> Samples:
    return Samples(
        pictures=samples.pictures,
        items=samples.items[chosen],
        labels=samples.labels[chosen],
        groups=tuple(group for group, one in zip(samples.groups, chosen, strict=True) if one),
    )


def encoder(arm: str, plan: Plan, pool: TaskPool, target: TaskPool, *, seed: int) -> nn.Module:
    """Return the network of one arm, in evaluation mode."""
    if arm == BASELINE:
        return load_encoder("colour-stats").module
    others = pool.without([plan.left_out])
    learned = {
        "untrained": target,
        "from scratch": target,
        "MTDP": others,
        "joint": replace(pool, tasks=(*others.tasks, *target.tasks)),
    }[arm]
    config = plan.config(seed)
    job = _LastWeights(config, learned, device=CPU)
    if arm != "untrained":
        folder = plan.training(arm, seed)
        key = f"{replace(plan, adapt_norms=False, seeds=())} {arm} {seed}"
        loop = Loop(job, config.optimisation.settings(), seed=seed, folder=folder, key=key)
        for _ in loop.run(output=folder):
            pass
    return job.module.network.eval()


class _LastWeights(PoolJob):
    """Keeps the last weights: nothing is chosen by a validation, which would cost more than the training."""

    def validate(self) -> Validation:
        return Validation(score=0.0)

    def publish(self, folder: Path, *, facts: Mapping[str, str | int | float]) -> Path:
        return folder


def probe(network: nn.Module, target: TaskPool, arm: str, *, seed: int, adapt_norms: bool) -> list[dict[str, object]]:
    """Return the linear SVM's figures on the left-out tasks; it learns from their training parts."""
    px = int(target.spec.tile_px)
    parts = (Part.TRAIN, Part.TEST)
    features = transfer_features(network, target.tasks, parts=parts, tile_px=px, device=CPU, adapt_norms=adapt_norms)
    return [
        asdict(
            linear_probe(
                task,
                {part: found[task.name] for part, found in features.items()},
                encoder=arm,
                fit=(Part.TRAIN,),
                seed=seed,
            )
        )
        for task in target.tasks
    ]


def table(plan: Plan) -> str:
    """Return what there is as Markdown: mean over seeds with their spread, and paired differences from scratch."""
    found = {
        (arm, seed): json.loads(plan.result(arm, seed).read_text())["rows"]
        for arm in (*ARMS, BASELINE)
        for seed in plan.seeds
        if plan.result(arm, seed).is_file()
    }
    if not found:
        return "No run is finished."
    tasks = [row["task"] for row in next(iter(found.values()))]
    lines = [
        "| left-out task (metric) | trivial | colour statistics | untrained | from scratch | MTDP | joint "
        "| MTDP - from scratch, by seed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for place, task in enumerate(tasks):
        rows = {key: rows[place] for key, rows in found.items()}
        first = next(iter(rows.values()))
        cells = [_cell([row["value"] for (arm, _), row in rows.items() if arm == each]) for each in (BASELINE, *ARMS)]
        both = [seed for seed in plan.seeds if ("MTDP", seed) in rows and ("from scratch", seed) in rows]
        gains = [rows["MTDP", seed]["value"] - rows["from scratch", seed]["value"] for seed in both]
        paired = f"{_cell(gains, sign='+')} ({', '.join(f'{gain:+.3f}' for gain in gains)})" if gains else ""
        lines.append(f"| {task} ({first['metric']}) | {first['floor']:.3f} | {' | '.join(cells)} | {paired} |")
    return "\n".join(lines)


def _cell(values: Sequence[float], *, sign: str = "") -> str:
    if not values:
        return ""
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):{sign}.3f}{spread}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
