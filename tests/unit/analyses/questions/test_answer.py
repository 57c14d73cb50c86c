"""Answers against plain statistics, and what a coin, an injected effect and too few refits give."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from headwise.analyses.questions.answer import Asking, answers
from headwise.analyses.questions.settings import Question
from headwise.report.rows import Answer
from headwise.statistics.permutation import sign_flip
from headwise.statistics.power import power_to_detect
from headwise.study.comparison import Comparison

MARGIN = 0.013


def asked(**fields: Any) -> Asking:
    question = Question(**{"name": "q", "ask": "effect", "method": "dpo"} | fields)
    return Asking(question, "one", MARGIN if question.ask in ("effect", "effect_difference", "architecture") else None)


def refits(mean: float, deviation: float = 0.004, n: int = 5, seed: int = 0) -> pd.DataFrame:
    """Effects of two bases, n refits each, of exactly this mean and standard deviation over all."""
    drawn = np.random.default_rng(seed).normal(size=2 * n)
    effect = mean + deviation * (drawn - drawn.mean()) / drawn.std(ddof=1)
    rows = {"base": ["one"] * n + ["two"] * n, "seed": [*range(n)] * 2, "effect": effect, "placebo_change": 0.001}
    return pd.DataFrame(rows).assign(method="dpo", dose=1, estimator="hellinger", sink="kept")


def one(asking: Asking, undeclared: str | None = None, **tables: pd.DataFrame) -> Any:
    (row,) = answers([asking], tables, set(), Comparison(), undeclared)
    return row


@pytest.mark.parametrize(
    ("mean", "deviation", "claim", "answer"),
    [
        (0.03, 0.004, "differs", Answer.YES),
        (-0.03, 0.004, "differs", Answer.YES),
        (-0.03, 0.004, "falls", Answer.YES),
        (-0.03, 0.004, "rises", Answer.NO),
        (-0.0016, 0.0039, "differs", Answer.EQUIVALENT),
        (0.004, 0.02, "differs", Answer.UNDECIDED),
    ],
)
def test_the_four_answers(mean: float, deviation: float, claim: str, answer: Answer) -> None:
    found = one(asked(claim=claim), effect_refits=refits(mean, deviation))
    assert found.answer == answer
    assert found.estimate == pytest.approx(mean)
    assert found.alone == pytest.approx(0.001)
    assert (found.n, found.p_attainable) == (10, 2 / 2**10)


def test_the_interval_is_students_and_that_of_equivalence_is_wider_by_its_level() -> None:
    sample = refits(-0.0016)["effect"]
    found = one(asked(), effect_refits=refits(-0.0016))
    error = stats.sem(sample)
    assert (found.ci_low, found.ci_high) == pytest.approx(stats.t.interval(0.95, 9, sample.mean(), error))
    # Two one-sided tests at the level of one test of the set are an interval that covers 1 − 2 × .05.
    assert (found.within_low, found.within_high) == pytest.approx(stats.t.interval(0.90, 9, sample.mean(), error))


def test_the_declared_tests_are_one_set() -> None:
    tables = {"effect_refits": refits(0.004, 0.005)}
    questions = [asked(name="all"), asked(name="apart", ask="effect_difference", group="two")]
    rows = answers(questions, tables, set(), Comparison(), None)
    p = sorted(row.p for row in rows)
    expected = [min(1, 2 * p[0]), max(min(1, 2 * p[0]), p[1])]
    assert sorted(row.p_adjusted for row in rows) == pytest.approx(expected)
    assert {row.tests for row in rows} == {2}
    first, second = (refits(0.004, 0.005).query("base == @base")["effect"] for base in ("two", "one"))
    assert rows[1].estimate == pytest.approx(first.mean() - second.mean())
    welch = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    assert (rows[1].ci_low, rows[1].ci_high) == pytest.approx((welch.low, welch.high))


def test_what_an_undecided_question_would_need_decides_it() -> None:
    found = one(asked(), effect_refits=refits(0.004, 0.02))
    assert found.answer == Answer.UNDECIDED
    needed = found.units_needed
    assert needed > 10
    generator = np.random.default_rng(3)
    decided = 0
    for _ in range(200):
        sample = generator.normal(0, 0.02, needed)
        low, high = stats.t.interval(0.90, needed - 1, sample.mean(), stats.sem(sample))
        decided += low > -MARGIN and high < MARGIN
    found_it = sum(stats.ttest_1samp(generator.normal(0.004, 0.02, needed), 0).pvalue <= 0.05 for _ in range(200))
    assert max(decided, found_it) > stats.binom.ppf(0.001, 200, 0.8)


def test_power_is_that_of_the_test_in_this_design() -> None:
    """The share of samples of this design, drawn with the effect that was found, that the sign flip rejects."""
    found = one(asked(published=0.006), effect_refits=refits(0.004, 0.005))
    generator = np.random.default_rng(5)
    for effect, power in ((0.004, found.power), (0.006, found.power_published)):
        samples = generator.normal(effect, 0.005, (400, 10))
        rejected = sum(sign_flip(sample, generator, 999).p <= 0.05 for sample in samples)
        assert abs(rejected / 400 - power) < 0.08
    with pytest.raises(ValueError, match="has no test, so no power"):
        asked(ask="agreement", group="two", method=None, published=0.5)


def test_without_a_standing_declaration_nothing_is_confirmatory() -> None:
    found = one(asked(), "the declaration changed", effect_refits=refits(0.03))
    assert not found.confirmatory
    assert "the declaration changed" in found.reason


def test_bases_are_compared_without_refits_that_repeat() -> None:
    rows = [
        {"model": model, "seed": seed, "value": value + 0.01 * seed}
        for model, value in (("one", 0.3), ("two", 0.2))
        for seed in range(5)
    ]
    table = pd.DataFrame(rows).assign(estimator="hellinger", sink="kept", scope="model")
    question = asked(ask="architecture", group="two", method=None)
    (found,) = answers([question], {"specialization": table}, {("two", 4)}, Comparison(), None)
    assert (found.n, found.n_reference) == (4, 5)
    assert found.estimate == pytest.approx(0.2 + 0.015 - 0.3 - 0.02)
    assert found.answer == Answer.YES


def test_noise_is_a_ratio_and_agreement_an_interval() -> None:
    noise = pd.DataFrame(
        [
            {
                **{"kind": "architecture", "group": "two", "reference": "one", "site": "attention_output"},
                **{"scale": "relative", "region": "all", "geometric_mean": 1.3, "geometric_low": 1.1},
                **{"geometric_high": 1.5, "p": 0.0079, "p_attainable": 0.0079, "n": 5, "n_reference": 5},
                **{"method": "permutation", "reason": None, "log_deviation": 0.15},
            }
        ]
    )
    found = one(asked(ask="noise", group="two", method=None, claim="rises", published=8.67), noise_contrasts=noise)
    assert found.answer == Answer.YES
    assert found.power == pytest.approx(power_to_detect(np.log(1.3), 0.15, [5, 5], 0.05))
    assert found.power_published == pytest.approx(1)
    assert np.exp([found.estimate, found.ci_low, found.ci_high]) == pytest.approx([1.3, 1.1, 1.5])
    missing = one(asked(ask="noise", group="two", method=None, site="keys"), noise_contrasts=noise)
    assert missing.answer == Answer.UNDECIDED
    assert missing.reason
    blank = dict.fromkeys(("taken_from", "words", "refit", "layer", "head"))
    agreement = {"group": "two", "analysis": "head_stability", "version": "corrected", "weights": "trained", **blank}
    numbers = {"chance_corrected": 0.13, "corrected_low": 0.09, "corrected_high": 0.17, "chance": 0.8, "n": 5}
    table = pd.DataFrame(
        [agreement | {"measure": "cosine", "p": None, "method": "jackknife", "reason": None} | numbers]
    )
    found = one(asked(ask="agreement", group="two", method=None, claim="rises"), stability=table)
    assert (found.answer, found.p, found.alone, found.confirmatory) == (Answer.YES, None, 0.8, False)
