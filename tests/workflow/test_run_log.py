"""Runs of a Snakefile of three jobs with `--logger headwise`; a dry run prints what it does without it."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from snakemake_logger_plugin_headwise import arguments_without_targets

SNAKEFILE = """
onstart:
    logger.warning("be careful")
rule all:
    input: "big/seed1.txt", "late.txt"
rule early:
    output: "{model}/seed{seed}.txt"
    shell: "touch {output}"
rule late:
    input: "big/seed1.txt"
    output: "late.txt"
    log: "late.log"
    shell: "echo first > {log}; echo last >> {log}; test -e allowed && touch {output}"
"""
SNAKEMAKE = [sys.executable, "-m", "snakemake"]
ORDERED = os.environ | {"PYTHONHASHSEED": "0"}  # reasons are sets
RUN = [*SNAKEMAKE, "--logger", "headwise", "--cores", "1"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    return tmp_path


def test_a_run_is_a_line_per_job_and_a_failure_says_how_to_repeat_it(folder: Path) -> None:
    failed = subprocess.run(RUN, cwd=folder, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stdout == ""
    lines = failed.stderr.splitlines()
    assert any(re.fullmatch(r"1 of 3  early  big, seed 1  \d+ s", line) for line in lines)
    at = lines.index("FAILED: rule late")
    assert lines[at + 1 : at + 4] == ["  The end of late.log:", "    first", "    last"]
    again = lines[at + 4].removeprefix("  To run it again: ").split()
    assert again == ["snakemake", "late.txt", "--logger", "headwise", "--cores", "1"]
    (folder / "allowed").touch()
    repeated = subprocess.run([*SNAKEMAKE, *again[1:]], cwd=folder, capture_output=True, text=True, check=False)
    assert repeated.returncode == 0
    said = r"Building DAG of jobs\.\.\.\nbe careful\n1 of 1  late  \d+ s\n1 warning, above\.\n"
    assert re.fullmatch(said, repeated.stderr)
    assert list((folder / ".snakemake/log").iterdir()), "Snakemake's own log is written beside"


def test_on_a_terminal_a_line_says_where_the_run_stands_and_goes(folder: Path) -> None:
    (folder / "allowed").touch()
    ours, theirs = pty.openpty()
    with subprocess.Popen(RUN, cwd=folder, stderr=theirs, env=os.environ | {"TERM": "xterm"}) as running:
        os.close(theirs)
        said = b""
        while chunk := read(ours):
            said += chunk
    assert running.returncode == 0
    assert "0 of 3 jobs · 1 warning · now early big, seed 1" in said.decode()
    assert re.search(r"\x1b\[2K(\x1b\[\d+m)?1 warning, above\.\S*\s*$", said.decode()), "the line is removed"


def read(terminal: int) -> bytes:
    """What a terminal was sent; nothing when the other side is closed."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


def test_a_dry_run_prints_what_snakemake_prints(folder: Path) -> None:
    ours, own = (
        subprocess.run([*command, "-n"], cwd=folder, capture_output=True, text=True, check=True, env=ORDERED).stdout
        for command in (RUN, [*SNAKEMAKE, "--cores", "1"])
    )
    changing = re.compile(r"\[.*20\d\d\]|  (Date|Workflow ID|Command): .*")
    assert changing.sub("", ours) == changing.sub("", own)
    assert "rule late:" in ours


def test_a_dry_run_may_be_cut_off(folder: Path) -> None:
    with subprocess.Popen([*RUN, "-n"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        running.stdout.close()
        said = running.stderr.read().decode()
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "arguments", [["a", "b", "--cores", "2", "--configfile", "a.yaml"], ["--configfile", "a.yaml", "--cores", "2", "a"]]
)
def test_targets_are_told_from_values_of_options(arguments: list[str]) -> None:
    assert arguments_without_targets(arguments) == [each for each in arguments if each not in ("a", "b")]


def test_a_snakemake_that_does_not_use_the_logger_loads_nothing_for_it() -> None:
    # Every Snakemake imports the plugins that are installed, on a cluster in each job.
    code = "import snakemake_logger_plugin_headwise, sys; print('headwise' in sys.modules, 'rich.live' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["False", "False"]
