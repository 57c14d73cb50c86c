"""docs/adding-an-estimator.md, followed to the letter in a copy of the checkout."""

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from project import ROOT, Project
from tiny import tiny_content

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "adding-an-estimator.md").read_text(encoding="utf-8")
PLACE, CODE = re.search(r"```python\n# (\S+)\n(.*?)```", PAGE, re.DOTALL).groups()
NAME = Path(PLACE).stem


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A checkout with the page's file, and a tiny study that names the estimator."""
    models = [model for model in tiny_content()["models"] if model["name"] in ("multi_head", "multi_head-sft")]
    project = Project(
        tmp_path_factory.mktemp("adding") / "project",
        seeds=[1],
        models=models,
        extraction={"store": "statistics"},
        specialization={"estimators": ["hellinger", NAME], "head_permutations": 20},
    )
    (project.folder / PLACE).write_text(CODE, encoding="utf-8")
    return project


def test_its_values_are_in_the_tables_and_in_the_report(project: Project) -> None:
    project.run("--cores", "2")
    results = project.folder / "results/tiny"
    for table in ("specialization", "comparisons", "contrasts"):
        rows = pd.read_parquet(results / f"tables/{table}.parquet")
        assert NAME in set(rows["estimator"]), table
    controls = pd.read_parquet(results / "tables/controls.parquet")
    assert controls["control"].str.contains(NAME).any()
    assert NAME in (results / "report.html").read_text(encoding="utf-8")


def test_the_tests_of_estimators_hold_for_it(project: Project) -> None:
    files = re.search(r"`pytest ([^`]+)`", PAGE)[1].split()
    counting = ["tests/unit/analyses/variants/test_measure.py::test_padding_alone_moves_no_estimator"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files, *counting],
        cwd=ROOT,
        env=project.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    values = subprocess.run(
        [sys.executable, "-c", "from headwise.analyses.specialization.settings import *; print(*known_estimators())"],
        env=project.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert NAME in values.stdout.split()
