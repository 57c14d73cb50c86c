"""How far each choice of a protocol moves each estimator, beside what alignment moves it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headwise.analyses.variants.rows import Choice, Confound, VariantRow
from headwise.report.rows import OfEstimator
from headwise.runtime.parquet import read_metadata, read_table
from headwise.statistics.intervals import Interval
from headwise.statistics.ratio import indistinguishable
from headwise.statistics.ratio_verdict import RatioVerdict
from headwise.statistics.result import joined
from headwise.statistics.ties import is_constant
from headwise.tables.files import read_rows, write_rows
from headwise.tables.frame import frame_of, records
from headwise.tables.row import columns_of

PADDING_ALONE = "padding"
# Sums over another number of keys may round otherwise. Random models of ten architectures differ by up to 2e-6 in
# float32; the limits leave room for depth, which adds up rounding, and are far below what any other choice moves.
PADDING_TOLERANCE = {"float32": 1e-4, "float16": 5e-3, "bfloat16": 2e-2}
UNKNOWN_LEVEL = 0.0  # of intervals that are read from a table of comparisons
SHIFT_OVER_ALIGNMENT = "the ratio to the change under alignment"
KEY = [each.name for row in (Choice, OfEstimator) for each in columns_of(row)]


def gather_variants(
    parts: Sequence[Path], comparisons: Sequence[Path], variants: Path, confounds: Path, study: str
) -> None:
    """Write the variants of all models as one table, and the table of confounds beside it.

    parts        what `measure_variants` wrote, one file per model and seed, in the order of the study
    comparisons  the study's comparisons of aligned models with their bases, for the size of the effect of alignment

    Raises ValueError, naming both files, where models were measured on different prompts.
    """
    digests = {path: read_metadata(path)["prompts_digest"] for path in parts}
    first = parts[0]
    for path, digest in digests.items():
        if digest != digests[first]:
            raise ValueError(f"{first} and {path} were measured on different prompts: measure both models again")
    shifts = pd.concat([read_rows(VariantRow, path) for path in parts], ignore_index=True)
    tests = [read_table(path) for path in comparisons]
    metadata = {"study": study, "prompts_digest": digests[first]}
    write_rows(VariantRow, shifts, variants, metadata)
    write_rows(Confound, confound_table(shifts, pd.concat(tests) if tests else None), confounds, metadata)


def confound_table(shifts: pd.DataFrame, comparisons: pd.DataFrame | None) -> pd.DataFrame:
    """One row of `Confound` per variant, estimator and sink, from rows of `VariantRow` and of the comparisons."""
    effects = _alignment_effects(comparisons)
    rows = []
    for _, group in shifts.groupby(KEY, sort=False):
        identity = {name: group[name].iloc[0] for name in KEY}
        alignment = effects.get((str(identity["estimator"]), str(identity["sink"])))
        rows.append({**identity, **_summary(group, alignment)})
    return frame_of(Confound, rows)


def _summary(group: pd.DataFrame, alignment: Interval | None) -> dict[str, object]:
    """The numbers of one variant, estimator and sink over models."""
    defined = group[group["difference"].notna()]
    absolute = defined["difference"].abs()
    bases = group[group["base"].isna() & group["reference_value"].notna()]
    values = bases.groupby("model", sort=False)["reference_value"].mean()
    equal = len(values) > 1 and is_constant(values.to_numpy(dtype=np.float64))
    spread = None if len(values) < 2 else 0.0 if equal else float(values.std(ddof=1))
    effect = None if alignment is None else alignment.estimate
    unbounded = None if alignment is None else indistinguishable(alignment, "the mean change under alignment")
    size = float(absolute.mean()) if len(defined) else None
    ratio = None if unbounded else _ratio(size, effect)
    pairs = _pairs(defined)
    reasons = [
        *group.loc[group["difference"].isna(), "reason"].drop_duplicates(),
        "no spread between models: fewer than two base models measured" if spread is None else None,
        "no ratio to the spread between models: they are equal" if equal else None,
        f"{SHIFT_OVER_ALIGNMENT} is {RatioVerdict.UNBOUNDED}: {unbounded}" if unbounded else None,
        "no effect of alignment: the study compares nothing, or it is undefined" if effect is None else None,
        "no pair of base and aligned model measured" if pairs.empty else None,
    ]
    return {
        "measured": len(defined),
        "mean_difference": float(defined["difference"].mean()) if len(defined) else None,
        "mean_absolute_difference": size,
        "largest_absolute_difference": float(absolute.max()) if len(defined) else None,
        "largest_model": str(defined["model"].iloc[int(absolute.argmax())]) if len(defined) else None,
        "tolerance": _tolerance(group),
        "spread_between_models": spread,
        "alignment_effect": effect,
        "shift_over_alignment": ratio,
        "verdict": RatioVerdict.of(ratio, unbounded),
        "shift_over_spread": _ratio(size, spread),
        "alignment_effect_under_reference": _mean(pairs["under_reference"]),
        "alignment_effect_under_variant": _mean(pairs["under_variant"]),
        "pairs": len(pairs),
        "reason": joined(*reasons),
    }


def _tolerance(group: pd.DataFrame) -> float | None:
    """That of the coarsest dtype where padding alone makes the difference and must make none."""
    if not group["choices"].eq(PADDING_ALONE).all():
        return None
    return max(PADDING_TOLERANCE[dtype] for dtype in group["dtype"])


def _pairs(defined: pd.DataFrame) -> pd.DataFrame:
    """Aligned minus base, seed by seed, under the reference and under the variant."""
    aligned = defined[defined["base"].notna()]
    pairs = aligned.merge(defined, left_on=["base", "seed"], right_on=["model", "seed"], suffixes=("", "_base"))
    return pd.DataFrame(
        {
            "under_reference": pairs["reference_value"] - pairs["reference_value_base"],
            "under_variant": pairs["value"] - pairs["value_base"],
        }
    )


def _alignment_effects(comparisons: pd.DataFrame | None) -> dict[tuple[str, str], Interval]:
    """Mean over aligned models of the absolute change over refits, by estimator and sink.

    The ends of its interval are the means of the least and of the largest absolute changes in the intervals of the
    single models: it holds 0 where that of every model does. A model of one refit has its interval over prompts.
    """
    if comparisons is None:
        return {}
    found: dict[tuple[str, str], Interval] = {}
    models = comparisons[comparisons["level"].eq("model")]
    for (estimator, sink), own in models.groupby(["estimator", "sink"], sort=False):
        over = own[own["scope"].eq("refits") & np.isfinite(own["delta_absolute"].astype("float64"))]
        if over.empty:
            continue
        ends = [_ends(row, own[own["scope"].eq("refit") & own["aligned"].eq(row["aligned"])]) for row in records(over)]
        known = any(high is not None for _, high in ends)
        low = float(np.mean([least for least, _ in ends])) if known else None
        high = float(np.mean([most for _, most in ends if most is not None])) if known else None
        size = float(over["delta_absolute"].abs().mean())
        found[str(estimator), str(sink)] = Interval(size, low, high, UNKNOWN_LEVEL, len(over), "mean over models")
    return found


def _ends(change: dict[str, Any], refits: pd.DataFrame) -> tuple[float, float | None]:
    """The least and the largest absolute change in the interval of a model; 0 and None where it has none."""
    if pd.isna(change["ci_low"]) and len(refits) == 1:
        (change,) = records(refits)
    low, high = change["ci_low"], change["ci_high"]
    if pd.isna(low) or pd.isna(high):
        return 0.0, None
    return max(0.0, low, -high), max(abs(low), abs(high))


def _mean(values: "pd.Series[float]") -> float | None:
    return float(values.mean()) if len(values) else None


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None
