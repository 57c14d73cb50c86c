"""The table of confounds against numbers that are worked out by hand."""

from pathlib import Path

import pandas as pd
import pytest

from headwise.analyses.variants.confounds import PADDING_TOLERANCE, confound_table, gather_variants
from headwise.analyses.variants.rows import VariantRow
from headwise.runtime.parquet import read_metadata
from headwise.statistics.ratio_verdict import RatioVerdict
from headwise.tables.files import write_rows
from headwise.tables.frame import records

MODELS = {"one": None, "two": None, "one-sft": "one"}
# Reference value and difference of each model under the variant "wide".
VALUES = {"one": (0.50, 0.04), "two": (0.70, -0.08), "one-sft": (0.53, 0.06)}


def shift(model: str, variant: str, reference: float | None, difference: float | None, **fields: object) -> dict:
    return {
        "model": model,
        "family": "one",
        "base": MODELS[model],
        "seed": 1,
        "variant": variant,
        "reference": "study",
        "choices": "averaging",
        "choice_count": 1,
        "padding": "left",
        "template": "raw",
        "first_token": "tokenizer",
        "special_tokens": "once",
        "dtype": "float32",
        "prompts": 4,
        "estimator": "hellinger",
        "sink": "kept",
        "value": None if difference is None or reference is None else reference + difference,
        "reference_value": reference,
        "difference": difference,
        "reason": None if difference is not None else "no template",
        **fields,
    }


def comparisons(*deltas: tuple[float, float]) -> pd.DataFrame:
    rows = [
        {
            "aligned": f"aligned-{number}",
            "scope": scope,
            "level": level,
            "estimator": "hellinger",
            "sink": "kept",
            "delta_absolute": delta * factor,
            "ci_low": (delta - half) * factor,
            "ci_high": (delta + half) * factor,
        }
        for number, (delta, half) in enumerate(deltas)
        for scope, level, factor in (("refits", "model", 1.0), ("refit", "model", 9.0), ("refits", "layer", 9.0))
    ]
    return pd.DataFrame(rows)


def test_the_numbers_of_a_row() -> None:
    shifts = pd.DataFrame([shift(model, "wide", *values) for model, values in VALUES.items()])
    (row,) = records(confound_table(shifts, comparisons((0.03, 0.01), (-0.01, 0.05))))
    assert (row["measured"], row["pairs"], row["largest_model"]) == (3, 1, "two")
    expected = {
        "mean_difference": (0.04 - 0.08 + 0.06) / 3,
        "mean_absolute_difference": 0.06,
        "largest_absolute_difference": 0.08,
        "spread_between_models": 0.02**0.5,  # of 0.5 and 0.7, the aligned model left out
        "alignment_effect": 0.02,
        "shift_over_alignment": 3.0,
        "shift_over_spread": 0.06 / 0.02**0.5,
        "alignment_effect_under_reference": 0.03,
        "alignment_effect_under_variant": 0.05,
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert row["tolerance"] is None
    assert row["reason"] is None
    assert row["verdict"] == RatioVerdict.RATIO


def test_a_ratio_to_a_change_that_is_not_told_from_zero_is_unbounded() -> None:
    shifts = pd.DataFrame([shift(model, "wide", *values) for model, values in VALUES.items()])
    (row,) = records(confound_table(shifts, comparisons((0.000006, 0.01), (-0.000006, 0.03))))
    assert (row["shift_over_alignment"], row["alignment_effect"]) == (None, pytest.approx(0.000006))
    assert row["shift_over_spread"] == pytest.approx(0.06 / 0.02**0.5)
    assert row["verdict"] == RatioVerdict.UNBOUNDED
    assert row["reason"] == (
        "the ratio to the change under alignment is unbounded: the mean change under alignment 6e-06 is "
        "indistinguishable from 0 (interval 0 to 0.02001, n = 2)"
    )


def test_a_model_of_one_refit_has_its_interval_over_prompts() -> None:
    shifts = pd.DataFrame([shift("one", "wide", *VALUES["one"])])
    tests = comparisons((0.02, 0.01))
    tests.loc[tests["scope"].eq("refits"), ["ci_low", "ci_high"]] = None
    (row,) = records(confound_table(shifts, tests))
    assert row["shift_over_alignment"] == pytest.approx(0.04 / 0.02)
    tests.loc[tests["scope"].eq("refit"), "ci_low"] = -0.01
    (row,) = records(confound_table(shifts, tests))
    assert row["shift_over_alignment"] is None
    # Two refits of which no interval can be made: nothing tells their change from 0.
    tests = pd.concat([tests, tests[tests["scope"].eq("refit")]])
    (row,) = records(confound_table(shifts, tests))
    assert row["shift_over_alignment"] is None
    assert "has no interval that tells it from 0" in row["reason"]


def test_models_that_are_equal_but_for_rounding_have_no_spread() -> None:
    shifts = pd.DataFrame([shift("one", "wide", 0.3, 0.1), shift("two", "wide", 0.1 + 0.2, 0.1)])
    (row,) = records(confound_table(shifts, None))
    assert (row["spread_between_models"], row["shift_over_spread"]) == (0.0, None)
    assert "no ratio to the spread between models: they are equal" in row["reason"]


def test_what_is_undefined_is_null_with_a_reason() -> None:
    shifts = pd.DataFrame([shift("one", "chat", 0.5, 0.1), shift("one-sft", "chat", 0.5, None)])
    (row,) = records(confound_table(shifts, None))
    assert (row["measured"], row["mean_absolute_difference"], row["pairs"]) == (1, pytest.approx(0.1), 0)
    empty = ("spread_between_models", "alignment_effect", "shift_over_alignment", "alignment_effect_under_variant")
    assert all(row[name] is None for name in empty)
    assert row["verdict"] == RatioVerdict.UNDEFINED
    for reason in ("no template", "fewer than two base models", "no effect of alignment", "no pair of base"):
        assert reason in row["reason"]
    (nothing,) = records(confound_table(shifts.tail(1), None))
    assert (nothing["measured"], nothing["largest_model"]) == (0, None)


def test_only_padding_alone_has_a_tolerance_that_of_its_dtype() -> None:
    shifts = pd.DataFrame(
        [
            shift("one", "left", 0.5, 0.0, choices="padding"),
            shift("one", "half", 0.5, 0.0, choices="padding", dtype="bfloat16"),
            shift("one", "both", 0.5, 0.0, choices="padding, averaging", choice_count=2),
        ]
    )
    table = confound_table(shifts, None).set_index("variant")["tolerance"]
    assert table["left"] == PADDING_TOLERANCE["float32"] < table["half"] == PADDING_TOLERANCE["bfloat16"]
    assert pd.isna(table["both"])


def test_models_are_gathered_in_order_and_only_of_one_prompt_set(tmp_path: Path) -> None:
    parts = []
    for model, values in VALUES.items():
        parts.append(tmp_path / f"{model}.parquet")
        write_rows(VariantRow, [shift(model, "wide", *values)], parts[-1], {"prompts_digest": "a"})
    outputs = {"variants": tmp_path / "variants.parquet", "confounds": tmp_path / "confounds.parquet"}
    gather_variants(parts, [], **outputs, study="tiny")
    assert pd.read_parquet(outputs["variants"])["model"].tolist() == list(VALUES)
    assert read_metadata(outputs["confounds"])["study"] == "tiny"
    write_rows(VariantRow, [shift("one", "wide", 0.5, 0.0)], parts[0], {"prompts_digest": "b"})
    with pytest.raises(ValueError, match=r"one\.parquet and .*two\.parquet were measured on different prompts"):
        gather_variants(parts, [], **outputs, study="tiny")
