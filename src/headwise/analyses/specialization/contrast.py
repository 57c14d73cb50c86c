"""Contrasts between models: architectures, and what alignment did to each, with refits as units."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from headwise.analyses.specialization.refits import own_refits
from headwise.runtime.parquet import read_arrow, read_metadata, read_table, write_table
from headwise.statistics.covariate import difference_at_equal
from headwise.statistics.effects import family_effects, random_effects
from headwise.statistics.generators import generator_for
from headwise.statistics.intervals import Interval, t_interval, welch_interval
from headwise.statistics.permutation import PermutationTest, sign_flip, two_sample
from headwise.statistics.tested import cells_of
from headwise.statistics.ties import difference
from headwise.study.comparison import Comparison

if TYPE_CHECKING:
    import pyarrow

# (estimator, sink) → base model → seed → value of that refit
Values = dict[tuple[str, str], dict[str, dict[int, float]]]
# (model, seed): held-out loss at the end of training, nats per token
Losses = dict[tuple[str, int], float]
ALL = "all"


@dataclass(frozen=True)
class Contrast:
    """One row of the contrasts.

    kind             "architecture": value of a base model minus that of the reference model;
                     "architecture_by_seed": the same, refits paired by the seed that sets the order of their data;
                     "alignment_difference": change of a base model under a method minus that of the reference
                     model; "alignment_pooled": mean change under a method; "alignment_random_effects": the same with
                     families weighted by their errors; "alignment_without_family": the same without one family
    method           of alignment; None for architectures
    group            the base model in question, or the family left out; "all" where changes are pooled
    reference        the base model that it is compared with; None where changes are pooled
    estimate         in the estimator's units, as are ci_low, ci_high, tau and the ends of the prediction interval
    n                units: refits, seeds or families
    at_equal_loss    the same between refits of one held-out loss (analysis of covariance), from at_equal_loss_low to
                     at_equal_loss_high; for "architecture", of models that were trained here
    tau              standard deviation of true changes between families; for random effects
    prediction_low   the interval from here
    prediction_high  to here covers the change of a further family; for random effects
    test             how p and the interval were made, in words
    reason           why something is undefined or must be read with care
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
    at_equal_loss: float | None = None
    at_equal_loss_low: float | None = None
    at_equal_loss_high: float | None = None
    tau: float | None = None
    prediction_low: float | None = None
    prediction_high: float | None = None
    reason: str | None = None


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
    table: Path,
    *,
    reference: str,
    settings: Comparison,
    curves: Sequence[Path] = (),
) -> None:
    """Contrast base models, and their changes under alignment, with the reference; write one row per test.

    summaries    summary.parquet of every model and refit; those of aligned models are passed over
    comparisons  what `compare_pair` wrote, one file per aligned model
    reference    name of the base model that the others are contrasted with
    settings     level and resamples
    curves       losses during the training of each base that was trained here

    Refits whose weights are those of an earlier refit are not counted. Raises ValueError where no summary is
    of the reference model, and, naming two files, where models were measured on different prompts.
    """
    measured = {path: read_metadata(path) for path in [*summaries, *comparisons]}
    check_prompts(measured)
    values = base_values(summaries)
    known = {base for by_base in values.values() for base in by_base}
    if values and reference not in known:
        raise ValueError(f"no summary is of the reference model '{reference}': choose from {', '.join(sorted(known))}")
    changes = [change for path in comparisons for change in read_changes(path)]
    rows = [
        *architecture_contrasts(values, held_out_losses(curves), reference, settings),
        *alignment_differences(changes, reference, settings),
        *pooled_changes(changes, settings),
    ]
    metadata = next(iter(measured.values()), {})
    shared = {key: metadata.get(key) for key in ("study", "prompts_digest", "corpus_digest")}
    weights = {
        f"{measured[path]['model']} seed {measured[path]['seed']}": measured[path].get("weights_digest")
        for path in summaries
    }
    write_table(_table(rows), table, {**shared, "reference": reference, "weights_digests": weights})


def check_prompts(measured: Mapping[Path, Mapping[str, Any]]) -> None:
    """Refuse files, given with their metadata, that were measured on different prompts: ValueError naming two."""
    first: dict[str | None, Path] = {}
    for path, metadata in measured.items():
        first.setdefault(metadata.get("prompts_digest"), path)
    if len(first) > 1:
        one, other = list(first.values())[:2]
        raise ValueError(f"{one} and {other} cannot be contrasted: they were measured on different prompts")


def base_values(summaries: Sequence[Path]) -> Values:
    """Values of base models at model level, one per refit with weights of its own; undefined ones as NaN."""
    import pyarrow.compute

    values: Values = {}
    for path, metadata in own_refits(summaries).items():
        if metadata.get("base") is not None:
            continue
        table = read_arrow(path, ["estimator", "sink", "scope", "value"])
        for row in table.filter(pyarrow.compute.field("scope") == "model").to_pylist():
            by_base = values.setdefault((row["estimator"], row["sink"]), {})
            by_base.setdefault(metadata["model"], {})[metadata["seed"]] = _or_nan(row["value"])
    return values


def read_changes(comparison: Path) -> list[ModelChange]:
    """Changes at model level, one per refit that counts as one; undefined ones as NaN."""
    import pyarrow.compute

    refits = read_metadata(comparison)["refits"]
    field = pyarrow.compute.field
    chosen = (field("scope") == "refit") & (field("level") == "model") & field("seed").isin(refits)
    columns = ["estimator", "sink", "base", "family", "method", "delta_absolute", "scope", "level", "seed"]
    return [
        ModelChange(
            row["estimator"],
            row["sink"],
            row["base"],
            row["family"],
            row["method"],
            _or_nan(row["delta_absolute"]),
        )
        for row in read_arrow(comparison, columns, chosen).to_pylist()
    ]


def held_out_losses(curves: Sequence[Path]) -> Losses:
    """The last held-out loss of each training, nats per token."""
    losses: Losses = {}
    for path in curves:
        metadata = read_metadata(path)
        rows = read_table(path, ["step", "split", "loss_nats"])
        last = rows[rows["split"].eq("held_out")].sort_values("step")["loss_nats"].iloc[-1]
        losses[metadata["model"], metadata["seed"]] = float(last)
    return losses


def architecture_contrasts(values: Values, losses: Losses, reference: str, settings: Comparison) -> Iterator[Contrast]:
    """Every other base model against the reference: over refits, and over pairs of refits of the same seed."""
    for (estimator, sink), by_base in values.items():
        compared = by_base.get(reference, {})
        for base, refits in by_base.items():
            if base == reference:
                continue
            key = _Key("architecture", estimator, sink, None, base, reference)
            group, other = list(refits.values()), list(compared.values())
            own, others = (
                [losses.get((name, seed), np.nan) for seed in seeds]
                for name, seeds in ((base, refits), (reference, compared))
            )
            equal = difference_at_equal(group, other, own, others, settings.level)
            yield replace(
                _difference(key, group, other, settings),
                at_equal_loss=equal.estimate,
                at_equal_loss_low=equal.low,
                at_equal_loss_high=equal.high,
            )
            shared = [seed for seed in refits if seed in compared]
            pairs = ([values[seed] for seed in shared] for values in (refits, compared))
            paired = difference(*(np.array(side, dtype=np.float64) for side in pairs))
            yield _mean(replace(key, kind="architecture_by_seed"), "seed", paired, settings)


def alignment_differences(changes: Sequence[ModelChange], reference: str, settings: Comparison) -> Iterator[Contrast]:
    """The change of every other base model under a method against the reference's, over refits."""
    for (estimator, sink, method), group in _grouped(changes).items():
        by_base: dict[str, list[float]] = {}
        for change in group:
            by_base.setdefault(change.base, []).append(change.delta)
        for base, deltas in by_base.items():
            if base != reference:
                key = _Key("alignment_difference", estimator, sink, method, base, reference)
                yield _difference(key, deltas, by_base.get(reference, []), settings)


def pooled_changes(changes: Sequence[ModelChange], settings: Comparison) -> Iterator[Contrast]:
    """The mean change under each method: over refits, over families, weighted by their errors, and without each.

    Refits of one family share architecture and recipe: only rows over families speak of other families. Pairs of one
    family and method are one value, the mean of their refits.
    """
    for (estimator, sink, method), group in _grouped(changes).items():
        key = _Key("alignment_pooled", estimator, sink, method, ALL, None)
        families, means, errors = family_effects(
            [change.delta for change in group], [change.family for change in group]
        )
        yield _mean(key, "refit", [change.delta for change in group], settings)
        yield _mean(key, "family", means, settings)
        if len(families) < 2:
            continue
        summary = random_effects(means, errors, settings.level)
        yield Contrast(
            **asdict(replace(key, kind="alignment_random_effects")),
            estimate=summary.estimate,
            ci_low=summary.low,
            ci_high=summary.high,
            p=summary.p,
            p_attainable=summary.p_attainable,
            n=summary.n,
            n_reference=None,
            unit="family",
            test=summary.method,
            tau=summary.tau,
            prediction_low=summary.prediction_low,
            prediction_high=summary.prediction_high,
            reason=summary.reason,
        )
        for position, family in enumerate(families):
            without = replace(key, kind="alignment_without_family", group=family)
            yield _mean(without, "family", np.delete(means, position), settings)


@dataclass(frozen=True)
class _Key:
    """What a contrast is about; see `Contrast`."""

    kind: str
    estimator: str
    sink: str
    method: str | None
    group: str
    reference: str | None

    def generator(self, *unit: str) -> np.random.Generator:
        names = (self.kind, self.estimator, self.sink, str(self.method), self.group, str(self.reference))
        return generator_for("contrast", *names, *unit)


def _difference(key: _Key, group: Sequence[float], reference: Sequence[float], settings: Comparison) -> Contrast:
    """Refits of a group against the reference's."""
    test = two_sample(group, reference, key.generator(), settings.resamples)
    return _row(key, "refit", test, welch_interval(group, reference, settings.level))


def _mean(key: _Key, unit: str, deltas: npt.ArrayLike, settings: Comparison) -> Contrast:
    """The mean of one number per unit against zero."""
    test = sign_flip(deltas, key.generator(unit), settings.resamples)
    return _row(key, unit, test, t_interval(deltas, settings.level))


def _row(key: _Key, unit: str, test: PermutationTest, interval: Interval) -> Contrast:
    return Contrast(**asdict(key), unit=unit, **cells_of(test, interval))


def _grouped(changes: Sequence[ModelChange]) -> Mapping[tuple[str, str, str | None], list[ModelChange]]:
    groups: dict[tuple[str, str, str | None], list[ModelChange]] = {}
    for change in changes:
        groups.setdefault((change.estimator, change.sink, change.method), []).append(change)
    return groups


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value


def _table(rows: Sequence[Contrast]) -> "pyarrow.Table":
    import pyarrow

    numbers = [field.name for field in fields(Contrast) if "float" in str(field.type)]
    types = dict.fromkeys(numbers, pyarrow.float64()) | dict.fromkeys(("n", "n_reference"), pyarrow.int64())
    schema = pyarrow.schema([(field.name, types.get(field.name, pyarrow.string())) for field in fields(Contrast)])
    return pyarrow.Table.from_pylist([asdict(row) for row in rows], schema=schema)
