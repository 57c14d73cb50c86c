"""The control panel: controls that were run on their own, and those that other analyses of the study amount to."""

from collections.abc import Iterator

import pandas as pd

from headwise.analyses.calibration.rates import Kept
from headwise.analyses.controls.control import Control, not_run, passing, within
from headwise.report.columns import Tables
from headwise.report.labels import amount
from headwise.tables.frame import frame_of, records, typed

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
        *_working_heads(tables),
    ]
    return pd.concat([typed(Control, tables.get("controls", pd.DataFrame())), frame_of(Control, found)])


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
        control=control,
        basis=f"{amount(len(rows), 'comparison')} of variants",
        expected=expected,
        found=worst["largest_absolute_difference"],
        tolerance=worst["tolerance"],
        outcome=passing(passed),
        reason=f"{worst['variant']}, {worst['estimator']}: nearest to its limit",
    )


def _duplication(tables: Tables) -> Iterator[Control]:
    """Duplicated key-value heads compute the same function: same logits, same response to noise."""
    control, expected = "key-value heads duplicated", "same logits and same response to noise"
    rows = _table(tables, "key_value_duplication")
    if rows.empty:
        yield not_run(control, expected, "this study duplicates no key-value heads")
        return
    basis = f"{amount(len(rows), 'model')}, each refit counted"
    logits = float(rows["largest_relative_logit_difference"].max())
    yield within(f"{control}: logits", basis, "a relative difference of 0", logits, 0.0, DUPLICATION_LOGITS)
    share = (rows["largest_delta_nll_difference"] / rows["largest_delta_nll"]).dropna()
    if len(share):
        same = "a difference of 0, as a share of the response"
        yield within(f"{control}: response to noise", basis, same, float(share.max()), 0.0, DUPLICATION_RESPONSE)


def _false_rejections(tables: Tables) -> Iterator[Control]:
    control, expected = "data in which nothing is to be found", "every test and interval in its binomial band"
    rows = _table(tables, "calibration")
    promised = rows[rows["kept"] != Kept.NO_PROMISE] if not rows.empty else rows
    if promised.empty:
        yield not_run(control, expected, "not calibrated yet: run `snakemake calibration`")
        return
    broken = int(promised["kept"].eq(Kept.NO).sum())
    basis = f"{amount(len(promised), 'rate')} in simulations"
    yield within(control, basis, expected, float(broken), 0.0, 0.0, "rates outside of their band")


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
    basis = f"{amount(len(rows), 'measure')} of stability"
    yield within(control, basis, expected, largest, 0.0, CHANCE, "the one farthest from 0")


def _working_heads(tables: Tables) -> Iterator[Control]:
    """Whether there is anything to measure: models whose heads do something."""
    control, expected = "models that are trained here", "all have working heads"
    rows = _table(tables, "working_heads")
    if rows.empty:
        yield not_run(control, expected, "this study does not look whether heads of models that it trains do anything")
        return
    basis = f"{amount(len(rows), 'model')}, each refit counted"
    idle = float((~rows["works"].astype(bool)).sum())
    yield within(control, basis, expected, idle, 0.0, 0.0, "models without working heads")
