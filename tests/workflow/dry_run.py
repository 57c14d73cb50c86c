"""What a dry run of Snakemake prints, read."""

import re


def job_counts(dry_run: str) -> dict[str, int]:
    """The table of rules and jobs."""
    table = dry_run.split("Job stats:")[1].split("total")[0]
    return {rule: int(count) for rule, count in re.findall(r"^(\w+)\s+(\d+)\s*$", table, re.MULTILINE)}


def most_memory(dry_run: str) -> dict[str, int]:
    """The most memory that a job of each rule asks for, in MB; rules that ask for none are left out."""
    most: dict[str, int] = {}
    for rule, memory in re.findall(r"rule (\w+):\n(?: +.*\n)*? +resources: .*?mem_mb=(\d+)", dry_run):
        most[rule] = max(most.get(rule, 0), int(memory))
    return most
