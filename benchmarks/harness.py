"""Fair comparisons: candidates run interleaved, in random order, and are reported as ratios with their spread."""

import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

OUTPUT = Path(__file__).parents[1] / "build" / "bench"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Seconds of one candidate, one value per round, and what it returned last."""

    name: str
    cpu: tuple[float, ...]
    wall: tuple[float, ...]
    result: Any = field(default=None, repr=False)

    @property
    def cpu_median(self) -> float:
        return statistics.median(self.cpu)

    @property
    def wall_median(self) -> float:
        return statistics.median(self.wall)


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """One candidate's time over another's, round by round: median and quartiles."""

    median: float
    p25: float
    p75: float

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.p25:.3f} to {self.p75:.3f})"


@dataclass(frozen=True, kw_only=True)
class Table:
    """What `compare` measured.

    Examples
    --------
    >>> table = compare({"slow": lambda: sum(range(20000)), "fast": lambda: sum(range(200))}, rounds=5)
    >>> table.ratio("fast", "slow").median < 0.5
    True
    """

    measurements: Mapping[str, Measurement]

    def ratio(self, name: str, reference: str, *, clock: str = "cpu") -> Ratio:
        """Return `name` over `reference` by the clock ``"cpu"`` or ``"wall"``."""
        mine, other = getattr(self.measurements[name], clock), getattr(self.measurements[reference], clock)
        ratios = [a / b for a, b in zip(mine, other, strict=True)]
        return Ratio(median=statistics.median(ratios), p25=_quantile(ratios, 0.25), p75=_quantile(ratios, 0.75))

    def show(self, reference: str) -> str:
        """Return the table as text, everything relative to `reference`."""
        width = max(len(name) for name in self.measurements)
        lines = [f"{'':{width}}  cpu ms    wall ms   cpu ratio to {reference} (p25 to p75)"]
        for name, row in self.measurements.items():
            times = f"{row.cpu_median * 1e3:8.2f}  {row.wall_median * 1e3:8.2f}"
            lines.append(f"{name:{width}}  {times}   {self.ratio(name, reference)}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Return medians and all rounds."""
        return {
            name: {
                "cpu_median_s": row.cpu_median,
                "wall_median_s": row.wall_median,
                "cpu_s": row.cpu,
                "wall_s": row.wall,
            }
            for name, row in self.measurements.items()
        }


def compare(candidates: Mapping[str, Callable[[], Any]], *, rounds: int = 9, warmup: int = 1, seed: int = 0) -> Table:
    """Run all candidates `rounds` times, interleaved and each round in another order.

    Parameters
    ----------
    candidates
        What to run, by name. CPU time counts all threads of this process.
    rounds, warmup
        Measured rounds, and rounds before them that do not count.
    seed
        Of the order.
    """
    order = random.Random(seed)  # shuffling, not secrets
    names = list(candidates)
    cpu: dict[str, list[float]] = {name: [] for name in names}
    wall: dict[str, list[float]] = {name: [] for name in names}
    results: dict[str, Any] = {}
    for number in range(-warmup, rounds):
        order.shuffle(names)
        for name in names:
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            results[name] = candidates[name]()
            cpu_time, wall_time = time.process_time() - cpu_start, time.perf_counter() - wall_start
            if number >= 0:
                cpu[name].append(cpu_time)
                wall[name].append(wall_time)
    return Table(
        measurements={
            name: Measurement(name=name, cpu=tuple(cpu[name]), wall=tuple(wall[name]), result=results[name])
            for name in candidates
        }
    )


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One figure beside what it should be."""

    name: str
    value: float
    limit: float
    at_most: bool = True

    @property
    def reached(self) -> bool:
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def __str__(self) -> str:
        sign = "<=" if self.at_most else ">="
        return f"{'ok  ' if self.reached else 'MISS'} {self.name}: {self.value:.3f} (goal {sign} {self.limit:g})"


def write_json(
    name: str, *, goals: list[Goal] | None = None, tables: Mapping[str, Table] | None = None, **facts: Any
) -> Path:
    """Write figures to ``build/bench/<name>.json`` with the machine they were measured on, and return the path."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    path = OUTPUT / f"{name}.json"
    content = {
        "name": name,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "goals": [asdict(goal) | {"reached": goal.reached} for goal in goals or []],
        "tables": {key: table.as_json() for key, table in (tables or {}).items()},
        **facts,
    }
    path.write_text(json.dumps(content, indent=1, default=str), encoding="utf-8")
    return path


def machine() -> dict[str, Any]:
    """Return what figures depend on: processor, cores, load, Python."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        named = [line for line in info.read_text(encoding="utf-8").splitlines() if line.startswith("model name")]
        model = named[0].split(":", 1)[1].strip() if named else model
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"processor": model, "cores": os.cpu_count(), "load_1min": load, "python": platform.python_version()}


def _quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
