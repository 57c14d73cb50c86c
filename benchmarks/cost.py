"""What `headwise cost` said of a study beside what its run took, rule by rule, as a table in Markdown.

    python benchmarks/cost.py config/config.yaml results/default

Processor minutes are those of Snakemake's benchmarks, where the last look at a job may be 30 s before its end: the time
after it is taken to go on as before. Rules without a file of their own in the list OUTPUTS write what is small.
"""

import argparse
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from headwise.planning.estimate import Row, estimate, total
from headwise.planning.plan import Plan
from headwise.planning.rates import RATES, benchmark_files, processor_seconds, read_benchmark

OUTPUTS = {
    "build_corpus": ["corpus"],
    "build_grammar": ["grammar"],
    "train_tokenizer": ["tokenizer"],
    "extract_attention": ["attention", "statistics"],
    "evaluate_specialization": ["specialization/*/seed*"],
    "compare_pair": ["specialization/*/comparison.parquet"],
    "measure_variants": ["variants"],
    "probe_refits": [f"stability/*/{name}*" for name in ("random", "outputs", "residual", "importance")],
    "perturb_model": ["noise"],
    "recurse_model": ["recursion"],
    "aggregate": ["tables", "results.json"],
    "draw_figures": ["figures"],
    "write_report": ["report.html"],
}


def megabytes(results: Path, patterns: list[str]) -> float:
    """Files that match, and those below folders that do."""
    found = [path for pattern in patterns for path in results.glob(pattern)]
    files = {file for path in found for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()}
    return sum(file.stat().st_size for file in files) / 1e6


def line(row: Row, records: list[dict[str, float]], disk: float | None) -> str:
    minutes = sum(map(processor_seconds, records)) / 60
    estimated = "?" if row.processor_hours is None else f"{60 * row.processor_hours:.1f}"
    memory = max((record["max_rss"] for record in records), default=0) * 2**20 / 1e6
    real_disk = "" if disk is None else f"{disk:.1f}"
    return (
        f"| `{row.rule}` | {row.jobs} | {estimated} | {minutes:.1f} | "
        f"{row.memory_mb} | {memory:.0f} | {row.disk_mb:.1f} | {real_disk} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("results", type=Path)
    chosen = parser.parse_args()
    plan = Plan([chosen.study])
    rows = estimate(plan, RATES)
    records: dict[str, list[dict[str, float]]] = defaultdict(list)
    for rule, _, path in benchmark_files(chosen.results):
        records[rule].append(read_benchmark(path))
    made = {"train": "train_model", "align": "align_model"}
    disk = {rule: megabytes(chosen.results, patterns) for rule, patterns in OUTPUTS.items()}
    for source, rule in made.items():
        names = [model.name for model in plan.study.models if model.source == source]
        disk[rule] = megabytes(chosen.results, [f"models/{name}" for name in names])
    print("| rule | jobs | processor min | real | memory asked, MB | real | disk MB | real |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(line(row, records[row.rule], disk.get(row.rule)))
    everything = [record for each in records.values() for record in each]
    whole = replace(total(rows), rule="all rules", processor_hours=sum(row.processor_hours or 0 for row in rows))
    print(line(whole, everything, megabytes(chosen.results, ["*"])))


if __name__ == "__main__":
    main()
