"""headwise as a module of another workflow, which has its own folder, its own configuration and its own rules."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from dry_run import job_counts
from tiny import tiny_content, write_study

SNAKEFILE = """\
{configfile}
module headwise:
    snakefile: "{root}/Snakefile"
    config: {config}


use rule * from headwise as hw_*


rule table_of_heads:
    input:
        "results/tiny/statistics/multi_head/seed1/heads.parquet",
    output:
        "heads.txt",
    run:
        with open(output[0], "w") as file:
            print(*input, file=file)
"""


def workflow(folder: Path, root: Path, configfile: str, config: str) -> Path:
    """The folder of another workflow, in which the texts and prompts of the tiny study lie as well."""
    write_study(folder)
    text = SNAKEFILE.format(root=root, configfile=configfile, config=config)
    (folder / "Snakefile").write_text(text, encoding="utf-8")
    (folder / "study.yaml").rename(folder / "tiny.yaml")
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=dict(os.environ))


def in_a_section() -> dict[str, Any]:
    # A date and a version, which another workflow may read as it likes.
    return {"headwise": tiny_content(), "since": yaml.safe_load("2026-01-02"), "others": 1}


def test_every_job_of_a_study_is_planned_as_in_a_workflow_of_its_own(tmp_path: Path, root: Path) -> None:
    own = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--snakefile", root / "Snakefile", "--configfile", "tiny.yaml"],
        cwd=workflow(tmp_path, root, "", repr(tiny_content())),
        capture_output=True,
        text=True,
        check=True,
    )
    planned = run(tmp_path, "-n", "hw_all")
    assert planned.returncode == 0, planned.stdout + planned.stderr
    expected = {f"hw_{rule}": count for rule, count in job_counts(own.stdout).items()}
    assert job_counts(planned.stdout) == expected
    assert len(expected) > 15


def test_what_is_wrong_with_the_configuration_of_a_module_is_said(tmp_path: Path, root: Path) -> None:
    refused = run(workflow(tmp_path, root, "", repr(tiny_content() | {"seed": 3})), "-n", "hw_all")
    assert "the configuration of the module: seed: unknown key" in refused.stdout + refused.stderr
    outer = workflow(tmp_path / "outer", root, 'configfile: "outer.yaml"', 'config["headwise"]')
    (outer / "outer.yaml").write_text(yaml.safe_dump(in_a_section()) + "others: 2\n")
    refused = run(outer, "-n", "hw_all")
    assert "the key 'others' is written twice in one section" in refused.stdout + refused.stderr


@pytest.mark.slow
def test_a_workflow_runs_on_what_its_module_makes(tmp_path: Path, root: Path) -> None:
    folder = workflow(tmp_path, root, 'configfile: "outer.yaml"', 'config["headwise"]')
    (folder / "outer.yaml").write_text(yaml.safe_dump(in_a_section()))
    done = run(folder, "--cores", "1", "heads.txt")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "heads.txt").read_text().strip() == "results/tiny/statistics/multi_head/seed1/heads.parquet"
    assert (folder / "results/tiny/declaration.json").is_file()
    assert "Nothing to be done" in run(folder, "-n", "heads.txt").stdout
