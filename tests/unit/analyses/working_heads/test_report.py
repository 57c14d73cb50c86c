"""What the report says of models without working heads, and of what was found in them."""

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from headwise.analyses.controls.report.panel import control_panel
from headwise.analyses.working_heads.report.part import findings, marked_tests, passages, remark
from headwise.analyses.working_heads.rows import WorkingHeadsRow
from headwise.report.finding import described
from headwise.tables.frame import frame_of

STUDY: Any = SimpleNamespace()
GOOD = {
    "base": None,
    "seed": 1,
    "attention_worth_nats": 1.4,
    "loss_nats": 4.3,
    "bigram_loss_nats": 4.4,
    "previous_token": 0.6,
    "layer": 0,
    "head": 3,
    "tokens_seen": 1000,
    "bigram_tokens": 1000,
    "interpolation": 0.7,
    "attention_works": True,
    "below_bigram": True,
    "previous_token_works": True,
    "works": True,
}
IDLE = GOOD | {"attention_worth_nats": 0.15, "attention_works": False, "works": False}


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    rows = [{"model": "busy", **GOOD}, {"model": "idle_one", **GOOD}, {"model": "idle_one", **IDLE, "seed": 2}]
    contrasts = pd.DataFrame(
        {"group": ["busy", "idle_one", "busy"], "reference": [None, "busy", "idle_one"], "reason": [None, "few", None]}
    )
    return {"working_heads": frame_of(WorkingHeadsRow, rows), "contrasts": contrasts}


def test_models_without_working_heads_are_named(tables: dict[str, pd.DataFrame]) -> None:
    (found,) = findings(STUDY, tables)
    assert found.sentence == "2 of 3 models (each refit counts) have working heads."
    assert found.numbers == "idle one has no working heads (attention is worth 0.15 nats; refit 2)"
    assert found.headline
    assert len(list(passages(STUDY, tables))) == 1


def test_what_is_said_of_such_a_model_says_so(tables: dict[str, pd.DataFrame]) -> None:
    clause = "idle one has no working heads (attention is worth 0.15 nats; refit 2)"
    marked = marked_tests(tables)["contrasts"]["reason"]
    assert pd.isna(marked[0])
    assert marked[1] == f"few; {clause}"
    assert marked[2] == clause


@pytest.mark.parametrize(
    ("topic", "about", "said"),
    [
        ("question", (), "1 of 3 refits without working heads"),
        ("architecture", ("idle_one", "busy"), "1 of 3 refits without working heads"),
        ("model", ("idle_one",), "1 of 2 refits without working heads"),
        ("model", ("busy",), None),
        ("check", (), None),
        ("training", ("idle_one",), None),
    ],
)
def test_every_sentence_about_heads_counts_refits_without(
    tables: dict[str, pd.DataFrame], topic: str, about: tuple[str, ...], said: str | None
) -> None:
    words = {"id": "x", "topic": topic, "headline": False, "sentence": "It is so.", "n": 3, "unit": "refit"}
    finding = described("a description", about=about, **words)
    assert remark(tables, finding) == said
    assert remark({}, finding) is None


def test_where_all_models_work_nothing_is_marked(tables: dict[str, pd.DataFrame]) -> None:
    busy = tables | {"working_heads": tables["working_heads"].head(2)}
    assert marked_tests(busy) == {}
    (found,) = findings(STUDY, busy)
    assert found.sentence == "2 of 2 models (each refit counts) have working heads."
    assert not found.headline


@pytest.mark.parametrize(("kept", "outcome", "number"), [(2, "pass", 0), (3, "fail", 1)])
def test_the_control_panel_counts_refits_without(
    tables: dict[str, pd.DataFrame], kept: int, outcome: str, number: int
) -> None:
    panel = control_panel({"working_heads": tables["working_heads"].head(kept)}).set_index("control")
    assert panel.loc["models that are trained here", ["outcome", "found"]].tolist() == [outcome, number]
