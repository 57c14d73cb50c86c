"""A copy of the checkout with a tiny study, run as a user runs it from its root."""

import os
import re
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml
from tiny import write_study

ROOT = Path(__file__).parent.parent
COPIED = ("Snakefile", "workflow", "scripts", "src", "envs", "prompts", "profiles", "slurm", "gpu")


def digests(results: Path) -> dict[str, str]:
    """SHA-256 of every file that is a result; logs and resource records differ from run to run."""
    return {
        str(path.relative_to(results)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(results.rglob("*"))
        if path.is_file() and path.relative_to(results).parts[0] not in ("logs", "benchmarks")
    }


class Project:
    """A copy of the checkout in a new folder; `changes` replace sections of the tiny study."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.folder = folder
        folder.mkdir()
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            copy(ROOT / name, folder / name)
        self.study = write_study(folder, **changes)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "snakemake", "--configfile", self.study.name, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"PYTHONPATH": str(self.folder / "src")}

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def planned(self, *arguments: str) -> set[str]:
        """The rules that a run would execute."""
        plan = self.run("-n", *arguments)
        if "Nothing to be done" in plan:
            return set()
        table = plan.split("Job stats:")[1].split("total")[0]
        return set(re.findall(r"^(\w+)\s+\d+\s*$", table, re.MULTILINE)) - {"all"}

    def change_study(self, section: str, **values: object) -> None:
        content = yaml.safe_load(self.study.read_text())
        content[section] = content.get(section, {}) | values
        self.study.write_text(yaml.safe_dump(content, sort_keys=False))
