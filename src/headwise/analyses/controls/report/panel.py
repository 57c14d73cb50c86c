"""The control panel: controls that were run on their own, and those that other analyses of the study amount to."""

from collections.abc import Iterator
from dataclasses import asdict

import pandas as pd

from headwise.analyses.controls.control import FAIL, PASS, Control, not_run
from headwise.report.columns import Tables
from headwise.report.labels import amount
from headwise.tables.frame import records

# Largest relative difference of logits, and difference of a noise response as a share of the largest response, that
# float32 rounding explains.
DUPLICATION_LOGITS, DUPLICATION_RESPONSE = 1e-4, 1e-2
CHANCE = 0.1  # corrected stability of random weights at most


def control_panel(tables: Tables) -> pd.DataFrame:
    """The table `controls` with a row for every control that other tables of the study answer, or that is not run."""
    found = [
        *_padding(tables),
        *_duplication(tables),
        *_false_rejections(tables),
        *_chance_level(tables),
    ]
    rows = pd.DataFrame([asdict(control) for control in found])
    own = tables.get("controls", pd.DataFrame())
    return pd.concat([own, rows], ignore_index=True) if not own.empty else rows


def _table(tables: Tables, name: str) -> pd.DataFrame:
    return tables.get(name, pd.DataFrame())


def _padding(tables: Tables) -> Iterator[Control]:
    control, expected = "prompts padded left, right, or not at all", "no estimator moves beyond rounding"
    rows = _table(tables, "confounds")
    if not rows.empty:
        rows = rows[rows["tolerance"].notna() & rows["largest_absolute_difference"].notna()]
    if rows.empty:
        yield not_run(control, expected, "this study measures no padded variant")
        return
    worst = max(records(rows), key=lambda row: row["largest_absolute_difference"] / row["tolerance"])
    passed = bool((rows["largest_absolute_difference"] <= rows["tolerance"]).all())
    yield Control(
        control, f"{amount(len(rows), 'comparison')} of variants", expected, worst["largest_absolute_difference"],
        worst["tolerance"], PASS if passed else FAIL, f"{worst['variant']}, {worst['estimator']}: nearest to its limit",
    )  # fmt: skip


def _duplication(tables: Tables) -> Iterator[Control]:
    """Duplicated key-value heads compute the same function: same logits, same response to noise."""
    control, expected = "key-value heads duplicated", "same logits and same response to noise"
    rows = _table(tables, "key_value_duplication")
    if rows.empty:
        yield not_run(control, expected, "this study duplicates no key-value heads")
        return
    basis = f"{amount(len(rows), 'model')}, each refit counted"
    logits = float(rows["largest_relative_logit_difference"].max())
    yield Control(
        f"{control}: logits", basis, "a relative difference of 0", logits, DUPLICATION_LOGITS,
        PASS if logits <= DUPLICATION_LOGITS else FAIL,
    )  # fmt: skip
    share = (rows["largest_delta_nll_difference"] / rows["largest_delta_nll"]).dropna()
    if len(share):
        yield Control(
            f"{control}: response to noise", basis, "a difference of 0, as a share of the response",
            float(share.max()), DUPLICATION_RESPONSE, PASS if share.max() <= DUPLICATION_RESPONSE else FAIL,
        )  # fmt: skip


def _false_rejections(tables: Tables) -> Iterator[Control]:
    control, expected = "data in which nothing is to be found", "every test and interval in its binomial band"
    rows = _table(tables, "calibration")
    promised = rows[rows["kept"] != "no promise"] if not rows.empty else rows
    if promised.empty:
        yield not_run(control, expected, "not calibrated yet: run `snakemake calibration`")
        return
    broken = int(promised["kept"].eq("no").sum())
    yield Control(
        control, f"{amount(len(promised), 'rate')} in simulations", expected, float(broken), 0.0,
        PASS if not broken else FAIL, "rates outside of their band",
    )  # fmt: skip


def _chance_level(tables: Tables) -> Iterator[Control]:
    control, expected = "stability of heads of random weights", "0 after correction for chance"
    rows = _table(tables, "stability")
    if not rows.empty:
        whole = rows["layer"].isna() & rows["head"].isna() & rows["refit"].isna() & rows["words"].isna()
        rows = rows[whole & rows["weights"].eq("random") & rows["chance_corrected"].notna()]
        rows = rows[rows["analysis"].eq("head_stability") & rows["measure"].eq("cosine")]
    if rows.empty:
        yield not_run(control, expected, "this study measures no models with random weights")
        return
    largest = float(rows["chance_corrected"].abs().max())
    yield Control(
        control, f"{amount(len(rows), 'measure')} of stability", expected, largest, CHANCE,
        PASS if largest <= CHANCE else FAIL, "the one farthest from 0",
    )  # fmt: skip
