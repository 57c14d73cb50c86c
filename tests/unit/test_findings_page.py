"""docs/findings.md and the README say what the tables beside the page hold."""

from pathlib import Path

import pandas as pd
import pytest

from headwise.analyses.questions.report.part import answer_words, found_words
from headwise.report.labels import p_value, signed
from headwise.tables.frame import records

TABLES = Path("docs/findings")


@pytest.mark.parametrize("page", ["docs/findings.md", "README.md"])
def test_every_answer_stands_on_the_page(root: Path, page: str) -> None:
    text = (root / page).read_text(encoding="utf-8")
    rows = records(pd.read_parquet(root / TABLES / "answers.parquet"))
    assert len(rows) == 5
    for row in rows:
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {row['title']} ")]
        assert answer_words(row) in line.replace("*", "")
        assert found_words(row) in line
        if page.endswith("findings.md") and row["p_attainable"] is not None:
            assert p_value(row["p_attainable"]) in line
        if row["ask"] == "effect":
            assert signed(row["alone"]) in line


def test_the_numbers_about_working_heads_are_those_of_the_table(root: Path) -> None:
    text = (root / "docs/findings.md").read_text(encoding="utf-8")
    rows = pd.read_parquet(root / TABLES / "working_heads.parquet")
    bases = rows[rows["base"].isna()]
    assert (int(bases["works"].sum()), len(bases)) == (9, 10)
    assert int(rows[rows["base"].notna()]["works"].sum()) == 14
    for number in (bases["loss_nats"].min(), bases["loss_nats"].max(), bases["bigram_loss_nats"].max()):
        assert f"{number:.2f}" in text
