"""Which factor of a set of models goes with specialization, and with what alignment does to it: effects, shares of
variance, and their order.

The order that D'Elia 2026 claims is one of changes under alignment, so that these are decomposed, with the levels of
specialization beside them. Where a study trains the models, factors are switched by design and effects are causal for
its recipe; over models that others made, everything that goes with a factor is in its effect.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from headwise.analyses.factors.rows import Design, FactorRow, Outcome, Quantity
from headwise.analyses.specialization.refits import differences, own_refits
from headwise.runtime.parquet import read_arrow, read_metadata
from headwise.statistics.arrays import FloatArray
from headwise.statistics.decomposition import decompose
from headwise.statistics.generators import generator_for
from headwise.statistics.intervals import jackknife_intervals
from headwise.statistics.result import finite_or_none, joined
from headwise.statistics.shapley import freedman_lane
from headwise.statistics.values import left_out
from headwise.study.comparison import Comparison
from headwise.study.name_consistency import UNALIGNED, UNNAMED
from headwise.tables.files import write_rows

# The order of shares that D'Elia 2026 claims in its title and abstract.
CLAIMED = ("training", "window", "attention", "scale")
RESAMPLES = 1999
FEW_FAMILIES = 20
MADE_HERE = ("train", "align")
# Levels that others are compared with, where a factor has them; else the first in the alphabet.
REFERENCES = {"training": UNALIGNED, "data": "corpus", "window": "none", "attention": "multi-head"}


@dataclass(frozen=True)
class Unit:
    """A value of one model and refit, the levels of its factors, and the refit that it shares with others."""

    value: float
    levels: Mapping[str, str | float]
    cluster: str
    made_here: bool


@dataclass(frozen=True)
class Change:
    """An aligned model, and the model that its values are set against: its placebo, else its base."""

    model: str
    against: str


# (estimator, sink): what is decomposed.
Samples = dict[tuple[str, str], list[Unit]]
# (model, seed): what was measured of it, by (estimator, sink).
Measured = dict[tuple[str, int], dict[tuple[str, str], Unit]]


def analyse_factors(
    summaries: Sequence[Path], table: Path, settings: Comparison, changes: Sequence[Change], outcome: Outcome
) -> None:
    """Effects and shares of every factor that varies, for every estimator with all keys kept; one row each.

    summaries  summary.parquet of every model and refit; repeats of one refit's weights are not counted
    changes    what alignment does: pairs of models whose difference is decomposed, refit by refit
    outcome    what such a difference is
    """
    measured = read_units(summaries)
    samples = {outcome: by_estimator(changed_units(measured, changes)), Outcome.LEVEL: by_estimator(measured.values())}
    rows = [
        row
        for kind, of_kind in samples.items()
        for (name, sink), own in of_kind.items()
        for row in factor_rows(kind, name, sink, own, settings)
    ]
    metadata = read_metadata(summaries[0])
    write_rows(FactorRow, rows, table, {key: metadata.get(key) for key in ("study", "prompts_digest")})


def read_units(summaries: Sequence[Path]) -> Measured:
    """Units with all keys kept, of models whose architecture is recorded."""
    import pyarrow.compute

    field = pyarrow.compute.field
    chosen = (field("scope") == "model") & (field("sink") == "kept")
    measured: Measured = {}
    for path, metadata in own_refits(summaries).items():
        if not metadata.get("architecture"):
            continue
        levels = levels_of(metadata)
        cluster = f"{metadata['base'] or metadata['model']} seed {metadata['seed']}"
        measured[metadata["model"], metadata["seed"]] = {
            (row["estimator"], row["sink"]): Unit(
                np.nan if row["value"] is None else row["value"], levels, cluster, metadata["source"] in MADE_HERE
            )
            for row in read_arrow(path, ["estimator", "sink", "scope", "value"], chosen).to_pylist()
        }
    return measured


def by_estimator(measured: Iterable[Mapping[tuple[str, str], Unit]]) -> Samples:
    """The units of each estimator."""
    samples: Samples = {}
    for units in measured:
        for key, unit in units.items():
            samples.setdefault(key, []).append(unit)
    return samples


def changed_units(measured: Measured, changes: Iterable[Change]) -> Iterator[dict[tuple[str, str], Unit]]:
    """Each model less what it is set against, in every refit of which both were measured."""
    against = {change.model: change.against for change in changes}
    for (model, seed), units in measured.items():
        if model in against:
            found = differences(_values(units), _values(measured.get((against[model], seed), {})))
            yield {key: replace(units[key], value=value) for key, value in found.items()}


def _values(units: Mapping[tuple[str, str], Unit]) -> dict[tuple[str, str], float]:
    return {key: unit.value for key, unit in units.items()}


def levels_of(metadata: Mapping[str, Any]) -> dict[str, str | float]:
    """Levels of the factors of a model, from what its measurement recorded."""
    architecture = metadata["architecture"]
    windows = [window for window in architecture.get("windows", []) if window is not None]
    return {
        "training": UNALIGNED if metadata.get("base") is None else metadata.get("method") or UNNAMED,
        "data": str(metadata.get("data") or "corpus"),
        "window": f"{min(windows)} tokens" if windows else "none",
        "attention": str(architecture.get("attention")),
        # Not the number of parameters, which sharing of keys and values changes as well.
        "scale": float(np.log10(architecture["layers"] * architecture["hidden"] ** 2)),
    }


def factor_rows(
    kind: Outcome, name: str, sink: str, units: Sequence[Unit], settings: Comparison
) -> Iterator[FactorRow]:
    """All rows of one estimator, of its levels or of its changes.

    Factors of one level only are left out; with none left there are no rows.
    """
    values = np.array([unit.value for unit in units])
    defined = [unit for unit, value in zip(units, values, strict=True) if np.isfinite(value)]
    factors = {
        factor: [unit.levels[factor] for unit in defined]
        for factor in (defined[0].levels if defined else ())
        if len({unit.levels[factor] for unit in defined}) > 1
    }
    if not factors:
        return
    outcome = np.array([unit.value for unit in defined])
    clusters = [unit.cluster for unit in defined]
    rng = generator_for("factors", name, sink, *(() if kind == Outcome.LEVEL else (kind,)))
    found = decompose(outcome, factors, rng, RESAMPLES, settings.level, clusters)
    count, by_design = len(set(clusters)), all(unit.made_here for unit in defined)
    few = joined(
        left_out(len(units) - len(defined), "models and refits without a value, left out: {}"),
        f"{count} clusters: descriptive" if not by_design and count < FEW_FAMILIES else None,
    )
    shared: dict[str, Any] = {
        "outcome": kind,
        "estimator": name,
        "sink": sink,
        "n": len(defined),
        "clusters": count,
        "design": Design.BY_DESIGN if by_design else Design.DESCRIPTIVE,
    }
    for result, factor, quantity in [
        (found.explained, "all", Quantity.EXPLAINED),
        *((share, factor, Quantity.SHARE) for factor, share in found.shares.items()),
    ]:
        yield FactorRow(
            **shared,
            quantity=quantity,
            factor=factor,
            estimate=result.estimate,
            ci_low=result.low,
            ci_high=result.high,
            p=result.p,
            p_attainable=result.p_attainable,
            by_chance=getattr(result, "by_chance", None),
            method=result.method,
            reason=joined(result.reason, few),
        )
    yield FactorRow(
        **shared,
        quantity=Quantity.ORDER,
        factor=" > ".join(found.order),
        estimate=found.order_kept,
        distinguishable=found.distinguishable(),
        claimed=[factor for factor in found.order if factor in CLAIMED] == claimed_order(found.order),
        method="share of resamples with this order",
    )
    for row in _effects(outcome, factors, clusters, settings, rng):
        yield FactorRow(**shared, **row | {"reason": joined(row["reason"], few)})


def claimed_order(factors: Iterable[str]) -> list[str]:
    """These of the factors of D'Elia's claim, in the order that it claims."""
    return [factor for factor in CLAIMED if factor in set(factors)]


def _effects(
    outcome: FloatArray,
    factors: Mapping[str, Sequence[str | float]],
    clusters: Sequence[str],
    settings: Comparison,
    rng: np.random.Generator,
) -> Iterator[dict[str, Any]]:
    """Least-squares effects given all other factors, with the jackknife over clusters."""
    kinds = {factor: _kinds(factor, levels) for factor, levels in factors.items()}
    blocks = {
        factor: np.array(levels, dtype=np.float64)[:, None]
        if factor == "scale"
        else np.array([[level == kind for kind in kinds[factor][1:]] for level in levels], dtype=np.float64)
        for factor, levels in factors.items()
    }
    design = np.concatenate([np.ones((len(outcome), 1)), *blocks.values()], axis=1)
    size = design.shape[1]
    moments = np.einsum("ni,nj->nij", design, design).reshape(len(outcome), -1)
    features = np.concatenate([moments, design * outcome[:, None]], axis=1)

    def coefficients(means: FloatArray) -> FloatArray:
        squares, products = means[:, : size * size].reshape(-1, size, size), means[:, size * size :]
        # A level that a left-out cluster held alone leaves its effect undefined.
        full = np.linalg.matrix_rank(squares, hermitian=True) == size
        solved = np.einsum("rij,rj->ri", np.linalg.pinv(squares, hermitian=True), products)
        return np.where(full[:, None], solved, np.nan)

    intervals = jackknife_intervals(features, coefficients, settings.level, clusters)[1:]
    p_values = {factor: freedman_lane(outcome, blocks, factor, rng, RESAMPLES) for factor in blocks}
    names = [(factor, kind, own[0]) for factor, own in kinds.items() for kind in own[1:]]
    for (factor, level, reference), interval in zip(names, intervals, strict=True):
        p = p_values[factor]
        yield {
            "quantity": Quantity.EFFECT,
            "factor": factor,
            "level": level,
            "reference_level": reference,
            "estimate": None if interval.estimate is None else finite_or_none(interval.estimate),
            "ci_low": interval.low,
            "ci_high": interval.high,
            "p": p,
            "p_attainable": None if p is None else 1 / (RESAMPLES + 1),
            "method": f"least squares given the other factors; {interval.method} over clusters; p: Freedman–Lane",
            "reason": interval.reason,
        }


def _kinds(factor: str, levels: Sequence[str | float]) -> list[str | None]:
    """The reference level, then all others in the order of the alphabet; of scale its unit alone."""
    if factor == "scale":
        return [None, "tenfold layers × width²"]
    kinds = sorted({str(level) for level in levels})
    reference = REFERENCES.get(factor, kinds[0])
    first = reference if reference in kinds else kinds[0]
    return [first, *(kind for kind in kinds if kind != first)]
