"""Runs the benchmarks one after the other: `python -m benchmarks [NAME...]`. Each is a process of its own.

Without names: those that take minutes. The others take hours: `display_soak` (crashes), `compare_aggregators`
(trains each aggregator on the same slides), `musk1` (trains each 50 times).
"""

import argparse
import subprocess
import sys

MINUTES = (
    "reading",
    "aggregator",
    "balancing",
    "large_bag",
    "faithfulness",
    "teach",
    "teach_viewer",
    "pipeline",
    "display",
)
HOURS = ("display_soak", "teach_soak", "compare_aggregators", "musk1")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join((*MINUTES, *HOURS))}")
    names = parser.parse_args().names or list(MINUTES)
    if unknown := sorted(set(names) - {*MINUTES, *HOURS}):
        parser.error(f"there is no benchmark {', '.join(unknown)}; known: {', '.join((*MINUTES, *HOURS))}")
    failed = []
    for name in names:
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode != 0:
            failed.append(name)
    if failed:
        print(f"These benchmarks failed: {', '.join(failed)}.", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
