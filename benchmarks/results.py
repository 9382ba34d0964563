"""The tables of docs/results.md: ``python -m benchmarks.results ablation|extension|methods FOLDER``.

Simulated slides from real cells (``benchmarks.make_simulated_cohort``): 300 patients to learn from (240 train, 60
choose the epoch) and 100 patients to judge for each witness rate, one slide of ``--side`` x ``--side`` cells each,
three tasks. The cohort is the same for all runs; seeds are those of the networks and of the order of the slides.

- ``ablation``: MECDS without routing, with routing, and as a student by Kullback-Leibler divergence and by asymmetric
  distillation from the teacher beside it, which learned from a class-balanced draw; gated attention and mean pooling.
- ``extension``: a base pair of tasks, then a third taught to it in isolation and with everything learning, beside all
  three learned at once; and how many bits of the base pair's answers changed.
- ``methods``: the joint transformer with the balancing methods named by ``--methods``.

A run that is finished is not trained again, so the same command goes on after an interruption, and adds seeds. At the
end (or with ``--report``, of what there is) it prints the tables in Markdown and writes ``mtlpath compare``'s report.
Needs the public archive of cells (pbc_wbcatt_trainval_96.zip) in MTLPATH_DATA or ../shared/data. Each process computes
on one thread.
"""

import argparse
import json
import multiprocessing
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import make_simulated_cohort
from benchmarks.extension_run import ISOLATED, SHARED, teach_third_task
from napari_mtlpath.evaluation.comparison import Comparison, Judged, TaskComparison, compare, group_runs
from napari_mtlpath.evaluation.judge import JudgeOptions
from napari_mtlpath.evaluation.prediction_files import CARD, read_predictions
from napari_mtlpath.evaluation.predictions import Predictions
from napari_mtlpath.evaluation.report.files import write_comparison
from napari_mtlpath.evaluation.report.numbers import p_value, with_interval
from napari_mtlpath.folders import patients_folder
from napari_mtlpath.training.config.train_config import parse_config
from napari_mtlpath.training.train import train

BASE_TASKS = ("basophils", "neutrophil_share")
MECDS = {"width": 96, "heads": 4, "blocks": 1, "feedforward": 2, "mixing": "none", "dropout": 0.0}
JOINT = MECDS | {"encoder_layers": 1, "decoder_layers": 1}
del JOINT["blocks"]
METHODS = tuple(
    "+".join(part for part in (losses, gradients) if part)
    for losses in ("equal", "dwa", "uncert", "autol")
    for gradients in ("", "graddrop", "pcgrad", "cagrad")
)
"""The sixteen of the published comparison."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of a table: what differs from the cohort's own config."""

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    needs: str = ""
    """Name of the row that must be trained first: the teacher, or the base pair."""
    extension: str = ""


def ablation() -> list[Entry]:
    def student(kind: str) -> dict[str, Any]:
        return {"aggregator.options": MECDS, "distillation": {"kind": kind, "teacher": "teacher"}}

    return [
        Entry(name="no-routing", changes={"aggregator.options": MECDS | {"routing": "off"}}),
        Entry(name="routing", changes={"aggregator.options": MECDS}),
        Entry(name="teacher", changes={"aggregator.options": MECDS, "sampling": {"bags": "balanced"}}),
        Entry(name="routing-kl", changes=student("kl"), needs="teacher"),
        Entry(name="routing-akd", changes=student("akd"), needs="teacher"),
        Entry(name="abmil", changes={"aggregator": {"name": "abmil", "options": {"width": 96, "dropout": 0.0}}}),
        Entry(name="mean-pool", changes={"aggregator": {"name": "mean_pool", "options": {}}}),
    ]


def extension() -> list[Entry]:
    return [
        Entry(name="all-three", changes={"aggregator.options": MECDS}),
        Entry(name="base-pair", changes={"aggregator.options": MECDS, "data.tasks": BASE_TASKS}),
        Entry(name="isolated", needs="base-pair", extension=ISOLATED),
        Entry(name="shared", needs="base-pair", extension=SHARED),
    ]


def methods(names: Sequence[str]) -> list[Entry]:
    network = {"aggregator": {"name": "joint_transformer", "options": JOINT}}
    # A row's name is that of a model folder, too, which may hold no plus.
    return [Entry(name=name.replace("+", "-"), changes=network | {"balancing": {"method": name}}) for name in names]


BASELINES = {"ablation": "no-routing", "extension": "all-three", "methods": "equal"}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a command makes, and where."""

    table: str
    folder: Path
    entries: tuple[Entry, ...]
    seeds: tuple[int, ...]
    epochs: int

    @property
    def cohort(self) -> Path:
        return self.folder / "cohort"

    def output(self, entry: str, seed: int) -> Path:
        return self.folder / self.table / f"seed-{seed}" / entry

    def is_finished(self, entry: str, seed: int) -> bool:
        return (patients_folder(self.output(entry, seed)) / CARD).is_file()


def main() -> None:
    arguments = _arguments()
    plan = _plan(arguments)
    if not arguments.report:
        if not (plan.cohort / "train.toml").is_file():
            _make_cohort(plan.cohort, arguments)
        _train_all(plan, arguments.processes)
    for text in report(plan, rates=tuple(arguments.rates)):
        sys.stdout.write(text + "\n")


def _plan(arguments: argparse.Namespace) -> Plan:
    made = {"ablation": ablation, "extension": extension, "methods": lambda: methods(arguments.methods)}
    entries = tuple(made[arguments.table]())
    if arguments.only:
        entries = tuple(entry for entry in entries if entry.name in arguments.only)
    return Plan(
        table=arguments.table,
        folder=arguments.folder.resolve(),
        entries=entries,
        seeds=tuple(arguments.seeds),
        epochs=arguments.epochs,
    )


def _make_cohort(folder: Path, arguments: argparse.Namespace) -> None:
    rates = [str(rate) for rate in arguments.rates]
    learned = [str(rate) for rate in arguments.train_rates]
    patients = ["--train", "240", "--selection", "60", "--test", str(100 * len(rates)), "--slides", "1"]
    cells = ["--side", str(arguments.side), "--witness-rate", *learned, "--test-rate", *rates, "--seed", "1"]
    make_simulated_cohort.main([str(folder), *patients, *cells])


def _train_all(plan: Plan, processes: int) -> None:
    """Train what is missing, seed by seed, so that an interruption leaves whole tables of fewer seeds."""
    missing = [(e, s) for s in plan.seeds for e in plan.entries if not plan.is_finished(e.name, s)]
    # Rows that others need come first within their seed, so that these find them.
    missing.sort(key=lambda job: (plan.seeds.index(job[1]), bool(job[0].needs)))
    waves: dict[tuple[int, bool], list[tuple[Plan, Entry, int]]] = {}
    for entry, seed in missing:
        waves.setdefault((seed, bool(entry.needs)), []).append((plan, entry, seed))
    started, done = time.monotonic(), 0
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for wave in waves.values():
            for words in pool.imap_unordered(_train_one, wave):
                done += 1
                minutes = (time.monotonic() - started) / 60
                left = minutes / done * (len(missing) - done)
                sys.stderr.write(f"{done} of {len(missing)}: {words}; {minutes:.0f} min, about {left:.0f} left\n")
                sys.stderr.flush()


def _train_one(job: tuple[Plan, Entry, int]) -> str:
    plan, entry, seed = job
    torch.set_num_threads(1)
    started = time.process_time()
    output, runs = plan.output(entry.name, seed), plan.folder / "checkpoints" / plan.table / f"seed-{seed}"
    tables = config_tables(plan, entry, seed)
    if entry.extension:
        base = plan.output(entry.needs, seed)
        words = teach_third_task(tables, base, output, mode=entry.extension, data=plan.cohort, runs=runs)
    else:
        words = ""
        for made in train(parse_config(tables), output=output, runs=runs, data=(plan.cohort,)):
            words = f"best epoch {made.best_epoch} of {made.epochs}"
    return f"{entry.name}, seed {seed}: {words}, {time.process_time() - started:.0f} s of CPU"


def config_tables(plan: Plan, entry: Entry, seed: int) -> dict[str, Any]:
    """Return the cohort's config with an entry's changes."""
    tables = deepcopy(tomllib.loads((plan.cohort / "train.toml").read_text(encoding="utf-8")))
    tables |= {"name": entry.name, "seed": seed}
    tables["optimisation"]["epochs"] = plan.epochs
    for key, value in entry.changes.items():
        table = tables
        *parents, last = key.split(".")
        for parent in parents:
            table = table[parent]
        table[last] = [t for t in table[last] if t["name"] in value] if key == "data.tasks" else deepcopy(value)
    if entry.needs and not entry.extension:
        tables["distillation"]["teacher"] = str(plan.output(entry.needs, seed))
    return tables


def report(plan: Plan, *, rates: Sequence[float]) -> Iterator[str]:
    """Write the comparison for each witness rate, and yield it in Markdown."""
    about = json.loads((plan.cohort / "simulation.json").read_text(encoding="utf-8"))
    split = json.loads((plan.cohort / "split.json").read_text(encoding="utf-8"))
    kept = tuple(about["settings"]["test_rates"])
    found = [
        (entry, seed, read_predictions(plan.output(entry.name, seed)))
        for entry in plan.entries
        for seed in plan.seeds
        if plan.is_finished(entry.name, seed)
    ]
    if not found:
        raise SystemExit(f"Expected finished runs below {plan.folder / plan.table}; found none. Leave out --report.")
    baseline = BASELINES[plan.table]
    names = [entry.name for entry, _, _ in found]
    for rate in rates:
        if rate not in kept:
            raise SystemExit(f"The cohort in {plan.cohort} has test slides at {kept}; found the rate {rate}.")
        # The test patients come in pairs, a negative and a positive one, and the rates in turns.
        chosen = {p for n, p in enumerate(split["test"]) if kept[(n // 2) % len(kept)] == rate}
        judged = [
            Judged(test=restricted(parts["test"], chosen), selection=parts.get("selection")) for _, _, parts in found
        ]
        comparison = compare(
            group_runs(judged), baseline=baseline if baseline in names else None, options=JudgeOptions(draws=1000)
        )
        folder = plan.folder / f"{plan.table}-{rate:g}"
        write_comparison(folder, comparison)
        yield f"\nWitness rate {rate:g} (all figures: {folder / 'comparison.md'})\n\n{summary(comparison)}"
    proofs = sorted((plan.folder / plan.table).glob("seed-*/*/proof.json"))
    for path in proofs:
        proof = json.loads(path.read_text(encoding="utf-8"))
        yield f"{path.parent.parent.name}/{path.parent.name}: {proof['statement']}"


def summary(comparison: Comparison) -> str:
    """Return each task's main figure by run, and p of the difference to the baseline after Holm, in Markdown."""
    head = [f"{task.task.name}, {task.main}" for task in comparison.tasks]
    lines = [f"| run | seeds | {' | '.join(head)} |", "|---" * (len(head) + 2) + "|"]
    for run, repeats in comparison.runs.items():
        cells = [_cell(task, run) for task in comparison.tasks]
        lines.append(f"| {run} | {repeats} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"p: against `{comparison.baseline}`, paired, after Holm over all rows and tasks."])


def _cell(task: TaskComparison, run: str) -> str:
    figures = task.cells.get(run, {})
    if task.main not in figures:
        return "-"
    p = task.adjusted.get(run, {}).get(task.main)
    return with_interval(figures[task.main]) + (f", p {p_value(p)}" if p is not None else "")


def restricted(predictions: Predictions, patients: set[str]) -> Predictions:
    """Return the answers for some patients only."""
    return predictions.only(np.isin(predictions.patients, sorted(patients)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=("ablation", "extension", "methods"))
    parser.add_argument("folder", type=Path, help="for the cohort and everything that is made")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.01, 0.005], help="witness rates of test slides")
    parser.add_argument(
        "--train-rates",
        type=float,
        nargs="+",
        default=[0.01, 0.1],
        help="rate, or range of them, of slides to learn from",
    )
    parser.add_argument("--side", type=int, default=20, help="cells along each side of a slide")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="for the table of that name")
    parser.add_argument("--only", nargs="+", default=[], help="names of rows")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="train nothing; tables of what is there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
