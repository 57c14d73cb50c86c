"""docs/adding-an-analysis.md, followed to the letter in a copy of the checkout."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from project import COPIED, ROOT, Project
from tiny import tiny_content

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "adding-an-analysis.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, re.DOTALL))
LIST = Path("src/headwise/analyses/__init__.py")
FOLDERS = ("src/headwise/analyses/delimiters/", "tests/unit/analyses/delimiters/")
GENERATED = re.findall(r"headwise schema .*--output (\S+)", PAGE)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A checkout in which the page was followed, and a tiny study that asks for the analysis, run."""
    models = [model for model in tiny_content()["models"] if model["name"] in ("multi_head", "multi_head-sft")]
    project = Project(
        tmp_path_factory.mktemp("adding") / "project",
        models=models,
        extraction={"store": "statistics"},
        specialization={"estimators": ["hellinger"], "head_permutations": 20},
        delimiters={},
    )
    folder = project.folder
    (folder / "config").mkdir()
    shutil.copy2(ROOT / "config/README.md", folder / "config")
    for place, code in FILES.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(code, encoding="utf-8")
    for package in ("", "report/"):
        (folder / FOLDERS[0] / package / "__init__.py").touch()
    listed = (folder / LIST).read_text(encoding="utf-8")
    (folder / LIST).write_text(listed.replace('    "calibration",\n', '    "delimiters",\n    "calibration",\n'))
    for arguments in re.findall(r"^headwise (schema .*)$", PAGE, re.MULTILINE):
        run(project, "-c", "from headwise.cli import app; app()", *arguments.split())
    project.run("--cores", "2")
    return project


def run(project: Project, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_table_finding_figure_and_section_are_there(project: Project) -> None:
    results = project.folder / "results/tiny"
    table = pd.read_parquet(results / "tables/delimiters.parquet")
    assert list(table["model"]) == ["multi_head"] * 2 + ["multi_head-sft"] * 2
    assert table["base"].tolist()[2:] == ["multi_head"] * 2
    assert table[["share", "by_chance"]].gt(0).all(axis=None)
    assert table[["share", "by_chance"]].lt(1).all(axis=None)
    written = json.loads((results / "results.json").read_text(encoding="utf-8"))
    assert len(written["delimiters"]) == len(table)
    assert "delimiters" in [finding["id"] for finding in written["findings"]]
    page = (results / "report.html").read_text(encoding="utf-8")
    assert "Attention on delimiters" in page
    assert (results / "figures/delimiters.svg").is_file()


def test_nothing_else_was_touched(project: Project) -> None:
    def files(root: Path) -> dict[str, bytes]:
        return {
            path.relative_to(root).as_posix(): path.read_bytes()
            for name in (*COPIED, "config/README.md", "tests")
            for path in [root / name, *(root / name).rglob("*")]
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".yaml"
        }

    before, after = files(ROOT), files(project.folder)
    changed = {name for name in after if name in before and after[name] != before[name]}
    added = after.keys() - before.keys() - {"prompts/tiny.jsonl"}
    assert changed - {"prompts/SHA256SUMS"} == {str(LIST), *GENERATED}
    assert {name for name in added if not name.startswith(FOLDERS)} == {
        "workflow/rules/delimiters.smk",
        "scripts/measure_delimiters.py",
    }
    lines = [set((root / LIST).read_text(encoding="utf-8").splitlines()) for root in (ROOT, project.folder)]
    assert lines[1] - lines[0] == {'    "delimiters",'}


def test_its_own_tests_pass_and_its_cost_is_counted(project: Project) -> None:
    run(project, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "tests")
    assert "measure_delimiters" in run(project, "-c", "from headwise.cli import app; app()", "cost", project.study.name)


def test_a_study_that_does_not_name_it_has_no_trace_of_it(project: Project) -> None:
    study = project.study.read_text(encoding="utf-8").replace("delimiters: {}\n", "")
    (project.folder / "other.yaml").write_text(study.replace("name: tiny", "name: other"), encoding="utf-8")
    plan = run(project, "-m", "snakemake", "-n", "--configfile", "other.yaml")
    assert "train_model" in plan
    assert "measure_delimiters" not in plan
