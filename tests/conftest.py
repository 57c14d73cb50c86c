"""What tests of several kinds share: running Snakemake as a user does, and a script as Snakemake does."""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake.iocontainers import InputFiles, Log, OutputFiles, Params, ResourceList, Wildcards

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def snakemake() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `snakemake ARGUMENTS` with this checkout's Snakefile in a folder; output and errors come back as text."""

    def run(folder: Path, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "snakemake",
            "--snakefile",
            ROOT / "Snakefile",
            "--directory",
            folder,
            *arguments,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "200"})
        if check and done.returncode != 0:
            pytest.fail(f"{' '.join(map(str, arguments))} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    return run


@pytest.fixture(scope="session")
def run_script(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """Run scripts/NAME.py the way Snakemake does, with a `snakemake` object made of the arguments."""

    logs = tmp_path_factory.mktemp("logs")

    def run(
        name: str,
        *,
        input: dict[str, Any],
        output: dict[str, Any],
        arguments: dict[str, Any] | None = None,
        wildcards: dict[str, str] | None = None,
        resources: dict[str, Any] | None = None,
    ) -> None:
        def text(files: dict[str, Any]) -> dict[str, Any]:
            return {
                key: [str(f) for f in value] if isinstance(value, list) else str(value) for key, value in files.items()
            }

        job = SimpleNamespace(
            input=InputFiles(fromdict=text(input)),
            output=OutputFiles(fromdict=text(output)),
            params=Params(fromdict={"arguments": arguments or {}}),
            wildcards=Wildcards(fromdict=wildcards or {}),
            resources=ResourceList(fromdict={"gpu": 0} | (resources or {})),
            rule=name,
            log=Log(toclone=[str(logs / f"{name}.log")]),
        )
        runpy.run_path(str(ROOT / "scripts" / f"{name}.py"), init_globals={"snakemake": job}, run_name="__main__")

    return run
