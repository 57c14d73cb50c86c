"""Linear CKA between what the heads of a layer write."""

import math
from functools import cache

import torch
from torch import Tensor

from headwise.attention.row_tiles import rows_at_once

# Variance below this share of the mean square is rounding of float32 (its square is 1.4e-14), not a pattern.
SMALLEST_VARIANCE = 1e-12
# Debiased HSIC divides by T (T - 3).
FEWEST_TOKENS_FOR_CKA = 4


def upper(matrices: Tensor) -> Tensor:
    """The strict upper triangle of each square matrix, row by row: (..., n, n) to (..., n (n - 1) / 2)."""
    return matrices.flatten(-2)[..., _upper_entries(matrices.shape[-1], matrices.device)]


@cache
def _upper_entries(size: int, device: torch.device) -> Tensor:
    """Where the strict upper triangle is in a flattened square matrix."""
    with torch.inference_mode(False):
        i, j = torch.triu_indices(size, size, offset=1, device=device)
        return i * size + j


def write_factors(output_projection: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """Factors F with F F^T = W W^T for each head's output projection W (heads, head width, hidden): writes z W have the
    inner products of z F, which is no wider than the head."""
    return torch.linalg.qr(output_projection.double().mT, mode="r")[1].mT.to(dtype)


def output_cka(head_outputs: Tensor, output_projection: Tensor) -> Tensor:
    """Debiased linear CKA of the heads' writes z_h W_O^h over the T tokens of a prompt, for all pairs i < j.

    head_outputs: (T, heads, head width); output_projection: (heads, head width, hidden). Returns one float64 value per
    pair, within -1..1, NaN below 4 tokens and where a head writes the same at every token within float32 rounding.

    CKA after Kornblith et al. (2019), with the unbiased estimator of HSIC of Song et al. (2012). That estimator does
    not see an offset of the writes x_t, so they are centred, which makes its terms simple: the rows of the Gram matrix
    without its diagonal sum to -|x_t|^2.
    """
    return cka_of_writes(head_outputs, write_factors(output_projection))


def cka_of_writes(head_outputs: Tensor, factors: Tensor) -> Tensor:
    """`output_cka` from the `write_factors` of the output projection, in whose precision products are computed; of one
    layer, or of as many as the first dimension of both arguments says."""
    tokens, heads, _ = head_outputs.shape[-3:]
    if tokens < FEWEST_TOKENS_FOR_CKA:
        pairs = heads * (heads - 1) // 2
        return head_outputs.new_full((*head_outputs.shape[:-3], pairs), math.nan, dtype=torch.float64)
    writes = head_outputs.transpose(-3, -2).to(factors.dtype) @ factors
    mean = writes.mean(-2, keepdim=True)
    writes -= mean
    lengths = torch.linalg.vector_norm(writes, dim=-1).double().square()  # |x_t|^2, (..., heads, T)
    total = lengths.sum(-1)
    products = _inner_products(writes) - (1 + 2 / (tokens - 2)) * (lengths @ lengths.mT)
    products += total[..., None] * total[..., None, :] / ((tokens - 1) * (tokens - 2))
    norms = products.diagonal(dim1=-2, dim2=-1)
    squares = (total + tokens * mean.double().square().sum((-2, -1))).square()
    norms = norms.masked_fill(norms <= SMALLEST_VARIANCE * squares, math.nan)
    return upper((products / (norms[..., None] * norms[..., None, :]).sqrt()).clamp(-1, 1))


def _inner_products(writes: Tensor) -> Tensor:
    """Inner products of the Gram matrices X X^T of all pairs of heads, (..., H, H) float64, from X (..., H, T, width).

    They are the squared norms of X_i^T X_j, too. Which one is the shorter way depends on the length of the prompt.
    """
    if writes.ndim > 3:
        return torch.stack([_inner_products(layer) for layer in writes])
    heads, tokens, width = writes.shape
    products = writes.new_zeros(heads, heads, dtype=torch.float64)
    if tokens <= heads * width // 2:
        at_once = rows_at_once(heads, tokens, writes.device)
        for first in range(0, tokens, at_once):
            grams = (writes[:, first : first + at_once] @ writes.mT).flatten(1)
            products += grams @ grams.T
        return products
    side_by_side = writes.transpose(0, 1).reshape(tokens, heads * width)
    for head in range(heads):
        others = writes[head].T @ side_by_side[:, head * width :]
        norms = others.view(width, -1, width).square().sum((0, 2))
        products[head, head:] = norms
        products[head:, head] = norms
    return products
