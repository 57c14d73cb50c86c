"""R² of linear models with any subset of factors, what each factor adds, and a test of that."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import factorial

import numpy as np

from headwise.statistics.arrays import FloatArray
from headwise.statistics.ties import LEAST_TOLERANCE, is_constant, largest, rescaled, tolerance
from headwise.statistics.values import is_missing, is_number, label_key, numbers


def columns_of(levels: Sequence[str | float], name: str = "a factor") -> FloatArray:
    """Columns (n, c) of a factor: dummies of all categories but the first, or standardised numbers.

    Numbers of any numeric type are numbers; everything else, truth values among it, is a category, and so are numbers
    beside text. Raises ValueError, with the name, for a level that is missing, or an infinite number.
    """
    numeric = all(is_number(each) for each in levels)
    sample = numbers(list(levels), "levels") if numeric else np.empty(0)
    if any(map(is_missing, levels)) or not np.isfinite(sample).all():
        raise ValueError(f"{name} has a level that is no number: leave the unit out, or name the level in text")
    if numeric:
        (sample,), _ = rescaled(sample)
        if not len(sample) or is_constant(sample):
            return np.empty((len(levels), 0))
        return ((sample - sample.mean()) / sample.std())[:, None]
    keys = [label_key(each) for each in levels]
    kinds = sorted(set(keys), key=lambda key: (str(key[1]), key[0]))
    return np.array([[key == kind for kind in kinds[1:]] for key in keys], dtype=np.float64).reshape(
        len(levels), max(0, len(kinds) - 1)
    )


def subsets_of(count: int) -> list[tuple[int, ...]]:
    """All subsets of the factors: the empty one first, the whole last, in the order of their binary numbers."""
    return [tuple(position for position in range(count) if number >> position & 1) for number in range(2**count)]


def r_squared(
    outcomes: FloatArray, weights: FloatArray, blocks: Mapping[str, FloatArray], subsets: Sequence[tuple[int, ...]]
) -> FloatArray:
    """R² of every subset of factors: (r, subsets) from r outcomes or r weightings of the units; NaN without variance.

    `outcomes` and `weights` are (r, n) or (1, n); outcomes are finite, of a size whose square is so as well.
    """
    designs = list(blocks.values())
    n, r = outcomes.shape[1], max(len(outcomes), len(weights))
    weights = weights / weights.sum(axis=1, keepdims=True)
    mean = (weights * outcomes).sum(axis=1, keepdims=True)
    centred = outcomes - mean
    total = (weights * centred**2).sum(axis=1)
    found = np.zeros((r, len(subsets)))
    for position, subset in enumerate(subsets):
        if not subset:
            continue
        design = np.concatenate([np.ones((n, 1)), *(designs[each] for each in subset)], axis=1)
        moments = np.einsum("rn,ni,nj->rij", weights, design, design, optimize=True)
        products = np.einsum("rn,ni->ri", np.broadcast_to(weights * centred, (r, n)), design, optimize=True)
        inverse = np.linalg.pinv(moments, rcond=LEAST_TOLERANCE, hermitian=True)
        found[:, position] = np.einsum(
            "ri,rij,rj->r", products, np.broadcast_to(inverse, (r, *inverse.shape[1:])), products
        )
    variable = total > tolerance(np.abs(outcomes).max(axis=1)) ** 2
    return np.where(variable[:, None], found / np.where(variable, total, 1.0)[:, None], np.nan).clip(max=1.0)


def shapley_shares(r_squared: FloatArray, count: int) -> FloatArray:
    """Shares (r, count) from the R² of all subsets (r, 2^count), indexed by their binary numbers."""
    shares = np.zeros((len(r_squared), count))
    for factor in range(count):
        others = [each for each in range(count) if each != factor]
        for size in range(count):
            weight = factorial(size) * factorial(count - size - 1) / factorial(count)
            for subset in combinations(others, size):
                number = sum(1 << each for each in subset)
                shares[:, factor] += weight * (r_squared[:, number | 1 << factor] - r_squared[:, number])
    return shares


def freedman_lane(
    values: FloatArray, blocks: Mapping[str, FloatArray], name: str, rng: np.random.Generator, resamples: int
) -> float | None:
    """p of a factor given all others: shuffled residuals of the model without it that gain as much R² from it.

    values: (n,), finite. None where they do not vary, or where the factor has no column beside the others.
    """
    if not np.isfinite(values).all():
        raise ValueError("an outcome is not finite: leave the unit out")
    if blocks[name].shape[1] == 0:
        return None
    (values,), _ = rescaled(values)
    if is_constant(values):
        return None
    size = largest(values)
    values = values - values.mean()  # what the factor explains does not depend on the mean, which would cost digits
    others = np.concatenate([np.ones((len(values), 1)), *(own for each, own in blocks.items() if each != name)], axis=1)
    basis = basis_of(others)
    fitted = basis @ (basis.T @ values)
    extra = basis_of(np.concatenate([others, blocks[name]], axis=1))

    def gain(outcomes: FloatArray) -> FloatArray:
        """Partial R² of the factor: what it explains of what the others leave, which rises with its F."""
        total, without = (outcomes**2).sum(axis=1), ((outcomes @ basis) ** 2).sum(axis=1)
        left, explained = total - without, ((outcomes @ extra) ** 2).sum(axis=1) - without
        return explained / np.maximum(left, tolerance(total))

    if extra.shape[1] == basis.shape[1]:
        return None
    if largest(values - fitted) <= tolerance(size, len(values)):
        return 1.0  # nothing is left to explain: all orders are alike
    residuals = rng.permuted(np.tile(values - fitted, (resamples, 1)), axis=1)
    observed = gain(values[None])[0]
    as_large = gain(fitted + residuals) >= observed - tolerance(1.0, len(values))
    return float((np.sum(as_large) + 1) / (resamples + 1))


def basis_of(design: FloatArray) -> FloatArray:
    """An orthonormal basis of the columns."""
    left, sizes, _ = np.linalg.svd(design, full_matrices=False)
    return left[:, sizes > tolerance(sizes.max())]
