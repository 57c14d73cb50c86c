"""Matrices and curves in the shapes in which released files hold them, read by structure.

A matrix may be a list of rows, a list or an object of layers, rows as objects of heads, or one matrix per seed; a curve
a list of points, of pairs, or an object from dose to value.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from headwise.published.values import UnusableError, described, number
from headwise.statistics.arrays import FloatArray

DOSES = ("sigma", "noise", "noise_std", "noise_level")
PERPLEXITIES = ("mean", "ppl", "perplexity", "ppl_mean")
DOSE_KEY = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
NUMBER_IN_KEY = re.compile(r"(?<![0-9])[0-9]{1,18}(?=[^0-9]*$)")
# A matrix per seed nests three levels of lists, or of objects around them.
DEEPEST = 8
# Four times the heads of the largest models known; resampling holds many copies.
MOST_CELLS = 65_536
# No entropy is negative; 64 bits are that of 2^64 keys.
LARGEST_ENTROPY = 64.0
SLACK = 1e-6


def entropy_matrix(value: Any) -> FloatArray:
    """A matrix of entropies, in any unit. Raises UnusableError where a cell lies outside 0…64."""
    return _matrix(value, 0.0, LARGEST_ENTROPY, "entropy")


def correlation_matrix(value: Any) -> FloatArray:
    """A square matrix of correlations. Raises UnusableError where it is not square, or a cell lies outside ±1."""
    found = _matrix(value, -1.0, 1.0, "correlation")
    if found.shape[0] != found.shape[1]:
        raise UnusableError("not as many rows as columns: no correlations of heads")
    return found


def mean_matrix(values: list[Any]) -> FloatArray:
    """The mean of matrices of one shape. Raises UnusableError where one of them is none, or of another shape."""
    matrices = [entropy_matrix(value) for value in values]
    if len({each.shape for each in matrices}) > 1:
        raise UnusableError("matrices of several shapes: they have no mean")
    return np.asarray(np.mean(matrices, axis=0), dtype=np.float64)


def curve(value: Any) -> tuple[list[tuple[float, float]], list[tuple[str, str]]]:
    """Points (dose, perplexity) of a curve, and of those that cannot be used the key and the reason.

    Raises UnusableError where it is no curve at all.
    """
    points, left_out = [], []
    for key, dose, perplexity in _candidates(value):
        try:
            points.append((_dose(dose), _perplexity(perplexity)))
        except UnusableError as error:
            left_out.append((key, f"a point of the curve is left out: {error}"))
    return points, left_out


def _candidates(value: Any) -> Iterator[tuple[str, Any, Any]]:
    """Key, dose and perplexity of each point, as they stand there."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield key, float(key) if DOSE_KEY.fullmatch(key) else key, each
    elif isinstance(value, list) and all(isinstance(each, Mapping) for each in value):
        for position, each in enumerate(value):
            dose, perplexity = (
                next((each[key] for key in names if key in each), None) for names in (DOSES, PERPLEXITIES)
            )
            yield str(position), dose, perplexity
    elif isinstance(value, list) and all(isinstance(each, list) and len(each) == 2 for each in value):
        for position, (dose, perplexity) in enumerate(value):
            yield str(position), dose, perplexity
    else:
        raise UnusableError(f"{described(value)}, no curve: write a list of points with sigma and mean")


def _dose(value: Any) -> float:
    found = number(value)
    if found < 0:
        raise UnusableError(f"{found:g} is no size of noise: it is negative")
    return found


def _perplexity(value: Any) -> float:
    found = number(value)
    if found <= 0:
        raise UnusableError(f"{found:g} is no perplexity: it is not above 0")
    return found


def _matrix(value: Any, low: float, high: float, what: str) -> FloatArray:
    """A rectangular matrix of numbers within bounds, the mean where there is one per seed.

    Cells that are null or not finite are NaN. Raises UnusableError for anything else, with the reason.
    """
    nested = _nested(value)
    try:
        found = np.array(nested, dtype=np.float64)
    except ValueError:
        raise UnusableError("rows of unequal length: no matrix of layers × heads") from None
    if found.ndim not in (2, 3) or not found.size:
        raise UnusableError("no matrix of layers × heads")
    if (found[0] if found.ndim == 3 else found).size > MOST_CELLS:
        raise UnusableError(f"more than {MOST_CELLS:,} cells: no matrix of layers × heads")
    outside = found[(found < low - SLACK) | (found > high + SLACK)]
    if len(outside):
        raise UnusableError(f"{outside[0]:g} is no {what}: it lies outside {low:g} to {high:g}")
    return found.mean(axis=0) if found.ndim == 3 else found


def _nested(value: Any, depth: int = 0) -> Any:
    """Objects of layers, heads or seeds as lists, in the order of the numbers in their keys; leaves as floats."""
    if depth > DEEPEST:
        raise UnusableError("nested too deeply for a matrix")
    if isinstance(value, Mapping):
        if all(re.search("[0-9]", key) for key in value):
            return [_nested(each, depth + 1) for each in _in_order(dict(value))]
        inner = [each for each in value.values() if isinstance(each, list | Mapping)]
        if len(inner) != 1:
            raise UnusableError("an object without numbered layers or heads: no matrix")
        return _nested(inner[0], depth + 1)
    if isinstance(value, list):
        for key in ("layer", "head"):
            if value and all(isinstance(each, Mapping) and type(each.get(key)) is int for each in value):
                value = _in_order([(str(each[key]), each) for each in value])
        return [_nested(each, depth + 1) for each in value]
    return _cell(value)


def _in_order(numbered: dict[str, Any] | list[tuple[str, Any]]) -> list[Any]:
    """Values by the last number in their keys. Raises UnusableError where two have the same, or none can be read."""
    pairs = list(numbered.items()) if isinstance(numbered, dict) else numbered
    found = {}
    for key, value in pairs:
        last = NUMBER_IN_KEY.search(key)
        position = int(last.group()) if last else -1
        if last is None or position in found:
            raise UnusableError(f"{described(key)} is no number of a layer or head of its own")
        found[position] = value
    return [found[position] for position in sorted(found)]


def _cell(value: Any) -> float:
    """A number; NaN where it is null or not finite."""
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return np.nan
    return number(value)
