"""What a study found, in sentences computed from its tables, each with the numbers behind it.

Nothing is claimed beyond a test's verdict, and every p stands beside the smallest that its design can give.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from headwise.report.labels import (
    amount,
    estimator_label,
    estimator_title,
    method_label,
    missing,
    number,
    p_value,
    plain,
    signed,
    sink_label,
    titled,
)
from headwise.report.verdicts import CONFIRMATORY
from headwise.study import Study

Tables = Mapping[str, pd.DataFrame]
MOST_HEADLINES_OF_A_KIND = 4
# A change of the value, on average over models, that is below this share of it hardly moves the value.
HARDLY = 0.1
ROUNDING = 1e-9


class Finding(BaseModel):
    """One finding: a sentence and the numbers that it rests on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[A-Za-z0-9_.:-]+$", description="Stable name within the study")
    topic: str = Field(
        description="alignment, method, architecture, interaction, model, training or check: what it is about"
    )
    headline: bool = Field(description="Whether it belongs to the first screen of the report")
    sentence: str = Field(description="The finding in words")
    estimate: float | None = Field(description="Null where the sentence is a count")
    interval: tuple[float, float] | None = Field(description="Confidence interval of the estimate")
    p: float | None = Field(description="Two-sided p before adjustment")
    p_adjusted: float | None = Field(description="p adjusted for the number of tests")
    p_attainable: float | None = Field(description="The smallest p that the design can give")
    n: int = Field(ge=0, description="Number of units")
    unit: str = Field(description="What is counted")
    confirmatory: bool = Field(description="Whether it was declared before anything was computed")
    reason: str | None = Field(description="Why a number is null")


def findings(study: Study, tables: Tables) -> list[Finding]:
    """All findings of a study, the most general first. Works for any study, also of one model at one seed."""
    return [
        *_alignment(study, tables),
        *_methods(study, tables),
        *_architectures(study, tables),
        *_interactions(study, tables),
        *_models(study, tables),
        *_training(tables),
        *_head_permutation(tables),
        *_agreement(study, tables),
        *_repeats(tables),
    ]


def _alignment(study: Study, tables: Tables) -> Iterator[Finding]:
    """How many confirmatory tests say what."""
    tests = tables["comparisons"]
    tests = tests[tests["role"] == CONFIRMATORY]
    if tests.empty:
        return
    counts = tests["verdict"].str.split(":").str[0].value_counts()
    said = [f"{count} {verdict}" for verdict, count in counts.items()]
    prompts = amount(int(tests["n"].max()), "prompt")
    yield _counted(
        id="alignment",
        topic="alignment",
        headline=True,
        sentence=(
            f"{estimator_title(study.comparison.primary)} under alignment, {amount(len(tests), 'confirmatory test')} "
            f"({amount(tests['aligned'].nunique(), 'aligned model')}, each refit tested on its own over {prompts}; "
            f"Holm-adjusted, level {study.comparison.level:g}): {', '.join(said)}."
        ),
        n=len(tests),
        unit="test",
        confirmatory=True,
        reason="a count of verdicts",
    )


def _methods(study: Study, tables: Tables) -> Iterator[Finding]:
    """Mean change under each method over families, and how its confirmatory tests came out."""
    contrasts = _of_primary(study, tables["contrasts"], "alignment_pooled")
    tests = tables["comparisons"]
    for row in contrasts[contrasts["unit"] == "family"].to_dict("records"):
        method = None if missing(row["method"]) else row["method"]
        own = tests[(tests["role"] == CONFIRMATORY) & tests["method"].eq(method).fillna(method is None)]
        down, up = (int(own["verdict"].str.startswith(word).sum()) for word in ("decreased", "increased"))
        if missing(row["estimate"]):
            continue
        yield _tested(
            row,
            id=f"method:{method_label(method).lower().replace(' ', '-')}",
            topic="method",
            headline=True,
            sentence=(
                f"Under {method_label(method)} the {estimator_label(row['estimator'])} changes by "
                f"{signed(row['estimate'])} on average over {_units(row)}{_said(row)}. "
                f"Within refits, where prompts are the unit: {down} of {len(own)} tests show a decrease, {up} an increase."
            ),
        )


def _architectures(study: Study, tables: Tables) -> Iterator[Finding]:
    rows = _of_primary(study, tables["contrasts"], "architecture")
    rows = rows[rows["estimate"].notna()]
    for row in rows.to_dict("records"):
        yield _tested(
            row,
            id=f"architecture:{row['group']}",
            topic="architecture",
            headline=len(rows) <= MOST_HEADLINES_OF_A_KIND,
            sentence=(
                f"{titled(plain(row['group']))} against {plain(row['reference'])}, before alignment: "
                f"{signed(row['estimate'])} {estimator_label(row['estimator'])}, over {_units(row)}{_said(row)}."
            ),
        )


def _interactions(study: Study, tables: Tables) -> Iterator[Finding]:
    for row in _of_primary(study, tables["contrasts"], "alignment_difference").to_dict("records"):
        if missing(row["estimate"]):
            continue
        method = method_label(row["method"])
        yield _tested(
            row,
            id=f"interaction:{row['group']}:{method.lower().replace(' ', '-')}",
            topic="interaction",
            headline=False,
            sentence=(
                f"The change under {method} of {plain(row['group'])} minus that of {plain(row['reference'])} is "
                f"{signed(row['estimate'])}, over {_units(row)}{_said(row)}."
            ),
        )


def _models(study: Study, tables: Tables) -> Iterator[Finding]:
    """Mean change of each aligned model over its refits, or in its one refit."""
    tests = tables["comparisons"]
    tests = tests[
        tests["estimator"].eq(study.comparison.primary)
        & tests["sink"].eq("kept")
        & tests["level"].eq("model")
    ]
    for aligned, own in tests.groupby("aligned", sort=False):
        refits = own[own["role"] == CONFIRMATORY]
        over = own[own["scope"] == "refits"]
        row = (over if len(refits) != 1 and len(over) else refits).iloc[0].to_dict()
        row["estimate"] = row["delta_absolute"]
        if missing(row["estimate"]):
            continue
        said = ", ".join(f"{count} {verdict}" for verdict, count in refits["verdict"].value_counts().items())
        within = f" Within refits: {said}." if row["scope"] == "refits" else ""
        yield _tested(
            row,
            id=f"model:{aligned}",
            topic="model",
            headline=False,
            sentence=(
                f"{titled(plain(str(aligned)))} against {plain(row['base'])}: {signed(row['estimate'])} over "
                f"{_units(row)}{_said(row)}.{within}"
            ),
        )


def _training(tables: Tables) -> Iterator[Finding]:
    """Whether the bases that the study trained know more than how common each token is."""
    models = tables["models"]
    bases = models[
        models["base"].isna() & models["held_out_loss_nats"].notna() & models["unigram_entropy_nats"].notna()
    ]
    if bases.empty:
        return
    better = bases["held_out_loss_nats"] < bases["unigram_entropy_nats"]
    loss = bases["held_out_loss_nats"]
    yield _counted(
        id="training",
        topic="training",
        headline=False,
        sentence=(
            f"{int(better.sum())} of {amount(len(bases), 'trained base model')} (each refit counts) predict held-out "
            f"text better than token frequencies do: loss {number(loss.min(), 2)} to {number(loss.max(), 2)} nats per "
            f"token, entropy of token frequencies {number(bases['unigram_entropy_nats'].mean(), 2)} nats."
        ),
        n=len(bases),
        unit="refit",
        confirmatory=False,
        reason="a count",
    )


def _head_permutation(tables: Tables) -> Iterator[Finding]:
    """For estimators that give a meaning to head numbers: does the order of heads matter to them?"""
    checks = tables["checks"]
    checks = checks[
        checks["check"].eq("head_permutation") & checks["sink"].eq("kept") & checks["change"].notna()
    ]
    for estimator, rows in checks.groupby("estimator", sort=False):
        largest, size = rows["largest_change"].abs(), rows["value"].abs().mean()
        if largest.max() <= ROUNDING:
            continue
        mean_change = float(rows["change"].abs().mean())
        reading = (
            "so it measures the depth profile, not differences between heads"
            if mean_change <= HARDLY * size
            else "so the order of heads matters to it, and what it measures depends on how heads are numbered"
        )
        yield _counted(
            id=f"check:head-permutation:{estimator}",
            topic="check",
            headline=True,
            sentence=(
                f"{estimator_title(str(estimator))}: shuffling the heads within each layer moves its value by "
                f"{number(mean_change, 4)} on average over {amount(len(rows), 'model')} (single orders by up to "
                f"{number(largest.max(), 4)}; mean value {number(size)}), {reading}."
            ),
            estimate=mean_change,
            n=len(rows),
            unit="model",
            confirmatory=False,
            reason="a control, not a test",
        )


def _agreement(study: Study, tables: Tables) -> Iterator[Finding]:
    """Whether another estimator, or leaving out the first key, would have told another story."""
    rows = tables["agreement"]
    primary = estimator_label(study.comparison.primary)
    for row in rows.to_dict("records"):
        directions = (
            f"; {row['same_direction']} of {amount(row['changes_compared'], 'change')} go the same way"
        )
        if missing(row["rank_correlation"]):
            continue
        yield _counted(
            id=f"check:agreement:{row['estimator']}:{row['sink']}",
            topic="check",
            headline=False,
            sentence=(
                f"{estimator_title(row['estimator'])} ({sink_label(row['sink'])}) against {primary} (all keys): rank "
                f"correlation {number(row['rank_correlation'], 2)} over {amount(row['models_compared'], 'model')}, each "
                f"refit counted{directions if row['changes_compared'] else ''}."
            ),
            estimate=row["rank_correlation"],
            n=row["models_compared"],
            unit="model",
            confirmatory=False,
            reason="a description, not a test",
        )
    compared = rows[rows["changes_compared"] > 0]
    if compared.empty:
        return
    shares = compared["same_direction"] / compared["changes_compared"]
    fewest = compared.loc[shares.idxmin()]
    span = f"{100 * shares.min():.0f} %"
    if shares.max() > shares.min():
        span += f" to {100 * shares.max():.0f} %"
    yield _counted(
        id="check:agreement",
        topic="check",
        headline=True,
        sentence=(
            f"Would another estimator tell another story? Of the changes under alignment within refits, {span} have the "
            f"same sign as with the {primary}, depending on the estimator; fewest with "
            f"{estimator_label(fewest['estimator'])}, {sink_label(fewest['sink'])}: {fewest['same_direction']} of "
            f"{fewest['changes_compared']}."
        ),
        n=int(fewest["changes_compared"]),
        unit="change",
        confirmatory=False,
        reason="a description, not a test",
    )


def _repeats(tables: Tables) -> Iterator[Finding]:
    models = tables["models"]
    repeats = models[models["repeats_seed"].notna()]
    if len(repeats):
        yield _counted(
            id="check:repeats",
            topic="check",
            headline=True,
            sentence=(
                f"{amount(len(repeats), 'seed')} of {amount(repeats['model'].nunique(), 'model')} changed nothing: the "
                "weights are those of an earlier seed. They are shown as a check of determinism, and count for no test."
            ),
            n=len(repeats),
            unit="seed",
            confirmatory=False,
            reason="a count",
        )


def _of_primary(study: Study, contrasts: pd.DataFrame, kind: str) -> pd.DataFrame:
    primary = contrasts["estimator"].eq(study.comparison.primary) & contrasts["sink"].eq("kept")
    return contrasts[primary & contrasts["kind"].eq(kind)]


def _units(row: Mapping[str, Any]) -> str:
    """How many units a test has, in words."""
    unit = {"family": "families"}.get(row["unit"], f"{row['unit']}s")
    counted = amount(row["n"], row["unit"], unit)
    reference = row.get("n_reference")
    if missing(reference):
        return counted
    return f"{counted} each" if reference == row["n"] else f"{counted} and {reference}"


def _said(row: Mapping[str, Any]) -> str:
    """The verdict at the end of a sentence. What is undecidable says so with the number of units that makes it so."""
    if str(row["verdict"]).startswith("undecidable"):
        return f": undecidable, since {_units(row)} cannot give a p below {p_value(row['p_attainable'])}"
    return f": {row['verdict']}"


def _tested(row: Mapping[str, Any], **words: Any) -> Finding:
    """A finding that rests on one row of comparisons or contrasts."""
    complete = not missing(row["ci_low"]) and not missing(row["ci_high"])
    return Finding(
        **words,
        estimate=_or_none(row["estimate"]),
        interval=(row["ci_low"], row["ci_high"]) if complete else None,
        p=_or_none(row["p"]),
        p_adjusted=_or_none(row["p_adjusted"]),
        p_attainable=_or_none(row["p_attainable"]),
        n=row["n"],
        unit=row["unit"],
        confirmatory=row["role"] == CONFIRMATORY,
        reason=_or_none(row["reason"]),
    )


def _counted(**words: Any) -> Finding:
    """A finding that is a count or a description."""
    numbers = {"estimate": None, "interval": None, "p": None, "p_adjusted": None, "p_attainable": None}
    return Finding(**{**numbers, **words})


def _or_none(value: Any) -> Any:
    return None if missing(value) else value
