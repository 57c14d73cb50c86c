"""A model's weights: Frobenius norms of attention and feed-forward matrices, layer by layer, and a digest of all."""

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from headwise.analyses.stability.group_rows import MatrixNorm
from headwise.analyses.stability.names import MATRICES, TakenFrom, Version
from headwise.analyses.stability.residual import has_layer_norm, surroundings
from headwise.attention.capture import AttentionLayer, attention_layers

# What the modules of transformers call them.
_QUERY_KEY_VALUE = {
    **dict.fromkeys(("q_proj", "query", "q_lin"), TakenFrom.W_Q),
    **dict.fromkeys(("k_proj", "key", "k_lin"), TakenFrom.W_K),
    **dict.fromkeys(("v_proj", "value", "v_lin"), TakenFrom.W_V),
}
_FEED_FORWARD = {
    **dict.fromkeys(("gate_proj", "up_proj", "c_fc", "dense_h_to_4h", "fc1", "fc_in", "lin1"), TakenFrom.W_IN),
    **dict.fromkeys(("down_proj", "c_proj", "dense_4h_to_h", "fc2", "fc_out", "lin2"), TakenFrom.W_OUT),
}
# One module for queries, keys and values: side by side, or head by head.
_SIDE_BY_SIDE, _HEAD_BY_HEAD = ("c_attn",), ("query_key_value",)


def tensors_digest(model: PreTrainedModel) -> str:
    """SHA-256 over names and contents of a model's weights as they were loaded, however they lay in files."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def matrix_norms(model: PreTrainedModel, refit: int) -> Iterator[MatrixNorm]:
    """The norms of a refit's matrices, as published and as they are."""
    for version in Version:
        for layer, norms in layer_norms(model, published=version == Version.PUBLISHED).items():
            for matrix, norm in norms.items():
                yield MatrixNorm(refit=refit, layer=layer, matrix=matrix, version=version, norm=norm)


def layer_norms(model: PreTrainedModel, published: bool) -> dict[int, dict[TakenFrom, float]]:
    """Norms of MATRICES by layer index; a matrix that is not found is missing. Gates count as part of W_in.

    published: of matrices that write into the residual stream of a model with LayerNorm, the mean over hidden units is
    removed first, as TransformerLens does when the published code loads a model.
    """
    centre = published and has_layer_norm(model)
    return {layer.index: _norms(model, layer, centre) for layer in attention_layers(model)}


def _norms(model: PreTrainedModel, layer: AttentionLayer, centre: bool) -> dict[TakenFrom, float]:
    found: dict[TakenFrom, list[Tensor]] = {}
    attention = dict(layer.module.named_modules())
    for name, module in attention.items():
        last = name.rpartition(".")[2]
        if last in _QUERY_KEY_VALUE and isinstance(module, nn.Linear):
            found[_QUERY_KEY_VALUE[last]] = [_matrix(module)]
        elif last in _SIDE_BY_SIDE + _HEAD_BY_HEAD and isinstance(module, nn.Linear | Conv1D):
            found |= dict(
                zip((TakenFrom.W_Q, TakenFrom.W_K, TakenFrom.W_V), _split(model, _matrix(module), last), strict=False)
            )
    if layer.projection is not None:
        found[TakenFrom.W_O] = [into_stream(layer.projection, centre)]
    block, _, _ = surroundings(model, layer)
    inside = set(attention.values())
    for name, module in block.named_modules():
        kind = _FEED_FORWARD.get(name.rpartition(".")[2])
        if kind is not None and module not in inside and isinstance(module, nn.Linear | Conv1D):
            matrix = into_stream(module, centre) if kind == TakenFrom.W_OUT else _matrix(module)
            found.setdefault(kind, []).append(matrix)
    return {
        name: float(torch.stack([part.double().square().sum() for part in found[name]]).sum().sqrt())
        for name in MATRICES
        if name in found
    }


def _split(model: PreTrainedModel, joined: Tensor, name: str) -> list[list[Tensor]]:
    """Queries, keys and values of a matrix (hidden, outputs) of all three; none where they are not equally wide."""
    heads = model.config.get_text_config().num_attention_heads
    if joined.shape[1] != 3 * joined.shape[0]:
        return []
    if name in _SIDE_BY_SIDE:
        return [[part] for part in joined.chunk(3, dim=1)]
    return [[part] for part in joined.unflatten(1, (heads, 3, -1)).unbind(2)]


def _matrix(module: nn.Module) -> Tensor:
    """A weight as (inputs, outputs)."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight.detach() if isinstance(module, Conv1D) else weight.detach().T


def into_stream(module: nn.Module, centre: bool) -> Tensor:
    """A matrix that writes into the residual stream, (inputs, hidden); centred: less its mean over hidden units."""
    matrix = _matrix(module)
    return matrix - matrix.mean(dim=1, keepdim=True) if centre else matrix
