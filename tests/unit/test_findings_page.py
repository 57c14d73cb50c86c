"""docs/findings.md and the README say what the tables beside the page hold."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from headwise.analyses.questions.report.words import answer_words, found_words
from headwise.runtime.parquet import read_metadata
from headwise.tables.frame import records


@pytest.fixture(scope="module")
def tables(root: Path) -> ModuleType:
    """docs/findings/tables.py."""
    specification = importlib.util.spec_from_file_location("findings_tables", root / "docs/findings/tables.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_every_table_on_the_page_is_that_of_its_files(tables: ModuleType) -> None:
    page = tables.PAGE.read_text(encoding="utf-8")
    assert len(tables.MARK.findall(page)) > 1
    assert tables.rendered(page) == page


def test_another_number_in_a_file_is_seen(tables: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tables.PAGE.read_text(encoding="utf-8")
    read = tables.read

    def changed(study: str, table: str) -> pd.DataFrame:
        rows = read(study, table)
        return rows.assign(estimate=rows["estimate"] + 0.01) if table == "answers" else rows

    monkeypatch.setattr(tables, "read", changed)
    assert tables.rendered(page) != page


def test_the_readme_has_the_answers_of_the_default_study(root: Path, tables: ModuleType) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    rows = records(tables.read("default", "answers"))
    assert len(rows) == 5
    for row in rows:
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {row['title']} ")]
        assert answer_words(row) in line.replace("*", "")
        assert found_words(row) in line


def test_each_study_says_what_it_was_run_with(tables: ModuleType) -> None:
    for file in sorted(tables.FOLDER.glob("*/run.json")):
        facts = json.loads(file.read_text(encoding="utf-8"))
        assert len(facts["commit"]) == 40
        assert {"python", "torch", "numpy"} <= set(facts["versions"])
        for table in file.parent.glob("*.parquet"):
            assert read_metadata(table)["study_digest"] == facts["study_digest"], table
