"""R² of linear models with any subset of factors, what each factor adds, and a test of that."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import factorial

import numpy as np

from headwise.arrays import FloatArray


def columns_of(levels: Sequence[str | float]) -> FloatArray:
    """Columns (n, c) of a factor: dummies of all categories but the first, or standardised numbers."""
    if all(isinstance(each, int | float) for each in levels):
        numbers = np.array(levels, dtype=np.float64)
        if not np.isfinite(numbers).all():
            raise ValueError("a factor has a level that is no number: leave the unit out, or name the level in text")
        if len(set(levels)) < 2:
            return np.empty((len(levels), 0))
        return ((numbers - numbers.mean()) / numbers.std())[:, None]
    kinds = sorted({str(each) for each in levels})
    return np.array([[str(each) == kind for kind in kinds[1:]] for each in levels], dtype=np.float64).reshape(
        len(levels), max(0, len(kinds) - 1)
    )


def subsets_of(count: int) -> list[tuple[int, ...]]:
    """All subsets of the factors: the empty one first, the whole last, in the order of their binary numbers."""
    return [tuple(position for position in range(count) if number >> position & 1) for number in range(2**count)]


def r_squared(
    outcomes: FloatArray, weights: FloatArray, blocks: Mapping[str, FloatArray], subsets: Sequence[tuple[int, ...]]
) -> FloatArray:
    """R² of every subset of factors: (r, subsets) from r outcomes or r weightings of the units; NaN without variance.

    `outcomes` and `weights` are (r, n) or (1, n).
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
        inverse = np.linalg.pinv(moments, rcond=1e-10, hermitian=True)
        found[:, position] = np.einsum(
            "ri,rij,rj->r", products, np.broadcast_to(inverse, (r, *inverse.shape[1:])), products
        )
    size = np.maximum(np.abs(outcomes).max(axis=1), 1e-300) ** 2
    variable = total > 1e-24 * size
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
    """p of a factor given all others: shuffled residuals of the model without it that gain as much R² from it."""
    if blocks[name].shape[1] == 0:
        return None
    others = np.concatenate([np.ones((len(values), 1)), *(own for each, own in blocks.items() if each != name)], axis=1)
    basis = basis_of(others)
    fitted = basis @ (basis.T @ values)
    extra = basis_of(np.concatenate([others, blocks[name]], axis=1))

    def gain(outcomes: FloatArray) -> FloatArray:
        """F of the factor up to a constant: sum of squares that it explains over what is left."""
        left = (outcomes**2).sum(axis=1) - ((outcomes @ extra) ** 2).sum(axis=1)
        explained = ((outcomes @ extra) ** 2).sum(axis=1) - ((outcomes @ basis) ** 2).sum(axis=1)
        return explained / np.maximum(left, 1e-12 * (outcomes**2).sum(axis=1))

    if extra.shape[1] == basis.shape[1]:
        return None
    residuals = rng.permuted(np.tile(values - fitted, (resamples, 1)), axis=1)
    observed = gain(values[None])[0]
    return float((np.sum(gain(fitted + residuals) >= observed * (1 - 1e-10)) + 1) / (resamples + 1))


def basis_of(design: FloatArray) -> FloatArray:
    """An orthonormal basis of the columns."""
    left, sizes, _ = np.linalg.svd(design, full_matrices=False)
    return left[:, sizes > 1e-10 * sizes.max()]
