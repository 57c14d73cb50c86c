"""What a release calls significant: each distinct claim once, with the smallest p of its design and our verdict.

One test is often printed in several places: places of one file with the same p, estimate and interval are one claim.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import permutations
from math import factorial

import numpy as np

from headwise.published.items import Claim, Design, NoiseCurve, Place, Seeds
from headwise.published.row import Row, row
from headwise.statistics.arrays import FloatArray
from headwise.statistics.attainable import of_sign_flips, of_splits
from headwise.statistics.result import joined
from headwise.statistics.ties import largest, tolerance

LEVEL = 0.05
# A p of so many units at least is not limited by the number of arrangements.
MANY_UNITS = 13
MANY_SPLIT = 16
# Points of a curve of which all pairings are tried: 8! are 40,320.
LEAST_PAIRED, MOST_PAIRED = 3, 8
# Units that a p and its statistic are tried for, and how well they must agree, relative to the p.
MOST_UNITS = 1000
SAME_P = 1e-6
SAME = 1e-9  # spread of values, relative to their size, below which seeds changed nothing


class Verdict(StrEnum):
    """Ours, of a claim."""

    NOT_CLAIMED = "printed as not significant"
    ONLY_NOT_ZERO = "says only that an index is not 0"
    OUT_OF_REACH = "no p below .05 is attainable"
    AGREES = "an exact test agrees"
    DISAGREES = "an exact test does not agree"
    NO_DATA = "its data are not there"
    UNKNOWN_DESIGN = "its design is not said"


SAID = {
    Design.SLOPE: "slope over the size of noise is not 0",
    Design.CORRELATION: "correlation is not 0",
    Design.INDEX: "index is not 0",
    Design.MEAN: "mean is not 0",
    Design.GROUPS: "two groups differ",
    Design.UNKNOWN: "significant",
}
METHODS = {
    Design.SLOPE: "all pairings of the n points, twice the smaller tail",
    Design.CORRELATION: "pairings of the n points, twice the smaller tail",
    Design.INDEX: "sign patterns of the n units",
    Design.MEAN: "sign patterns of the n units",
    Design.GROUPS: "splits of the n units into two groups of equal size",
    Design.UNKNOWN: "",
}


def claim_rows(claims: Sequence[Claim], curves: Sequence[NoiseCurve]) -> Iterator[Row]:
    """One row for each distinct claim; a claimed slope is tested again by all pairings of the curve beside it."""
    by_place = {(curve.place.file, curve.place.keys): curve for curve in curves}
    groups: dict[object, list[Claim]] = {}
    for claim in claims:
        identity = (claim.place.file, claim.p, claim.numbers) if claim.numbers else claim.place
        groups.setdefault(identity, []).append(claim)
    for group in groups.values():
        first = group[0]
        yield _row(group, by_place.get((first.place.file, first.place.keys[:-1])))


def _row(group: Sequence[Claim], curve: NoiseCurve | None) -> Row:
    first = group[0]
    units, inferred = first.units, False
    if units is None and curve is not None:
        units = len(curve.sigmas)
    if units is None:
        units, inferred = _units_of(first), True
    exact = None
    if first.design == Design.SLOPE and curve is not None and LEAST_PAIRED <= len(curve.sigmas) <= MOST_PAIRED:
        exact = exact_slope_p(curve.sigmas, curve.perplexities)
    smallest = attainable(first.design, units)
    others = ", ".join(str(claim.place.below(claim.field)) for claim in group[1:])
    return row(
        first.place.below(first.field), "claim", f"{first.quantity}: {SAID[first.design]}", printed=first.p, p=exact,
        p_attainable=smallest, n=units, method=METHODS[first.design], agreement="not recomputed", times=len(group),
        verdict=verdict(first, exact, smallest),
        remark=joined(
            "the file does not say of how many units" if units is None else None,
            f"n = {units} follows from the p and its statistic" if inferred and units is not None else None,
            f"once more at {others}" if others else None,
        ),
    )  # fmt: skip


def verdict(claim: Claim, exact: float | None, smallest: float | None) -> Verdict:
    """Ours, of a claim whose exact test gives `exact` and whose design gives no p below `smallest`."""
    if not (claim.significant if claim.significant is not None else claim.p is not None and claim.p <= LEVEL):
        return Verdict.NOT_CLAIMED
    if claim.design == Design.INDEX:
        return Verdict.ONLY_NOT_ZERO
    if claim.design == Design.UNKNOWN:
        return Verdict.UNKNOWN_DESIGN
    if smallest is not None and smallest > LEVEL:
        return Verdict.OUT_OF_REACH
    if exact is None:
        return Verdict.NO_DATA
    return Verdict.AGREES if exact <= LEVEL else Verdict.DISAGREES


def attainable(design: Design, n: int | None) -> float | None:
    """Smallest two-sided p of an exact test of n units in all; None where the design or n is not known.

    n points have n! pairings, so 2 / n! at the least; n units 2ⁿ sign patterns, so 2^(1 − n).
    """
    if n is None or n < 1 or design == Design.UNKNOWN:
        return None
    if design in (Design.INDEX, Design.MEAN):
        return of_sign_flips(min(n, MANY_UNITS), 0)
    if design == Design.GROUPS:
        split = min(n, MANY_SPLIT)
        return of_splits(split // 2, split - split // 2, 0)
    return min(1.0, 2 / factorial(min(n, MANY_UNITS)))


def exact_slope_p(doses: FloatArray, values: FloatArray) -> float:
    """Two-sided p of a slope by all pairings of doses and values, (k,) each: twice the smaller tail, 1 at most."""
    # Of size 1, no product overflows.
    doses, values = (each / (largest(each) or 1.0) for each in (doses, values))
    centred = doses - doses.mean()
    sums = np.array(list(permutations(values))) @ centred
    observed, slack = float(values @ centred), tolerance(1.0, len(values))
    above, below = float((sums >= observed - slack).mean()), float((sums <= observed + slack).mean())
    return min(1.0, 2 * min(above, below))


def _units_of(claim: Claim) -> int | None:
    """The units for which Student's t gives the printed p of a correlation or of two groups; None where none does."""
    from scipy.special import stdtr

    if claim.p is None or claim.p <= 0 or not claim.numbers:
        return None
    units, statistic = np.arange(3, MOST_UNITS), claim.numbers[0]
    if claim.design == Design.CORRELATION and abs(statistic) < 1:
        t = statistic * np.sqrt((units - 2) / (1 - statistic**2))
    elif claim.design == Design.GROUPS:
        t = np.full(len(units), statistic)
    else:
        return None
    found = units[np.abs(2 * stdtr(units - 2, -np.abs(t)) - claim.p) <= SAME_P * claim.p]
    return int(found[0]) if len(found) == 1 else None


def seed_rows(seeds: Sequence[Seeds]) -> Iterator[Row]:
    """One row for each list of seeds: in how many of its numbers the seeds differ at all."""
    by_place: dict[Place, list[Seeds]] = {}
    for each in seeds:
        by_place.setdefault(each.place, []).append(each)
    for group in by_place.values():
        differ = sum(_differ(each.values) for each in group)
        count, repeated = len(group[0].values), ", ".join(group[0].repeated)
        yield row(
            group[0].place, "seeds", f"numbers of {len(group)} in which {count} seeds differ", value=float(differ),
            n=count, method="spread over seeds against rounding", agreement="not printed",
            remark=joined(
                None if differ else f"{count} seeds, one result: no interval can come from them",
                f"seeds that stand there more than once: {repeated}" if repeated else None,
            ),
        )  # fmt: skip


def _differ(values: Sequence[float]) -> bool:
    """Whether numbers differ by more than rounding; halves, so that no difference of two floats overflows."""
    return bool(max(values) / 2 - min(values) / 2 > SAME * max(map(abs, values)) / 2)
