"""Effects against plain arithmetic, and what a coin gives."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from headwise.analyses.effects.measure import Arm, adjusted, effect_rows, refit_effects
from headwise.analyses.effects.rows import Quantity, RefitEffect
from headwise.study.comparison import Comparison
from headwise.tables.frame import frame_of

ARMS = [Arm("dpo", 1, base, f"{base}-dpo", f"{base}-coin") for base in ("one", "two")]


def table(values: dict[str, list[float]]) -> pd.DataFrame:
    """The table of specialization with one estimator: a value per model and seed."""
    rows = [
        {"model": model, "seed": seed, "estimator": "hellinger", "sink": "kept", "scope": "model", "value": value}
        for model, own in values.items()
        for seed, value in enumerate(own, start=1)
    ]
    return pd.DataFrame([*rows, rows[0] | {"scope": "layer", "value": 99.0}])


def drawn(seed: int, refits: int = 5, effect: float = 0.0) -> dict[str, list[float]]:
    generator = np.random.default_rng(seed)
    values = {}
    for base in ("one", "two"):
        start = generator.normal(0.3, 0.02, refits)
        values[base] = list(start)
        values[f"{base}-coin"] = list(start + generator.normal(0, 0.004, refits))
        values[f"{base}-dpo"] = list(start + generator.normal(effect, 0.004, refits))
    return values


def rows_of(values: dict[str, list[float]]) -> dict[tuple[str, str, str | None], object]:
    refits = frame_of(RefitEffect, refit_effects(table(values), ARMS, set()))
    rows = adjusted(effect_rows(refits, "one", Comparison()))
    return {(row.quantity, row.group, row.reference): row for row in rows}


def test_the_effect_is_the_arm_less_the_placebo_refit_by_refit() -> None:
    values = drawn(1)
    rows = rows_of(values)
    effects = {base: np.subtract(values[f"{base}-dpo"], values[f"{base}-coin"]) for base in ("one", "two")}
    for base, effect in effects.items():
        row = rows[Quantity.EFFECT, base, None]
        assert row.estimate == pytest.approx(effect.mean(), abs=1e-15)
        low, high = stats.t.interval(0.95, 4, effect.mean(), stats.sem(effect))
        assert (row.ci_low, row.ci_high) == pytest.approx((low, high))
        arm, placebo = rows[Quantity.ARM, base, None], rows[Quantity.PLACEBO, base, None]
        assert row.estimate == pytest.approx(arm.estimate - placebo.estimate, abs=1e-15)
    pooled = rows[Quantity.EFFECT, "all", None]
    assert pooled.n == 10
    assert pooled.p_attainable == 2 / 2**10
    assert pooled.estimate == pytest.approx(np.concatenate(list(effects.values())).mean(), abs=1e-15)
    apart = rows[Quantity.EFFECT, "two", "one"]
    assert apart.estimate == pytest.approx(effects["two"].mean() - effects["one"].mean(), abs=1e-15)
    assert apart.p_attainable == pytest.approx(2 / 252)
    larger = [abs(np.subtract(values[f"one-{arm}"], values["one"])) for arm in ("dpo", "coin")]
    assert rows[Quantity.LARGER, "one", None].estimate == pytest.approx((larger[0] - larger[1]).mean(), abs=1e-15)


def test_a_coin_against_a_coin_is_rejected_as_rarely_as_the_level_says() -> None:
    """Ten refits: multiples of 1/512 can be attained, so at .05 at most 25 of 512 sign patterns reject."""
    rejected = sum(rows_of(drawn(seed))[Quantity.EFFECT, "all", None].p <= 0.05 for seed in range(200))
    assert rejected <= stats.binom.ppf(1 - 1e-4, 200, 0.05)


def test_an_injected_effect_is_found() -> None:
    row = rows_of(drawn(3, effect=-0.02))[Quantity.EFFECT, "all", None]
    assert row.p == pytest.approx(row.p_attainable)
    assert row.ci_high < 0


def test_refits_that_repeat_and_models_that_are_missing_count_for_nothing() -> None:
    values = drawn(5)
    del values["two-coin"]
    found = refit_effects(table(values), ARMS, {("one-dpo", 2)})
    assert [(row.base, row.seed) for row in found] == [("one", seed) for seed in (1, 3, 4, 5)]


def test_an_undefined_value_is_no_number() -> None:
    values = drawn(6)
    values["one-dpo"][0] = float("nan")
    row = rows_of(values)[Quantity.EFFECT, "one", None]
    assert row.n == 4
    assert row.reason
