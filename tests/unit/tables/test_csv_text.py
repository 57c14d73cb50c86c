"""What a spreadsheet would run stands in a CSV file as text."""

import csv
import io

import pandas as pd
import pytest

from headwise.tables.csv_text import text_for_csv

FORMULAS = ["=1+1", "@SUM(A1)", "+1", "-1+2", "\tx", "\rx", '=HYPERLINK("http://x","y")', "-0.5", "- a list"]
PLAIN = ["007", "1e5", "NA", "nan", "None", "", "a=b", "a-b", "'quoted'", " =x", "−1", "naïve, “x”\n", "multi_head-sft"]


@pytest.mark.parametrize("dtype", ["object", "str", "string", "category"])
def test_text_that_begins_like_a_formula_gets_an_apostrophe_and_no_other_text_changes(dtype: str) -> None:
    frame = pd.DataFrame({"name": pd.Series([*FORMULAS, *PLAIN], dtype=dtype)})
    assert text_for_csv(frame)["name"].tolist() == [*(f"'{text}" for text in FORMULAS), *PLAIN]
    assert frame["name"].tolist() == [*FORMULAS, *PLAIN]


def test_numbers_and_empty_cells_stay_as_they_are() -> None:
    frame = pd.DataFrame(
        {
            "change": [-0.5, 1e300, float("nan")],
            "seed": pd.Series([-1, None, 2**53 + 1], dtype="Int64"),
            "mixed": pd.Series([-3, "-3", None], dtype=object),
            "kept": pd.Series([True, None, False], dtype="boolean"),
        }
    )
    text = text_for_csv(frame).to_csv(index=False, lineterminator="\n")
    assert text.splitlines()[1:] == ["-0.5,-1,-3,True", "1e+300,,'-3,", ",9007199254740993,,False"]
    assert text_for_csv(frame.head(0)).to_csv(index=False) == frame.head(0).to_csv(index=False)


def test_names_come_back_from_the_file_as_they_were_written() -> None:
    text = text_for_csv(pd.DataFrame({"name": PLAIN})).to_csv(index=False)
    assert [row["name"] for row in csv.DictReader(io.StringIO(text, newline=""))] == PLAIN
