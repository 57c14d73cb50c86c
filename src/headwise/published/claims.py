"""Claimed p-values beside the smallest that their design can give, and seeds that changed nothing."""

from collections.abc import Iterator, Sequence
from math import factorial

from headwise.published.items import Claim, Place, Seeds
from headwise.published.row import Row, row
from headwise.statistics.result import joined

# A p of so many units at least is not limited by the number of arrangements.
MANY_UNITS = 13
SAME = 1e-9  # spread of values, relative to their size, below which seeds changed nothing


def claim_row(claim: Claim, curve_points: int | None = None) -> Row:
    """A claimed p, or a claimed significance, with the smallest p of an exact test of its design.

    curve_points  points of the curve beside it, for a slope whose file does not say how many

    A slope or correlation of n points has n! pairings, so a permutation test of two sides gives 2 / n! at the least;
    a mean of n units has 2^n sign patterns, so 2^(1 − n).
    """
    n = claim.units if claim.units is not None else curve_points
    smallest = _attainable(claim.design, n)
    if claim.design == "unknown":
        remark: str | None = "the design of the test cannot be read from the file"
    elif n is None:
        remark = "the file does not say of how many units"
    elif claim.p is None and smallest is not None and smallest > 0.05:
        remark = f"called significant, but {n} units can give no p below {smallest:.3g}"
    elif claim.p is not None and smallest is not None and claim.p < smallest:
        remark = "below what an exact test of so few units can give: it rests on the assumption of normal deviations"
    else:
        remark = None
    printed = "p" if claim.p is not None else '"significant"'
    return row(
        claim.place, "claimed p", f"{printed} of {claim.quantity}", printed=claim.p, p=claim.p, p_attainable=smallest,
        n=n, method={"mean": "sign patterns of n units", "unknown": ""}.get(claim.design, "pairings of n points"),
        agreement="not recomputed", remark=remark,
    )  # fmt: skip


def _attainable(design: str, n: int | None) -> float | None:
    if n is None or n < 1 or design == "unknown":
        return None
    if design == "mean":
        return float(2.0 ** (1 - n))
    return min(1.0, 2 / factorial(min(n, MANY_UNITS)))


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
