"""Contrasts between models: architectures, and what alignment did to each, with refits as units."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headwise.provenance import read_metadata, write_table
from headwise.statistics.generators import generator_for
from headwise.statistics.intervals import t_interval, welch_interval
from headwise.statistics.permutation import sign_flip, two_sample
from headwise.statistics.result import joined
from headwise.study.comparison import Comparison

if TYPE_CHECKING:
    import pyarrow

# (estimator, sink) → base model → value of each refit
Values = dict[tuple[str, str], dict[str, list[float]]]


@dataclass(frozen=True)
class Contrast:
    """One row of the contrasts.

    kind       "architecture": value of a base model minus that of the reference model;
               "alignment_difference": change of a base model under a method minus that of the reference
               model; "alignment_pooled": mean change under a method
    method     of alignment; None for architectures
    group      the base model in question; "all" where changes are pooled
    reference  the base model that it is compared with; None where changes are pooled
    estimate   in the estimator's units, as are ci_low and ci_high
    n          units: refits, or families
    test       how p and the interval were made, in words
    reason     why something is undefined or must be read with care
    """

    kind: str
    estimator: str
    sink: str
    method: str | None
    group: str
    reference: str | None
    estimate: float | None
    ci_low: float | None
    ci_high: float | None
    p: float | None
    p_attainable: float | None
    n: int
    n_reference: int | None
    unit: str
    test: str
    reason: str | None


@dataclass(frozen=True)
class ModelChange:
    """Change of one estimator under alignment in one refit."""

    estimator: str
    sink: str
    base: str
    family: str
    method: str | None
    delta: float


def contrast_models(
    summaries: Sequence[Path],
    comparisons: Sequence[Path],
    output: Path,
    *,
    reference: str,
    settings: Comparison,
) -> None:
    """Contrast base models, and their changes under alignment, with the reference; write one row per test.

    summaries    summary.parquet of every model and refit; those of aligned models are passed over
    comparisons  what `compare_pair` wrote, one file per aligned model
    reference    name of the base model that the others are contrasted with
    settings     level and resamples

    Refits whose weights are those of an earlier refit are not counted. Raises ValueError where no summary is
    of the reference model.
    """
    values = base_values(summaries)
    known = {base for by_base in values.values() for base in by_base}
    if values and reference not in known:
        raise ValueError(f"no summary is of the reference model '{reference}': choose from {', '.join(sorted(known))}")
    changes = [change for path in comparisons for change in read_changes(path)]
    rows = [
        *architecture_contrasts(values, reference, settings),
        *alignment_differences(changes, reference, settings),
        *pooled_changes(changes, settings),
    ]
    metadata = next((read_metadata(path) for path in [*summaries, *comparisons]), {})
    shared = {key: metadata.get(key) for key in ("study", "prompts_digest", "corpus_digest")}
    write_table(_table(rows), output, {**shared, "reference": reference})


def base_values(summaries: Sequence[Path]) -> Values:
    """Values of base models at model level, one per refit with weights of its own; undefined ones as NaN."""
    import pyarrow.compute
    import pyarrow.parquet

    values: Values = {}
    seen = set()
    for path in summaries:
        metadata = read_metadata(path)
        model, weights = metadata["model"], metadata.get("weights_digest", str(path))
        if metadata.get("base") is not None or (model, weights) in seen:
            continue
        seen.add((model, weights))
        table = pyarrow.parquet.read_table(path, columns=["estimator", "sink", "scope", "value"])
        for row in table.filter(pyarrow.compute.field("scope") == "model").to_pylist():
            by_base = values.setdefault((row["estimator"], row["sink"]), {})
            by_base.setdefault(model, []).append(_or_nan(row["value"]))
    return values


def read_changes(comparison: Path) -> list[ModelChange]:
    """Changes at model level, one per refit that counts as one; undefined ones as NaN."""
    import pyarrow.compute
    import pyarrow.parquet

    refits = read_metadata(comparison)["refits"]
    field = pyarrow.compute.field
    chosen = (field("scope") == "refit") & (field("level") == "model") & field("seed").isin(refits)
    return [
        ModelChange(
            row["estimator"],
            row["sink"],
            row["base"],
            row["family"],
            row["method"],
            _or_nan(row["delta_absolute"]),
        )
        for row in pyarrow.parquet.read_table(comparison, filters=chosen).to_pylist()
    ]


def architecture_contrasts(values: Values, reference: str, settings: Comparison) -> Iterator[Contrast]:
    """Every other base model against the reference, over refits."""
    for (estimator, sink), by_base in values.items():
        for base, refits in by_base.items():
            if base != reference:
                yield _difference(
                    "architecture",
                    estimator,
                    sink,
                    None,
                    (base, refits),
                    (reference, by_base.get(reference, [])),
                    settings,
                )


def alignment_differences(changes: Sequence[ModelChange], reference: str, settings: Comparison) -> Iterator[Contrast]:
    """The change of every other base model under a method against the reference's, over refits."""
    for (estimator, sink, method), group in _grouped(changes).items():
        by_base: dict[str, list[float]] = {}
        for change in group:
            by_base.setdefault(change.base, []).append(change.delta)
        for base, deltas in by_base.items():
            if base != reference:
                yield _difference(
                    "alignment_difference",
                    estimator,
                    sink,
                    method,
                    (base, deltas),
                    (reference, by_base.get(reference, [])),
                    settings,
                )


def pooled_changes(changes: Sequence[ModelChange], settings: Comparison) -> Iterator[Contrast]:
    """The mean change under each method: over all refits, and over families by the mean of their refits.

    Refits of one family share architecture and recipe: only the row over families speaks of other families.
    """
    for (estimator, sink, method), group in _grouped(changes).items():
        by_family: dict[str, list[float]] = {}
        for change in group:
            if np.isfinite(change.delta):
                by_family.setdefault(change.family, []).append(change.delta)
        units = {
            "refit": [change.delta for change in group],
            "family": [float(np.mean(deltas)) for deltas in by_family.values()],
        }
        for unit, deltas in units.items():
            rng = generator_for("contrast", "alignment_pooled", estimator, sink, str(method), unit)
            test, interval = sign_flip(deltas, rng, settings.resamples), t_interval(deltas, settings.level)
            yield Contrast(
                kind="alignment_pooled",
                estimator=estimator,
                sink=sink,
                method=method,
                group="all",
                reference=None,
                estimate=test.estimate,
                ci_low=interval.low,
                ci_high=interval.high,
                p=test.p,
                p_attainable=test.p_attainable,
                n=test.n,
                n_reference=None,
                unit=unit,
                test=f"{test.method}; interval: {interval.method}",
                reason=joined(test.reason, interval.reason),
            )


def _difference(
    kind: str,
    estimator: str,
    sink: str,
    method: str | None,
    group: tuple[str, Sequence[float]],
    reference: tuple[str, Sequence[float]],
    settings: Comparison,
) -> Contrast:
    """A group of refits against the reference's: each a name with one number per refit."""
    rng = generator_for("contrast", kind, estimator, sink, str(method), group[0], reference[0])
    test = two_sample(group[1], reference[1], rng, settings.resamples)
    interval = welch_interval(group[1], reference[1], settings.level)
    return Contrast(
        kind=kind,
        estimator=estimator,
        sink=sink,
        method=method,
        group=group[0],
        reference=reference[0],
        estimate=test.estimate,
        ci_low=interval.low,
        ci_high=interval.high,
        p=test.p,
        p_attainable=test.p_attainable,
        n=test.n,
        n_reference=test.n_reference,
        unit="refit",
        test=f"{test.method}; interval: {interval.method}",
        reason=joined(test.reason, interval.reason),
    )


def _grouped(changes: Sequence[ModelChange]) -> Mapping[tuple[str, str, str | None], list[ModelChange]]:
    groups: dict[tuple[str, str, str | None], list[ModelChange]] = {}
    for change in changes:
        groups.setdefault((change.estimator, change.sink, change.method), []).append(change)
    return groups


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value


def _table(rows: Sequence[Contrast]) -> "pyarrow.Table":
    import pyarrow

    numbers = ("estimate", "ci_low", "ci_high", "p", "p_attainable")
    types = dict.fromkeys(numbers, pyarrow.float64()) | dict.fromkeys(("n", "n_reference"), pyarrow.int64())
    schema = pyarrow.schema([(field.name, types.get(field.name, pyarrow.string())) for field in fields(Contrast)])
    return pyarrow.Table.from_pylist([asdict(row) for row in rows], schema=schema)
