"""The tests of a study: which were declared in advance, adjusted for how many there are, each with its verdict."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from headwise.analyses.questions.settings import questions_of
from headwise.report.columns import Tables, is_primary
from headwise.report.verdicts import ADJUSTED, REPEAT, adjust, roles, verdict
from headwise.runtime.parquet import read_metadata, read_table
from headwise.statistics.result import joined
from headwise.study.comparison import KINDS
from headwise.study.study import Study
from headwise.tables.frame import records

# Exploratory tests that agree in these columns are adjusted together: of the comparisons, and of the contrasts.
WITHIN = ["estimator", "level", "scope", "sink"]
BETWEEN = ["kind", "estimator", "sink", "unit"]


def tested_tables(
    study: Study, comparisons: Iterable[Path], contrasts: Path, undeclared: str | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All tests of a study, with role, adjusted p-values and verdict: (comparisons with bases, contrasts).

    undeclared  why no test counts as declared in advance; None where the declaration stands

    Confirmatory are, in a study without questions, those that it declares (`comparison.confirmatory`): of the primary
    estimator with all keys kept, over whole models, within one refit or between models; pooled changes over families,
    not over refits, which say nothing about another family. All of them together are one set for Holm's method. All
    others are exploratory, adjusted within estimator, sink, and kind of test. A refit with the weights of an earlier
    one is no test of its own. Where no test counts as declared in advance all are exploratory, and the reason of those
    that the study file names says why.
    """
    within, between = _comparisons(study, comparisons), read_table(contrasts)
    kinds = _declared_kinds(study)
    if not within.empty:
        declared = is_primary(within, study.comparison.primary) & ("comparison" in kinds)
        declared &= within["level"].eq("model") & within["scope"].eq("refit")
        within = _with_roles(within, declared, undeclared, within.pop("repeat"))
    if not between.empty:
        over_refits = between["kind"].eq("alignment_pooled") & between["unit"].ne("family")
        declared = is_primary(between, study.comparison.primary) & between["kind"].isin(kinds)
        between = _with_roles(between, declared & ~over_refits, undeclared)
    parts = [
        tests.assign(table=name, family=[str(key) for key in tests[columns].itertuples(index=False, name=None)])
        for name, tests, columns in (("within", within, WITHIN), ("between", between, BETWEEN))
        if not tests.empty
    ]
    if not parts:
        return within, between
    adjusted = adjust(pd.concat(parts, ignore_index=True), ["table", "family"])
    found = []
    for name, tests in (("within", within), ("between", between)):
        own = adjusted[adjusted["table"] == name].reset_index(drop=True)
        if own.empty:
            found.append(tests)
            continue
        added = [column for column in (*ADJUSTED.values(), "adjustment") if column in own]
        if "p_equivalence" not in tests:
            added = [column for column in added if column != ADJUSTED["p_equivalence"]]
        tests = tests.assign(**{column: own[column].to_numpy() for column in added})
        estimates = tests if name == "between" else tests.assign(estimate=tests["delta_absolute"])
        verdicts = [verdict(row, study.comparison).value for row in records(estimates)]
        found.append(tests.assign(verdict=verdicts))
    return found[0], found[1]


def _declared_kinds(study: Study) -> Sequence[str]:
    """Kinds of tests that the study file declares; none of a study that declares questions instead."""
    if questions_of(study):
        return ()
    return KINDS if study.comparison.confirmatory is None else study.comparison.confirmatory


def within_refits(study: Study, tables: Tables) -> pd.DataFrame:
    """Comparisons of whole models within one refit, of the primary estimator with all keys kept; no repeats."""
    tests = tables["comparisons"]
    chosen = tests["level"].eq("model") & tests["scope"].eq("refit") & tests["role"].ne(REPEAT)
    return tests[chosen & is_primary(tests, study.comparison.primary)]


def _with_roles(
    tests: pd.DataFrame, declared: "pd.Series[bool]", undeclared: str | None, repeat: "pd.Series[bool] | None" = None
) -> pd.DataFrame:
    """The tests with their roles; those of `declared` that do not count as declared in advance say why."""
    if undeclared is None:
        return tests.assign(role=roles(declared, repeat))
    named = declared & tests["p"].notna()
    reasons = [
        joined(row["reason"], undeclared) if each else row["reason"]
        for row, each in zip(records(tests[["reason"]]), named, strict=True)
    ]
    role = roles(declared & False, repeat)
    return tests.assign(role=role, reason=pd.array(reasons, dtype="string"))


def _comparisons(study: Study, paths: Iterable[Path]) -> pd.DataFrame:
    """Comparisons in the order of the study, with a column `repeat`."""
    parts = {}
    for path in paths:
        part = read_table(path, ["scope", "seed", "aligned"])
        part["repeat"] = part["scope"].eq("refit") & ~part["seed"].isin(read_metadata(path)["refits"])
        parts[part["aligned"].iloc[0]] = part
    chosen = [parts[model.name] for model in study.descendants() if model.name in parts]
    return pd.concat(chosen, ignore_index=True) if chosen else pd.DataFrame()
