"""What planning a study costs as it grows: seconds and memory of a dry run, and seconds to parse the Snakefile.

    python benchmarks/dag.py [--models 121 1210 12100]

Half of the models are trained, the other half aligned from them, one refit each; every one is extracted and evaluated,
every aligned one compared. Prints one row per size.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent


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


def measured(folder: Path, *arguments: str) -> tuple[float, float, str]:
    """Seconds, largest memory in MB, and output of a call of Snakemake."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", folder]
    with (folder / "output").open("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--configfile", folder / "study.yaml", *arguments], stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        output.seek(0)
        said = output.read()
    if status != 0:
        raise SystemExit(said)
    return seconds, usage.ru_maxrss / 1024, said


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, nargs="+", default=[121, 1210, 12100])
    sizes = parser.parse_args().models
    print("| models | jobs | dry run (s) | memory (MB) | parse only (s) |\n|---|---|---|---|---|")
    for models in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_study(folder, models)
            seconds, memory, said = measured(folder, "-n", "--quiet", "rules")
            jobs = re.search(r"^total\s+(\d+)", said, re.MULTILINE)
            assert jobs is not None, said
            parse, _, _ = measured(folder, "--list-rules")
        print(f"| {models:,} | {int(jobs[1]):,} | {seconds:.1f} | {memory:.0f} | {parse:.1f} |", flush=True)


if __name__ == "__main__":
    main()
