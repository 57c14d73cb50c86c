"""Where the time of a finished study went: by rule, and how much of it is Python starting and importing.

    python benchmarks/jobs.py results/default [--other results/earlier] [--runs 3]

Seconds are those that Snakemake recorded for every job. Starting is measured here, alone: the imports of a rule's
script in a fresh interpreter, the median of some runs, times its jobs. With `--other`, the recorded seconds of another
run of the same study stand in a column of their own.
"""

import argparse
import ast
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


def recorded(results: Path) -> dict[str, list[float]]:
    """Seconds of every job, by rule."""
    seconds = defaultdict(list)
    for path in sorted((results / "benchmarks").rglob("*.jsonl")):
        rule = path.relative_to(results / "benchmarks").parts[0].removesuffix(".jsonl")
        seconds[rule] += [json.loads(line)["s"] for line in path.read_text().splitlines()]
    if not seconds:
        raise SystemExit(f"{results}: no records of jobs in benchmarks/: give the folder of a finished study")
    return seconds


def starting(rule: str, runs: int) -> float:
    """Seconds until the script of a rule has its imports."""
    script = SCRIPTS / f"{rule}.py"
    body = ast.parse(script.read_text()).body
    imports = "\n".join(ast.unparse(node) for node in body if isinstance(node, ast.Import | ast.ImportFrom))
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", imports], check=True)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def row(name: str, *cells: object) -> str:
    return f"| {name} | {' | '.join(map(str, cells))} |"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("results", type=Path)
    options.add_argument("--other", type=Path)
    options.add_argument("--runs", type=int, default=3)
    chosen = options.parse_args()
    jobs = recorded(chosen.results)
    others = recorded(chosen.other) if chosen.other else {}
    columns = ["jobs", *(["seconds, other"] if others else []), "seconds", "of these starting", "share of all"]
    print(row("rule", *columns) + "\n" + "|---" * (len(columns) + 1) + "|")
    total, total_starting = sum(map(sum, jobs.values())), 0.0

    def cells(count: int, other: Iterable[float], seconds: float, started: float) -> list[str]:
        before = [f"{sum(other):,.0f}"] if others else []
        return [f"{count}", *before, f"{seconds:,.0f}", f"{started:,.0f}", f"{seconds / total:.0%}"]

    for rule in sorted(jobs, key=lambda rule: -sum(jobs[rule])):
        started = len(jobs[rule]) * starting(rule, chosen.runs)
        total_starting += started
        print(row(f"`{rule}`", *cells(len(jobs[rule]), others.get(rule, []), sum(jobs[rule]), started)), flush=True)
    everything = [second for rule in others.values() for second in rule]
    print(row("all", *cells(sum(map(len, jobs.values())), everything, total, total_starting)))


if __name__ == "__main__":
    main()
