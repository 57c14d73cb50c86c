"""Jobs as Snakemake plans them: what `headwise cost` is told by the rules alone, and what it leaves alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from project import Project
from tiny import write_study

from headwise.planning.jobs import PlanError
from headwise.planning.plan import Plan

NEW_RULE = """
rule new_rule:
    output:
        results("new.txt"),
    resources:
        mem_mb=1234,
        runtime=7,
    shell:
        "touch {output}"
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A checkout with a rule that headwise has never heard of."""
    project = Project(tmp_path / "project")
    snakefile = project.folder / "Snakefile"
    everything = 'results("report.html"),'
    assert everything in snakefile.read_text()
    snakefile.write_text(snakefile.read_text().replace(everything, f'{everything}\n        results("new.txt"),'))
    report = project.folder / "workflow" / "rules" / "report.smk"
    report.write_text(report.read_text() + NEW_RULE)
    return project


def cost(project: Project, *arguments: str) -> str:
    command = [sys.executable, "-c", "from headwise.cli import app; app()", "cost", project.study.name, *arguments]
    return subprocess.check_output(command, cwd=project.folder, env=project.environment, text=True)


def test_a_new_rule_is_counted_by_itself_without_a_time(project: Project) -> None:
    found = json.loads(cost(project, "--json"))
    (row,) = [row for row in found["rules"] if row["rule"] == "new_rule"]
    assert (row["stage"], row["jobs"], row["memory_mb"]) == ("report", 1, 1234)
    assert row["processor_hours"] is None
    assert found["total"]["processor_hours"] > 0
    assert "nothing is known of the work of new_rule" in " ".join(cost(project).split())
    # A run that finished knows it.
    benchmark = project.folder / "results" / "tiny" / "benchmarks" / "new_rule.jsonl"
    benchmark.parent.mkdir(parents=True)
    benchmark.write_text(json.dumps({"s": 36.0, "cpu_time": 36.0, "max_rss": 1.0}))
    measured = json.loads(cost(project, "--json", "--measured", "results/tiny"))
    (row,) = [row for row in measured["rules"] if row["rule"] == "new_rule"]
    assert row["processor_hours"] == pytest.approx(36 / 3600)


def test_planning_loads_no_executor_and_writes_nothing(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    code = (
        "import sys; from headwise.cli import app; app(sys.argv[1:], standalone_mode=False); "
        "print(*sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "cost", study.name, "--json"]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    modules = done.stderr.split()
    assert not {"torch", "transformers", "pandas"} & set(modules)
    assert not [name for name in modules if name.startswith("snakemake_executor_plugin")]
    assert sorted(tmp_path.rglob("*")) == before
    assert json.loads(done.stdout)["study"] == "tiny"


def test_jobs_that_are_done_count_as_if_they_were_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = write_study(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = Plan([study.name]).jobs
    verified = tmp_path / "results" / "tiny" / "prompts.jsonl"
    verified.parent.mkdir(parents=True)
    verified.write_text("")
    verified.with_suffix(".json").write_text("")
    assert Plan([study.name]).jobs == before


def test_what_snakemake_refuses_is_said_in_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = write_study(tmp_path)
    study.with_suffix(".lock.yaml").write_text("some/where: {main: newest}\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PlanError, match=r"^study\.lock\.yaml: some/where\.main: 'newest' is no commit"):
        _ = Plan([study.name]).jobs
