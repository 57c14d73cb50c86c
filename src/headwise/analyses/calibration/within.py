"""Calibration of what is done within one refit, where prompts in domains are the units."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from headwise.analyses.calibration.rates import Promise, Quantity, Rate, rate
from headwise.analyses.calibration.settings import Calibration
from headwise.analyses.calibration.shape import Shape
from headwise.analyses.specialization.estimators.entropy_profile import ESTIMATOR as ENTROPY_PROFILE
from headwise.statistics.arrays import FloatArray
from headwise.statistics.equivalence import equivalence
from headwise.statistics.intervals import BootstrapMethod, bootstrap_intervals, cluster_intervals
from headwise.statistics.multiplicity import benjamini_hochberg
from headwise.statistics.permutation import attainable_level, label_swap
from headwise.statistics.procedures import Procedure

BATCH = 50  # data sets that share random arrangements: many such batches, so that no set of arrangements matters
RESAMPLES = 1999
FEW_RESAMPLES = 99  # for a statistic that is slow; the level of a Monte Carlo test does not depend on their number
INDEPENDENT = "independent prompts"


def differences(shape: Shape, correlation: float, simulations: int, rng: np.random.Generator) -> FloatArray:
    """Null differences per prompt, deviation 1, of which prompts of a domain share a part: (P, simulations)."""
    names = {name: position for position, name in enumerate(dict.fromkeys(shape.domains))}
    members = [names[name] for name in shape.domains]
    shared = rng.normal(size=(len(names), simulations))[members]
    return np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * rng.normal(size=(shape.prompts, simulations))


def identity(means: FloatArray) -> FloatArray:
    return means


def swap_p(values: FloatArray, rng: np.random.Generator, clusters: tuple[str, ...] | None = None) -> FloatArray:
    """p of the label-swap test for each column of differences."""
    found = []
    for start in range(0, values.shape[1], BATCH):
        halves = values[:, start : start + BATCH] / 2
        tests = label_swap(-halves, halves, identity, rng, RESAMPLES, clusters=clusters)
        found += [np.nan if test.p is None else test.p for test in tests]
    return np.array(found)


def prompt_tests(shape: Shape, settings: Calibration, level: float, rng: np.random.Generator) -> Iterator[Rate]:
    """Label swaps of single prompts and of whole domains: level, what correlation does to it, power."""
    units = f"{shape.prompts} prompts in {len(set(shape.domains))} domains"
    shared: dict[str, Any] = {"units": units, "quantity": Quantity.REJECTION}
    smallest = 2.0 ** (1 - len(set(shape.domains)))
    for correlation in (0.0, *settings.domain_correlations):
        values = differences(shape, correlation, settings.simulations, rng)
        scenario = f"correlation {correlation:g} within domains" if correlation else INDEPENDENT
        remark = "prompts of a domain move together: the test is not made for that" if correlation else None
        yield rate(
            swap_p(values, rng) <= level,
            level,
            Promise.NONE if correlation else Promise.EXACTLY,
            procedure=Procedure.PROMPTS,
            scenario=scenario,
            reason=remark,
            **shared,
        )
        yield rate(
            swap_p(values, rng, shape.domains) <= level,
            attainable_level(smallest, level),
            Promise.EXACTLY,
            procedure=Procedure.DOMAINS,
            scenario=scenario,
            **shared,
        )
    for effect in settings.effects:
        values = effect + differences(shape, 0.0, settings.simulations, rng)
        yield rate(
            swap_p(values, rng) <= level,
            None,
            Promise.NONE,
            procedure=Procedure.PROMPTS,
            quantity=Quantity.POWER,
            scenario=INDEPENDENT,
            units=units,
            effect=effect,
        )


def profile_tests(shape: Shape, settings: Calibration, level: float, rng: np.random.Generator) -> Iterator[Rate]:
    """Label swaps for an estimator that is not linear in prompts: the entropy profile of layers and heads."""
    rejected = []
    for _ in range(settings.simulations):
        common = rng.normal(size=(shape.layers, shape.heads))
        first, second = common + rng.normal(size=(2, shape.prompts, shape.layers, shape.heads))
        (test,) = label_swap(first, second, lambda means: ENTROPY_PROFILE.summary(means)[:, None], rng, FEW_RESAMPLES)
        rejected.append(np.nan if test.p is None else test.p <= level)
    yield rate(
        rejected,
        level,
        Promise.EXACTLY,
        procedure=Procedure.PROMPTS,
        quantity=Quantity.REJECTION,
        scenario=f"entropy profile of {shape.layers} layers × {shape.heads} heads",
        units=f"{shape.prompts} prompts",
    )


def layer_tests(shape: Shape, settings: Calibration, level: float, rng: np.random.Generator) -> Iterator[Rate]:
    """Any rejection among layers after Benjamini and Hochberg's adjustment, layers correlated."""
    common = differences(shape, 0.0, settings.simulations, rng)
    layers = [
        swap_p((common + differences(shape, 0.0, settings.simulations, rng)) / np.sqrt(2), rng)
        for _ in range(shape.layers)
    ]
    rejected = [benjamini_hochberg(p, level).rejected.any() for p in np.transpose(layers)]
    yield rate(
        rejected,
        level,
        Promise.AT_MOST,
        procedure=Procedure.BY_LAYER,
        quantity=Quantity.REJECTION,
        scenario="layers correlated 0.5",
        units=f"{shape.layers} layers, {shape.prompts} prompts",
    )


def prompt_intervals(shape: Shape, settings: Calibration, level: float, rng: np.random.Generator) -> Iterator[Rate]:
    """Coverage of the interval in use, and of the bootstraps that it replaced."""
    clusters = list(shape.domains)
    units = f"{shape.prompts} prompts in {len(set(clusters))} domains"
    for correlation in (0.0, *settings.domain_correlations):
        values = differences(shape, correlation, settings.simulations, rng)
        scenario = f"correlation {correlation:g} within domains" if correlation else INDEPENDENT
        found = cluster_intervals(values, identity, rng, RESAMPLES, level, clusters)
        covered = [np.nan if each.low is None else each.low <= 0 <= (each.high or 0) for each in found]
        yield rate(
            covered,
            1 - level,
            Promise.EXACTLY,
            procedure=Procedure.DOMAIN_INTERVAL,
            quantity=Quantity.COVERAGE,
            scenario=scenario,
            units=units,
        )
    methods: dict[BootstrapMethod, Procedure] = {
        "percentile": Procedure.PERCENTILE,
        "bca": Procedure.BCA,
        "studentised": Procedure.STUDENTISED,
    }
    for method, procedure in methods.items():
        covered = []
        for start in range(0, settings.simulations, BATCH):
            values = differences(shape, 0.0, min(BATCH, settings.simulations - start), rng)
            found = bootstrap_intervals(values, identity, rng, RESAMPLES // 4, level, clusters, method)
            covered += [np.nan if each.low is None else each.low <= 0 <= (each.high or 0) for each in found]
        yield rate(
            covered,
            1 - level,
            Promise.NONE,
            procedure=procedure,
            quantity=Quantity.COVERAGE,
            scenario=INDEPENDENT,
            units=units,
            reason="not used for few domains",
        )


def equivalence_tests(shape: Shape, settings: Calibration, level: float, rng: np.random.Generator) -> Iterator[Rate]:
    """TOST over domains: false equivalence where the change is just at the margin, power where there is none."""
    margin, units = 0.5, f"{shape.prompts} prompts in {len(set(shape.domains))} domains"
    for effect, quantity in ((margin, Quantity.REJECTION), (0.0, Quantity.POWER)):
        values = effect + differences(shape, 0.1, settings.simulations, rng)
        results = [equivalence(column, margin, shape.domains).p for column in values.T]
        rejected = [np.nan if p is None else p <= level for p in results]
        null = quantity == Quantity.REJECTION
        yield rate(
            rejected,
            level if null else None,
            Promise.AT_MOST if null else Promise.NONE,
            procedure=Procedure.EQUIVALENCE,
            quantity=quantity,
            scenario="change at the margin of 0.5 deviations" if null else "no change, margin of 0.5 deviations",
            units=units,
            effect=effect,
        )
