"""Answers to the declared questions, from finished tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headwise.analyses.declaration.rows import DeclaredField
from headwise.analyses.declaration.undeclared import why_undeclared
from headwise.analyses.effects.rows import RefitEffect
from headwise.analyses.noise.rows import NoiseContrast, NoiseSharing
from headwise.analyses.questions.rows import AnswerRow, Claim, Estimand
from headwise.analyses.questions.settings import OF_PRIMARY, TESTED, Ask, Question
from headwise.analyses.specialization.rows import ContrastRow, SpecializationRow
from headwise.analyses.stability.rows import StabilityRow
from headwise.report.columns import is_primary
from headwise.report.gather import repeated_refits
from headwise.report.rows import Answer
from headwise.runtime.parquet import read_metadata
from headwise.statistics.arrays import FloatArray
from headwise.statistics.generators import generator_for
from headwise.statistics.intervals import Interval, t_interval, welch_interval
from headwise.statistics.multiplicity import holm
from headwise.statistics.permutation import sign_flip, two_sample
from headwise.statistics.power import (
    pooled_deviation,
    power_to_detect,
    units_for_equivalence,
    units_to_detect,
)
from headwise.statistics.procedures import Procedure
from headwise.statistics.result import finite_or_none, joined
from headwise.statistics.tested import cells_of
from headwise.study.comparison import Comparison
from headwise.tables.files import read_rows, write_rows
from headwise.tables.frame import records
from headwise.tables.row import Row

SOURCES: dict[str, type[Row]] = {
    row.table: row for row in (SpecializationRow, ContrastRow, RefitEffect, NoiseContrast, NoiseSharing, StabilityRow)
}


PROCEDURES: dict[str, Procedure] = {
    Ask.EFFECT: Procedure.REFITS,
    Ask.EFFECT_DIFFERENCE: Procedure.TWO_SAMPLES,
    Ask.ARCHITECTURE: Procedure.TWO_SAMPLES,
    Ask.CHANGE: Procedure.FAMILIES,
    Ask.NOISE: Procedure.TWO_SAMPLES,
}


@dataclass(frozen=True)
class Asking:
    """A question with what follows from the rest of the study: its reference and its margin."""

    question: Question
    reference: str
    margin: float | None


@dataclass(frozen=True)
class Samples:
    """One number per unit; with a second sample, what is estimated is the difference of the means."""

    first: FloatArray
    second: FloatArray | None = None

    def interval(self, level: float) -> Interval:
        """Student's interval of the mean, Welch's of a difference."""
        return t_interval(self.first, level) if self.second is None else welch_interval(self.first, self.second, level)

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the units, of two samples pooled."""
        return finite_or_none(pooled_deviation([each for each in (self.first, self.second) if each is not None]))


def answer_questions(
    asked: Sequence[Asking],
    comparison: Comparison,
    summaries: Sequence[Path],
    declaration: Path,
    finished: Sequence[Path],
    study: str,
    table: Path,
) -> None:
    """Write a row per question.

    asked        the questions, in order
    summaries    what estimators gave of every model and seed, for the digests of weights that they carry
    declaration  finished table of the declaration: where it does not stand, no test is confirmatory
    finished     the finished tables that the questions need, each named {table}.parquet
    """
    tables = {path.stem: read_rows(SOURCES[path.stem], path) for path in finished}
    repeats = set(repeated_refits((path, read_metadata(path)) for path in summaries))
    undeclared = why_undeclared(read_rows(DeclaredField, declaration))
    write_rows(AnswerRow, answers(asked, tables, repeats, comparison, undeclared), table, {"study": study})


def answers(
    asked: Sequence[Asking],
    tables: Mapping[str, pd.DataFrame],
    repeats: set[tuple[str, int]],
    comparison: Comparison,
    undeclared: str | None,
) -> list[AnswerRow]:
    """The answers, their p-values adjusted as one set (Holm 1979)."""
    tests = sum(each.question.ask in TESTED for each in asked)
    found = [_evidence(each, tables, repeats, comparison, tests) for each in asked]
    tested = [row for row in found if row.p is not None]
    adjusted = dict(zip([row.question for row in tested], holm([float(row.p or 0) for row in tested]).p, strict=True))
    rows = []
    for row in found:
        row = replace(
            row,
            p_adjusted=finite_or_none(adjusted.get(row.question, np.nan)),
            confirmatory=undeclared is None and row.ask in TESTED,
            reason=joined(row.reason, undeclared if row.ask in TESTED else None),
        )
        row = replace(row, answer=answer_of(row, comparison.level))
        row = replace(
            row,
            power=_power(row, row.estimate, comparison.level),
            power_published=_power(row, row.published, comparison.level),
        )
        if row.answer == Answer.UNDECIDED:
            row = replace(row, units_needed=units_needed(row, comparison.level))
        rows.append(row)
    return rows


def answer_of(row: AnswerRow, level: float) -> Answer:
    """The answer that test and intervals give.

    Equivalent where the interval of two one-sided tests lies within the margin. Else yes or no where the adjusted test
    rejects, or there is none, and the whole interval lies on one side of 0.
    """
    if _is_within(row):
        return Answer.EQUIVALENT
    rejects = row.p_adjusted <= level if row.p_adjusted is not None else row.ask not in TESTED
    if not rejects or row.ci_low is None or row.ci_high is None or row.ci_low <= 0 <= row.ci_high:
        return Answer.UNDECIDED
    sign = Claim.RISES if row.ci_low > 0 else Claim.FALLS
    return Answer.YES if row.claim in (Claim.DIFFERS, sign) else Answer.NO


def _is_within(row: AnswerRow) -> bool:
    """Whether the interval of two one-sided tests lies within the margin."""
    if row.margin is None or row.within_low is None or row.within_high is None:
        return False
    return -row.margin < row.within_low and row.within_high < row.margin


def _power(row: AnswerRow, effect: float | None, level: float) -> float | None:
    """Power of a row's test at a true effect, at the level that the strictest of the declared tests has."""
    if row.p is None or row.deviation is None or effect is None:
        return None
    sizes = [row.n] if row.n_reference is None else [row.n, row.n_reference]
    return power_to_detect(effect, row.deviation, sizes, level / max(1, row.tests))


def units_needed(row: AnswerRow, level: float) -> int | None:
    """Units, of each sample, with which the test decides if what was found is true, or equivalence if nothing is."""
    if row.deviation is None or row.estimate is None:
        return None
    each, samples = level / max(1, row.tests), 1 if row.n_reference is None else 2
    found = [units_to_detect(row.estimate, row.deviation, each, samples)]
    if row.margin is not None:
        found.append(units_for_equivalence(row.margin, row.deviation, each, samples))
    return min((count for count in found if count is not None), default=None)


def _evidence(
    each: Asking,
    tables: Mapping[str, pd.DataFrame],
    repeats: set[tuple[str, int]],
    comparison: Comparison,
    tests: int,
) -> AnswerRow:
    """Estimate, interval and test of one question."""
    question = each.question
    of_two = question.ask in (Ask.EFFECT_DIFFERENCE, Ask.ARCHITECTURE, Ask.NOISE)
    row = AnswerRow(
        question=question.name,
        title=question.title,
        ask=Ask(question.ask),
        method=question.method,
        dose=question.dose if question.ask in (Ask.EFFECT, Ask.EFFECT_DIFFERENCE) else None,
        group=question.group,
        reference=each.reference if of_two else None,
        site=question.site if question.ask in (Ask.NOISE, Ask.SHARING) else None,
        claim=Claim(question.claim),
        answer=Answer.UNDECIDED,
        estimand=Estimand.ESTIMATOR if question.ask in OF_PRIMARY else Estimand.LOG_RATIO,
        n=0,
        unit="refit",
        test="",
        confirmatory=False,
        tests=tests,
        margin=each.margin,
        published=question.published,
        procedure=PROCEDURES.get(question.ask),
    )
    if question.ask in (Ask.EFFECT, Ask.EFFECT_DIFFERENCE):
        return _of_effects(row, tables[RefitEffect.table], comparison)
    if question.ask == Ask.ARCHITECTURE:
        return _of_bases(row, tables[SpecializationRow.table], repeats, comparison)
    if question.ask == Ask.CHANGE:
        return _of_families(row, tables[ContrastRow.table], comparison)
    if question.ask == Ask.NOISE:
        return _of_noise(row, tables[NoiseContrast.table], question)
    if question.ask == Ask.SHARING:
        return _of_sharing(row, tables[NoiseSharing.table], question)
    return _of_agreement(row, tables[StabilityRow.table])


def _of_samples(row: AnswerRow, samples: Samples, comparison: Comparison) -> AnswerRow:
    generator = generator_for("question", row.question)
    if samples.second is None:
        test = sign_flip(samples.first, generator, comparison.resamples)
    else:
        test = two_sample(samples.first, samples.second, generator, comparison.resamples)
    interval = samples.interval(comparison.level)
    within = samples.interval(min(0.99, 2 * comparison.level / max(1, row.tests)))
    row = replace(row, **cells_of(test, interval))
    return replace(row, within_low=within.low, within_high=within.high, deviation=samples.deviation)


def _of_effects(row: AnswerRow, refits: pd.DataFrame, comparison: Comparison) -> AnswerRow:
    own = refits[is_primary(refits, comparison.primary)]
    own = own[own["method"].eq(str(row.method)) & own["dose"].eq(row.dose or 1)]
    if row.ask == Ask.EFFECT:
        row = replace(row, alone=finite_or_none(float(own["placebo_change"].mean())))
        return _of_samples(row, Samples(own["effect"].to_numpy(np.float64)), comparison)
    first, second = (own.loc[own["base"] == base, "effect"].to_numpy(np.float64) for base in (row.group, row.reference))
    return _of_samples(row, Samples(first, second), comparison)


def _of_bases(
    row: AnswerRow, specialization: pd.DataFrame, repeats: set[tuple[str, int]], comparison: Comparison
) -> AnswerRow:
    own = specialization[is_primary(specialization, comparison.primary)]
    own = own[own["scope"] == "model"]

    def values(model: str | None) -> FloatArray:
        rows = records(own[own["model"] == model])
        kept = [each["value"] for each in rows if (model, each["seed"]) not in repeats]
        return np.array([np.nan if value is None else value for value in kept], dtype=np.float64)

    return _of_samples(row, Samples(values(row.group), values(row.reference)), comparison)


def _copied(row: AnswerRow, found: Mapping[str, Any], **names: str) -> AnswerRow:
    """The row with cells of a finished table; `names` are those that are called otherwise there."""
    fields = {
        name: name
        for name in ("estimate", "ci_low", "ci_high", "p", "p_attainable", "n", "n_reference", "test", "reason")
    }
    return replace(row, **{name: found[source] for name, source in (fields | names).items() if source in found})


def _of_families(row: AnswerRow, contrasts: pd.DataFrame, comparison: Comparison) -> AnswerRow:
    own = contrasts[is_primary(contrasts, comparison.primary)]
    own = own[own["kind"].eq("alignment_pooled") & own["unit"].eq("family") & own["method"].eq(str(row.method))]
    if own.empty:
        return replace(row, unit="family", reason="no model was aligned by this method")
    return _copied(replace(row, unit="family"), records(own)[0])


def _of_noise(row: AnswerRow, contrasts: pd.DataFrame, question: Question) -> AnswerRow:
    own = contrasts[
        contrasts["kind"].eq("architecture")
        & contrasts["group"].eq(str(row.group))
        & contrasts["reference"].eq(str(row.reference))
        & contrasts["site"].eq(question.site)
        & contrasts["scale"].eq(question.scale)
        & contrasts["region"].eq("all")
    ]
    if own.empty:
        return replace(row, reason="the section noise measures no such contrast: add site and scale there")
    found = records(own)[0]
    return replace(
        _copied(row, found, test="method"),
        deviation=found["log_deviation"],
        estimate=_log(found["geometric_mean"]),
        ci_low=_log(found["geometric_low"]),
        ci_high=_log(found["geometric_high"]),
    )


def _log(ratio: float | None) -> float | None:
    return None if ratio is None or ratio <= 0 else float(np.log(ratio))


def _of_sharing(row: AnswerRow, sharing: pd.DataFrame, question: Question) -> AnswerRow:
    own = sharing[
        sharing["model"].eq(str(row.group))
        & sharing["site"].eq(question.site)
        & sharing["scale"].eq(question.scale)
        & sharing["region"].eq("all")
    ]
    if own.empty:
        return replace(row, reason="the section noise measures no such twin: add site, scale and `duplicate` there")
    names = {"estimate": "log_ratio", "ci_low": "log_low", "ci_high": "log_high", "test": "method"}
    return _copied(row, records(own)[0], **names)


def _of_agreement(row: AnswerRow, stability: pd.DataFrame) -> AnswerRow:
    row = replace(row, estimand=Estimand.AGREEMENT)
    blank = ["taken_from", "words", "refit", "layer", "head"]
    own = stability[
        stability["group"].eq(str(row.group))
        & stability["analysis"].eq("head_stability")
        & stability["version"].eq("corrected")
        & stability["weights"].eq("trained")
        & stability["measure"].eq("cosine")
        & stability[blank].isna().all(axis=1)
    ]
    if own.empty:
        return replace(row, reason="the section stability does not measure this group")
    found = records(own)[0]
    names = {"estimate": "chance_corrected", "ci_low": "corrected_low", "ci_high": "corrected_high"}
    row = _copied(row, found | {"p": None, "p_attainable": None}, **names, test="method")
    return replace(row, alone=found["chance"], n=found["n"] or 0)
