"""Matrices and curves in the shapes in which released files hold them, read by structure.

A matrix may be a list of rows, a list or an object of layers, rows as objects of heads, or one matrix per seed; a curve
a list of points, of pairs, or an object from dose to value.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from headwise.arrays import FloatArray

DOSES = ("sigma", "noise", "noise_std", "noise_level")
PERPLEXITIES = ("mean", "ppl", "perplexity", "ppl_mean")


def number(value: Any) -> float | None:
    """A finite number; None for anything else, also for a truth value."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)
    return float(value) if usable else None


def first_number(value: Mapping[str, Any], names: tuple[str, ...]) -> float | None:
    """The first finite number under one of the names."""
    return next((found for name in names if (found := number(value.get(name))) is not None), None)


def matrix(value: Any) -> FloatArray | None:
    """A rectangular matrix of numbers, the mean where there is one per seed; None for anything else.

    Numbers that are missing or not finite are NaN.
    """
    plain = _lists(value)
    try:
        found = np.array(plain, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if found.ndim == 3 and len(found):
        found = found.mean(axis=0)
    return found if found.ndim == 2 and found.size else None


def mean_matrix(values: list[Any]) -> FloatArray | None:
    """The mean of matrices of one shape; None where one of them is none, or where there are none."""
    matrices = [matrix(value) for value in values]
    usable = [each for each in matrices if each is not None]
    if not usable or len(usable) < len(matrices) or len({each.shape for each in usable}) > 1:
        return None
    return np.asarray(np.mean(usable, axis=0), dtype=np.float64)


def matrix_under(value: Mapping[str, Any]) -> FloatArray | None:
    """The matrix under `entropies`, else the first under a key that speaks of entropy."""
    named = [key for key in value if "entrop" in key.lower()]
    for key in sorted(named, key=lambda key: key != "entropies"):
        if (found := matrix(value[key])) is not None:
            return found
    return None


def curve(value: Any) -> list[tuple[float, float]] | None:
    """Points (dose, value) of a curve, those that are complete; None where it is no curve at all."""
    if isinstance(value, Mapping):
        points = [(_read(key), number(each)) for key, each in value.items()]
    elif isinstance(value, list) and all(isinstance(each, Mapping) for each in value):
        points = [(first_number(each, DOSES), first_number(each, PERPLEXITIES)) for each in value]
    elif isinstance(value, list) and all(isinstance(each, list) and len(each) == 2 for each in value):
        points = [(number(dose), number(each)) for dose, each in value]
    else:
        return None
    return [(dose, each) for dose, each in points if dose is not None and each is not None]


def _lists(value: Any) -> Any:
    """Objects of layers, heads or seeds as lists, in the order of the numbers in their keys."""
    if isinstance(value, Mapping):
        if all(re.search(r"\d", key) for key in value):
            return [_lists(value[key]) for key in sorted(value, key=lambda key: int(re.findall(r"\d+", key)[-1]))]
        inner = [each for each in value.values() if isinstance(each, list | Mapping)]
        return _lists(inner[0]) if len(inner) == 1 else None
    return [_lists(each) for each in value] if isinstance(value, list) else value


def _read(text: str) -> float | None:
    try:
        return number(float(text))
    except ValueError:
        return None
