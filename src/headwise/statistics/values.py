"""What may be counted: numbers, labels and answers, each the same in every function of the layer.

What is missing (None, NaN, pandas' NA) is left out by the caller, who says how many; what is of another kind, such as
text where a number belongs, is refused by its place.
"""

from collections.abc import Callable, Hashable, Iterable
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from headwise.statistics.arrays import FloatArray

NO_NUMBER = "units without a finite value, left out: {}"
NO_CLUSTER = "units without a cluster, left out: {}"


def numbers(values: npt.ArrayLike, what: str, dimensions: int | None = 1) -> FloatArray:
    """Numbers as float64, NaN where one is missing; numbers beyond float64 are infinite.

    what        names the values in errors
    dimensions  how many the array must have; None: any

    Raises ValueError for text, truth values, complex numbers and times, by their place, and for another shape.
    """
    try:
        array = np.asarray(values, dtype=None if hasattr(values, "dtype") else object)
    except ValueError:
        raise ValueError(f"{what} are lists of different lengths: give an array") from None
    if dimensions is not None and array.ndim != dimensions:
        raise ValueError(f"{what} have {array.ndim} dimensions: give {dimensions}, a number per unit")
    if array.dtype.kind in "iuf":
        with np.errstate(over="ignore"):
            return array.astype(np.float64, copy=False)
    found = np.empty(array.shape)
    for place, value in np.ndenumerate(array):
        found[place] = _number(value, f"{what}[{', '.join(map(str, place))}]")
    return found


def is_number(value: object) -> bool:
    """Whether a value is a number of any numeric type; truth values are not."""
    return isinstance(value, Real | Decimal | np.number) and not isinstance(value, bool | np.bool_ | np.complexfloating)


def is_missing(value: object) -> bool:
    """Whether a value stands for nothing: None, NaN, and pandas' NA and NaT."""
    if value is None or isinstance(value, str | bytes):
        return value is None
    if is_number(value):
        return bool(value != value)
    import pandas as pd

    return value is pd.NA or value is pd.NaT


def codes(labels: Iterable[Any], count: int, what: str, in_order: bool = False) -> npt.NDArray[np.intp]:
    """The number of each unit's label, from 0, −1 where it has none: (n,).

    count     units; another number of labels raises ValueError, in which `what` names the units
    in_order  numbered as labels are sorted, else as they first appear

    Labels are the same if they are the same number, of whatever numeric type, or the same text: 1 and "1" are two.
    """
    keys = [None if is_missing(label) else label_key(label) for label in labels]
    if len(keys) != count:
        raise ValueError(f"{len(keys)} cluster labels for {count} {what}: give one label per {what.removesuffix('s')}")
    distinct = dict.fromkeys(key for key in keys if key is not None)
    known = sorted(distinct) if in_order else list(distinct)
    numbered = {key: position for position, key in enumerate(known)}
    return np.array([-1 if key is None else numbered[key] for key in keys], dtype=np.intp)


def label_key(label: Any) -> tuple[str, Hashable]:
    """What makes a label this one and no other: its kind, and itself."""
    if isinstance(label, bool | np.bool_):
        return "truth", bool(label)
    if is_number(label):
        return "number", label
    return ("text", str(label)) if isinstance(label, str) else ("other", label)


def answers(values: npt.ArrayLike, what: str) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Yes or no of each unit, (n,), and whether it is known: truth values, or the numbers 0 and 1.

    Raises ValueError, by its place, for anything else: the text "False" is no answer.
    """
    given = np.asarray(values, dtype=None if hasattr(values, "dtype") else object)
    if given.ndim != 1:
        raise ValueError(f"{what} have {given.ndim} dimensions: give 1, an answer per unit")
    if given.dtype.kind == "b":
        return given, np.ones(len(given), dtype=bool)
    found, known = np.zeros(len(given), dtype=bool), np.ones(len(given), dtype=bool)
    for place, value in enumerate(given):
        if is_missing(value):
            known[place] = False
        elif isinstance(value, bool | np.bool_) or (is_number(value) and value in (0, 1)):
            found[place] = bool(value)
        else:
            raise ValueError(f"{what}[{place}] is {value!r}: give true, false, or nothing where it is not known")
    return found, known


def support(
    defined: npt.NDArray[np.bool_], means: FloatArray, outcomes: Callable[[FloatArray], FloatArray]
) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]]:
    """Outcomes that rest on the same units, with these units: positions (j,) and a mask (n,) for each such group.

    defined   (n, f) whether a unit has a feature
    means     (f,) mean features
    outcomes  maps features (1, f) to outcomes (1, k)

    A unit counts for an outcome where it has one of the features that move it. Where all features are defined for the
    same units, which is the rule, there is one group and nothing to try.
    """
    used = np.asarray(defined.any(axis=1))
    if not defined.size or (defined == used[:, None]).all():
        return [(np.arange(outcomes(means[None]).shape[1]), used)]
    patterns, members = np.unique(defined, axis=1, return_inverse=True)
    with np.errstate(invalid="ignore", over="ignore"):
        observed = outcomes(means[None])[0]
        units = np.zeros((len(observed), len(defined)), dtype=bool)
        for number, pattern in enumerate(patterns.T):
            without = np.where(members.ravel() == number, np.nan, means)
            found = outcomes(without[None])[0]
            moved = (found != observed) & ~(np.isnan(found) & np.isnan(observed))
            units[moved] |= pattern
    units[~units.any(axis=1)] = used  # an outcome that is undefined whatever is left out
    groups, own = np.unique(units, axis=0, return_inverse=True)
    return [(np.flatnonzero(own.ravel() == number), group) for number, group in enumerate(groups)]


def left_out(count: int, why: str = NO_NUMBER) -> str | None:
    """How many units were left out, in words; None where none was."""
    return why.format(count) if count else None


def _number(value: Any, place: str) -> float:
    if is_missing(value):
        return np.nan
    if isinstance(value, np.ndarray) or hasattr(value, "item"):
        value = value.item()
    if not is_number(value):
        raise ValueError(f"{place} is {value!r}, no number: give a number, or nothing where there is none")
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf
