"""What a study costs, for people and for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich import box
from rich.table import Table

from headwise.planning.estimate import Row, misfits, shared, total
from headwise.planning.plan import Plan
from headwise.planning.rates import SNAKEMAKE_SECONDS
from headwise.runtime.cluster import Cluster

CAPTION = (
    "processor, GPU: hours, or minutes, of one core and of one GPU; the total has "
    f"{SNAKEMAKE_SECONDS:g} s per job for Snakemake itself. "
    "memory: the most that a job asks for, at its first attempt; on Slurm short jobs share one that asks for more "
    "(--cluster slurm/cluster.yaml). disk: what stays, and what is fetched. "
    "GPUs are counted at 20 teraflops, not measured."
)
UNKNOWN = (
    " ?: nothing is known of the work of {rules}, whose time the total leaves out; "
    "--measured results/NAME takes it from a run."
)


def cost_table(plan: Plan, rows: Sequence[Row], whole: Row) -> Table:
    """One line per rule, and their total."""
    unknown = [row.rule for row in rows if row.processor_hours is None]
    caption = CAPTION + (UNKNOWN.format(rules=", ".join(unknown)) if unknown else "")
    table = Table(title=plan.study.title or plan.study.name, caption=caption, box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("stage", no_wrap=True)
    table.add_column("rule", no_wrap=True)
    for heading in ("jobs", "processor", "GPU", "memory MB", "disk MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    stage = ""
    for row in [*rows, whole]:
        if row is whole:
            table.add_section()
        table.add_row(
            row.stage if row.stage != stage else "",
            row.rule,
            f"{row.jobs:,}",
            _hours(row.processor_hours),
            _hours(row.gpu_hours),
            f"{row.memory_mb:,}" if row.memory_mb else "–",
            f"{row.disk_mb:,.1f}" if row.disk_mb < 100 else f"{row.disk_mb:,.0f}",
        )
        stage = row.stage
    return table


def on_cluster(plan: Plan, cluster: Cluster) -> str:
    """What jobs of a cluster ask for that run several of the table's, and which of the table's do not fit there."""
    lines = [f"one Slurm job for {what}: {memory_mb:,} MB" for what, memory_mb in shared(plan, cluster).items()]
    if too_much := misfits(plan, cluster):
        lines += ["", f"What no partition of {cluster} has room for:", *(f"  {each}" for each in too_much)]
    else:
        lines.append(f"Every job fits on a partition of {cluster}.")
    return "\n".join(lines)


def as_json_text(plan: Plan, rows: Sequence[Row], cluster: Cluster | None = None) -> str:
    """The study's name, its rules, and their total; with a cluster what shares its jobs, and what does not fit."""
    content: dict[str, object] = {
        "study": plan.study.name,
        "rules": [asdict(row) for row in rows],
        "total": {key: value for key, value in asdict(total(rows)).items() if key not in ("stage", "rule")},
    }
    if cluster:
        content["cluster"] = {"shared_memory_mb": shared(plan, cluster), "does_not_fit": misfits(plan, cluster)}
    return json.dumps(content, indent=2, allow_nan=False)


def _hours(hours: float | None) -> str:
    if hours is None:
        return "?"
    if hours == 0:
        return "–"
    if hours < 1:
        return f"{60 * hours:.1f} min"
    return f"{hours:,.1f} h" if hours < 100 else f"{hours:,.0f} h"
