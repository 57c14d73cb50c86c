"""What planning a study costs as it grows: time and memory of a dry run, and time to parse the Snakefile.

    python benchmarks/dag.py [--models 121 1210 12100] [--study config/studies/x.yaml ...] [--config "seeds=[1, 2]"]

Half of the models are trained, the other half aligned from them, one refit each; every one is extracted and evaluated,
every aligned one compared. Prints one row per size or study. Processor seconds are those of a machine that is not busy,
elapsed seconds of the one that it ran on.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
# Runs a command and says what it took on standard error. In a process of its own: the memory that the kernel reports of
# a process is at least that of the process that started it, which may be a large one.
MEASURE = """
import os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stderr=subprocess.STDOUT)
_, status, usage = os.wait4(process.pid, 0)
seconds = time.perf_counter() - start
print(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status) != 0)
"""


@dataclass(frozen=True)
class Cost:
    """Of one call of Snakemake: elapsed and processor seconds, largest memory in MB, and what it printed."""

    seconds: float
    processor_seconds: float
    memory_mb: float
    output: str


def write_study(folder: Path, models: int) -> Path:
    """A study file with that many models; it reads the prompts that ship."""
    (folder / "prompts").symlink_to(ROOT / "prompts")
    bases = [{"name": f"base{number}", "source": "train"} for number in range(models // 2)]
    aligned = [
        {"name": f"aligned{number}", "source": "align", "base": f"base{number % len(bases)}", "method": "sft"}
        for number in range(models - len(bases))
    ]
    path = folder / "study.yaml"
    content = {"name": "large", "seeds": [1], "prompts": {"path": "prompts/headwise-120.jsonl"}}
    path.write_text(yaml.safe_dump({**content, "models": bases + aligned}))
    return path


def plan(folder: Path, study: Path, *arguments: str) -> Cost:
    """Call Snakemake with a study in a folder."""
    return call(ROOT / "Snakefile", folder, "--configfile", study, *arguments)


def call(snakefile: Path, folder: Path, *arguments: str | Path) -> Cost:
    """Call Snakemake. Raises RuntimeError, with what it said, where it fails."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", snakefile, "--directory", folder]
    measured = [sys.executable, "-c", MEASURE, *command, *arguments]
    process = subprocess.run(measured, capture_output=True, check=False, text=True)
    if process.returncode != 0:
        raise RuntimeError(process.stdout or process.stderr)
    seconds, processor_seconds, kilobytes = map(float, process.stderr.split())
    return Cost(seconds, processor_seconds, kilobytes / 1024, process.stdout)


def start_of_snakemake() -> float:
    """Processor seconds of Snakemake with a file of one empty rule."""
    with tempfile.TemporaryDirectory() as folder:
        snakefile = Path(folder, "Snakefile")
        snakefile.write_text("rule all:\n")
        return call(snakefile, Path(folder), "--list-rules").processor_seconds


def row(label: str, folder: Path, study: Path, config: list[str], start: float) -> str:
    """A row of the table; `start` is what Snakemake takes for nothing."""
    changes = ["--config", *config] if config else []
    planned = plan(folder, study, "-n", "--quiet", "rules", *changes)
    parsed = plan(folder, study, "--list-rules", *changes)
    jobs = re.search(r"^total\s+(\d+)", planned.output, re.MULTILINE)
    assert jobs is not None, planned.output
    return (
        f"| {label} | {int(jobs[1]):,} | {planned.processor_seconds:.1f} | {planned.seconds:.1f} | "
        f"{planned.memory_mb:.0f} | {parsed.processor_seconds - start:.1f} |"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, nargs="*", default=[121, 1210, 12100])
    parser.add_argument("--study", type=Path, nargs="*", default=[])
    parser.add_argument("--config", nargs="*", default=[], help="as Snakemake's, for the studies")
    chosen = parser.parse_args()
    start = start_of_snakemake()
    print(f"Snakemake's own start takes {start:.1f} s of processor time; parsing comes on top.")
    print("| study | jobs | dry run, processor (s) | elapsed (s) | memory (MB) | parsing, processor (s) |")
    print("|---|---|---|---|---|---|")
    for study in chosen.study:
        print(row(study.stem, ROOT, study.resolve(), chosen.config, start), flush=True)
    for models in chosen.models:
        with tempfile.TemporaryDirectory() as folder:
            print(row(f"{models:,} models", Path(folder), write_study(Path(folder), models), [], start), flush=True)


if __name__ == "__main__":
    main()
