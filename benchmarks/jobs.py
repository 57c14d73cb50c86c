"""Where the time of a finished study went: by rule, and how much of it is Python starting and importing.

    python benchmarks/jobs.py results/default [--runs 3]

Seconds are those that Snakemake recorded for every job. Starting is measured here, alone: the imports of a rule's
script in a fresh interpreter, the median of some runs, times its jobs.
"""

import argparse
import ast
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

from headwise.planning.rates import benchmark_files, read_benchmark

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


def starting(rule: str, runs: int) -> float:
    """Seconds until the script of a rule has its imports."""
    body = ast.parse((SCRIPTS / f"{rule}.py").read_text(encoding="utf-8")).body
    imports = "\n".join(ast.unparse(node) for node in body if isinstance(node, ast.Import | ast.ImportFrom))
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", imports], check=True)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("results", type=Path)
    options.add_argument("--runs", type=int, default=3)
    chosen = options.parse_args()
    jobs: dict[str, list[float]] = defaultdict(list)
    for rule, _, path in benchmark_files(chosen.results):
        jobs[rule].append(read_benchmark(path)["s"])
    total, total_starting = sum(map(sum, jobs.values())), 0.0
    print("| rule | jobs | seconds | of these starting | share of all |\n" + "|---" * 5 + "|")
    for rule, seconds in sorted(jobs.items(), key=lambda item: -sum(item[1])):
        started = len(seconds) * starting(rule, chosen.runs)
        total_starting += started
        taken = sum(seconds)
        print(f"| `{rule}` | {len(seconds)} | {taken:,.0f} | {started:,.0f} | {taken / total:.0%} |", flush=True)
    print(f"| all | {sum(map(len, jobs.values()))} | {total:,.0f} | {total_starting:,.0f} | 100% |")


if __name__ == "__main__":
    main()
