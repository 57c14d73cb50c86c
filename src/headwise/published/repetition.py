"""Slopes of repetition in generated text over noise (experiment E04), and what alignment is said to do to them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import PurePosixPath

import numpy as np

from headwise.published.claims import attainable
from headwise.published.items import Design, Place, RepetitionChange, RepetitionCurve
from headwise.published.noise import slope
from headwise.published.row import Row, of_result, row
from headwise.statistics.attainable import of_splits
from headwise.statistics.result import joined
from headwise.statistics.ties import is_constant, largest, tolerance

SLOPE, CHANGE = "repetition slope", "repetition change"
MOST_SEEDS = 16
ONE_SEED = "one seed on each side: no test"


@dataclass(frozen=True)
class _Change:
    """Slopes of the base and of its aligned model, by seed, in one region."""

    place: Place
    region: str
    base: tuple[float, ...]
    aligned: tuple[float, ...]

    @property
    def percent(self) -> float | None:
        base = float(np.mean(self.base))
        return None if base == 0 else 100 * (float(np.mean(self.aligned)) - base) / abs(base)


def repetition_rows(curves: Sequence[RepetitionCurve], printed: Sequence[RepetitionChange]) -> Iterator[Row]:
    """Each slope against the printed one, the change by alignment per region, and changes that a file quotes."""
    for curve in curves:
        yield _slope(curve)
    changes = list(_changes(curves))
    for change in changes:
        yield from _of_change(change, [each for each in printed if each.source is None])
    for quoted in printed:
        if quoted.source is not None:
            yield _quoted(quoted, changes, [curve.place.file for curve in curves])


def _slope(curve: RepetitionCurve) -> Row:
    found, _ = slope(curve.doses, curve.values, f"slope of repetition per unit of noise, region {curve.region}")
    flat = len(curve.values) > 0 and is_constant(curve.values) and float(curve.values[0]) == 0
    scale = 1.0 if not len(curve.doses) or np.ptp(curve.doses) == 0 else largest(curve.values) / np.ptp(curve.doses)
    made = of_result(
        curve.place, SLOPE, found, curve.slope, float(scale), "nothing is repeated at any dose" if flat else None
    )
    return replace(made, p_attainable=attainable(Design.SLOPE, len(curve.doses)))


def _estimate(curve: RepetitionCurve) -> float:
    """The slope computed again; as printed where there are too few points."""
    found = slope(curve.doses, curve.values, "")[0].estimate
    return curve.slope if found is None else found


def _changes(curves: Sequence[RepetitionCurve]) -> Iterator[_Change]:
    groups: dict[tuple[str, str, str], dict[str, list[RepetitionCurve]]] = {}
    for curve in curves:
        if curve.place.side in ("base", "aligned"):
            keys = curve.place.keys
            root = "/".join(
                keys[: next(i for i, key in enumerate(keys) if key in ("base", "instruct", "aligned", "chat"))]
            )
            sides = groups.setdefault((curve.place.file, root, curve.region), {})
            sides.setdefault(str(curve.place.side), []).append(curve)
    for (_, root, region), sides in groups.items():
        if len(sides) == 2:
            first = sides["aligned"][0].place
            keys = tuple(root.split("/")) if root else ()
            place = Place(first.file, keys, first.model, "aligned")
            yield _Change(place, region, *(tuple(map(_estimate, sides[side])) for side in ("base", "aligned")))


def _of_change(change: _Change, printed: Sequence[RepetitionChange]) -> Iterator[Row]:
    n, m = len(change.base), len(change.aligned)
    difference = float(np.mean(change.aligned) - np.mean(change.base))
    tested = n + m <= MOST_SEEDS and n + m > 2
    yield row(
        change.place, CHANGE, f"slope of repetition, aligned minus base, region {change.region}", value=difference,
        p=_splits(change.base, change.aligned) if tested else None, p_attainable=of_splits(n, m, 0) if tested else 1.0,
        n=n + m, agreement="not printed", method="all splits of the seeds into two groups",
        remark=None if n + m > 2 else ONE_SEED,
    )  # fmt: skip
    own = [
        each for each in printed
        if each.place.file == change.place.file and each.region == change.region
        and each.place.keys[: len(change.place.keys)] == change.place.keys
    ]  # fmt: skip
    percent = change.percent
    yield row(
        own[0].place if own else change.place, CHANGE,
        f"slope of repetition, aligned minus base, in % of base, region {change.region}",
        printed=own[0].percent if own else None, value=percent, n=n + m, scale=100.0,
        method="difference / size of base",
        remark="the slope of the base is 0" if percent is None else None,
    )  # fmt: skip


def _splits(one: Sequence[float], other: Sequence[float]) -> float:
    """Two-sided p of the difference of two means by all splits."""
    pooled = np.array([*one, *other])
    chosen = np.array(list(combinations(range(len(pooled)), len(one))))
    sums = pooled[chosen].sum(axis=1)
    differences = np.abs(sums / len(one) - (pooled.sum() - sums) / len(other))
    return float((differences >= differences[0] - tolerance(largest(pooled), len(pooled))).mean())


def _quoted(quoted: RepetitionChange, changes: Sequence[_Change], files: Sequence[str]) -> Row:
    """A quoted percentage against the files of the experiment that it names."""
    source = str(quoted.source)
    there = [change for change in changes if of_experiment(change.place.file, source)]
    same = [change for change in there if change.region == quoted.region and change.percent is not None]
    reason = None
    if not same:
        present = any(of_experiment(file, source) for file in files)
        reason = (
            f"the file of {source} has no change in region {quoted.region}" if present
            else f"no curve of repetition of {source} is here"
        )  # fmt: skip
    value = same[0].percent if same else None
    rounded = "" if value is None else "yes" if round(value) == round(quoted.percent) else "no"
    return row(
        quoted.place, CHANGE, f"quoted change in % of base, region {quoted.region}", printed=quoted.percent,
        value=value, agreement=rounded, method=f"{same[0].place.file}" if same else "",
        remark=joined(reason, "equal to whole per cent" if rounded == "yes" else None),
    )  # fmt: skip


def of_experiment(file: str, experiment: str) -> bool:
    """Whether a file's name begins with that of an experiment, in whatever spelling; E06 is not E06b."""
    name, prefix = (plain(each) for each in (PurePosixPath(file).name, experiment))
    rest = name[len(prefix) :]
    digits = re.fullmatch(r"e\d+[a-z]?", prefix)
    own = PurePosixPath(file).name[len(prefix) : len(prefix) + 1]
    return name.startswith(prefix) and bool(rest) and not (digits and own.isalnum())


def plain(name: str) -> str:
    """A name without what spellings differ in."""
    return re.sub("[^a-z0-9]", "", name.casefold())
