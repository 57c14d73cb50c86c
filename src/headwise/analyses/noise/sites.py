"""Where noise enters a model: after the output projection, in a layer's input, or in the attention logits.

attention_output  what W_O gives, before it is added to the residual stream (before a norm that some models put between)
residual          the input of a layer: embeddings, or what the layers before have written
keys, values      as attention reads them, after projection and position code, before query heads share them
attention_logits  scores as the softmax reads them: scaled, capped where a model caps, one number per head, query, key
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from headwise.analyses.noise.settings import Region, Site
from headwise.analyses.specialization.estimators.entropy_profile import thirds
from headwise.attention.capture import AttentionLayer, LayerAttention, attention_layers, capturing
from headwise.attention.interface import EXACT, AttentionCall, intercepting

# Gives what is added to a layer's activations of that shape (without the batch dimension): (batch, *shape).
NoiseOf = Callable[[int, tuple[int, ...]], Tensor]


class PerturbationError(ValueError):
    """A model that cannot be perturbed as asked; the message names model type, site or region, and a remedy."""


def region_layers(model: PreTrainedModel, region: Region) -> list[int]:
    """Indices of the attention layers of a region of the depth. Raises PerturbationError where it holds none."""
    layers = [layer.index for layer in attention_layers(model)]
    chosen = layers if region == Region.ALL else layers[thirds(len(layers))[region]]
    if not chosen:
        raise PerturbationError(
            f"model type '{model.config.model_type}': the region '{region}' of {len(layers)} attention layers holds no "
            "layer: choose another region, or a deeper model."
        )
    return chosen


@contextmanager
def perturbing(model: PreTrainedModel, site: Site, layers: Sequence[int], noise: NoiseOf) -> Iterator[None]:
    """Within the block, `noise` is added to the site's activations in the layers with these indices.

    For attention_logits the model must attend eagerly within the block, by `model.set_attn_implementation("eager")`
    or under `capturing`. Raises PerturbationError for a model whose site cannot be reached.
    """
    chosen = [layer for layer in attention_layers(model) if layer.index in layers]
    with ExitStack() as undo:
        if site.is_shared:

            def add(layer: int, values: Tensor) -> Tensor:
                return values + noise(layer, tuple(values.shape[1:])).to(values)

            undo.enter_context(_changing_shared(model, site, chosen, add))
        for layer in () if site.is_shared else chosen:
            undo.callback(_add_noise(model, site, layer, noise).remove)
        yield


def clean_rms(model: PreTrainedModel, site: Site, inputs: Tensor) -> dict[int, float]:
    """Root mean square of a site's activations by layer, over texts of equal length: token ids (texts, T).

    For attention_logits it is that of the scores less their mean over the keys that a query may attend to, since the
    softmax does not see that mean; keys whose weight is 0 in float32 are left out.
    """
    squares: dict[int, float] = {}
    counts: dict[int, int] = {}

    def count_in(layer: int, values: Tensor) -> None:
        squares[layer] = squares.get(layer, 0.0) + float(values.double().square().sum())
        counts[layer] = counts.get(layer, 0) + values.numel()

    with torch.inference_mode(), ExitStack() as undo:
        if site == Site.ATTENTION_LOGITS:
            _check_interface(model, site)
            undo.enter_context(
                capturing(model, lambda attention: count_in(attention.layer, _centred_logits(attention)))
            )
            for row in inputs:
                model(input_ids=row[None], use_cache=False)
        elif site.is_shared:

            def seen(layer: int, values: Tensor) -> Tensor:
                count_in(layer, values)
                return values

            undo.enter_context(_changing_shared(model, site, attention_layers(model), seen))
            model.base_model(input_ids=inputs, use_cache=False)
        else:
            for layer in attention_layers(model):

                def record(module: nn.Module, values: Tensor, index: int = layer.index) -> Tensor:
                    count_in(index, values)
                    return values

                undo.callback(_changing(model, site, layer, record).remove)
            model.base_model(input_ids=inputs, use_cache=False)  # the head would make logits of all texts
    return {layer: (squares[layer] / counts[layer]) ** 0.5 for layer in sorted(squares)}


def _centred_logits(attention: LayerAttention) -> Tensor:
    """ln of the positive weights less its mean per query: the scores up to what the softmax does not see."""
    weights = attention.weights.double()
    seen = weights > 0
    logits = torch.where(seen, weights, 1.0).log()
    means = logits.sum(-1, keepdim=True) / seen.sum(-1, keepdim=True)
    return (logits - means)[seen]


def _add_noise(model: PreTrainedModel, site: Site, layer: AttentionLayer, noise: NoiseOf) -> Any:
    def add(module: nn.Module, values: Tensor) -> Tensor:
        drawn = noise(layer.index, tuple(values.shape[1:]))
        return values + drawn.to(values)

    return (
        _changing_logits(model, layer, noise) if site == Site.ATTENTION_LOGITS else _changing(model, site, layer, add)
    )


def _changing(
    model: PreTrainedModel, site: Site, layer: AttentionLayer, change: Callable[[nn.Module, Tensor], Tensor]
) -> Any:
    """A hook that replaces the site's activations (batch, T, hidden) in one layer."""
    kind = model.config.model_type
    if site == Site.ATTENTION_OUTPUT:
        if layer.projection is None:
            raise PerturbationError(
                f"model type '{kind}', layer {layer.index}: the output projection is no plain matrix, so noise cannot "
                "be added after it: choose the site residual, or a checkpoint that is not quantized."
            )
        return layer.projection.register_forward_hook(lambda module, _, output: change(module, output))

    def enter(module: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if inputs and isinstance(inputs[0], Tensor):
            return (change(module, inputs[0]), *inputs[1:]), options
        if isinstance(options.get("hidden_states"), Tensor):
            return inputs, {**options, "hidden_states": change(module, options["hidden_states"])}
        raise PerturbationError(
            f"model type '{kind}', layer {layer.index}: {type(module).__name__} is not called with hidden states, so "
            "its input cannot be perturbed: choose the site attention_output, or another architecture."
        )

    return _block_of(model, layer).register_forward_pre_hook(enter, with_kwargs=True)


@contextmanager
def _changing_shared(
    model: PreTrainedModel, site: Site, layers: Sequence[AttentionLayer], change: Callable[[int, Tensor], Tensor]
) -> Iterator[None]:
    """Within the block, keys or values (batch, key-value heads, T, width) are changed before attention reads them."""
    _check_interface(model, site)
    indices = {layer.module: layer.index for layer in layers}

    def attend(call: AttentionCall) -> Tensor:
        index = indices[call.module]
        if site == Site.KEYS:
            call = replace(call, key=change(index, call.key))
        else:
            call = replace(call, value=change(index, call.value))
        return call.eagerly()[0]

    with intercepting(model, indices, attend, EXACT):
        yield


def _changing_logits(model: PreTrainedModel, layer: AttentionLayer, noise: NoiseOf) -> Any:
    """A hook that adds noise to the mask that eager attention adds to its scores right before the softmax."""
    _check_interface(model, Site.ATTENTION_LOGITS)
    kind = model.config.model_type
    heads = model.config.get_text_config(decoder=True).num_attention_heads

    def enter(module: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        mask = options.get("attention_mask")
        if mask is None and "attention_mask" in options and not getattr(module, "is_causal", True):
            hidden = inputs[0] if inputs else options["hidden_states"]  # an encoder hides nothing
            mask = hidden.new_zeros(1, 1, hidden.shape[1], hidden.shape[1])
        if not isinstance(mask, Tensor) or mask.ndim != 4 or not mask.is_floating_point():
            raise PerturbationError(
                f"model type '{kind}', layer {layer.index}: no mask reaches {type(module).__name__} that its scores "
                "are added to, so its attention logits cannot be perturbed: choose the site attention_output."
            )
        # (heads, T, T); a masked entry stays the most negative number.
        drawn = noise(layer.index, (heads, *mask.shape[-2:])).to(mask)
        blocked = mask <= torch.finfo(mask.dtype).min
        return inputs, {**options, "attention_mask": torch.where(blocked, mask, mask + drawn)}

    return layer.module.register_forward_pre_hook(enter, with_kwargs=True)


def _check_interface(model: PreTrainedModel, site: Site) -> None:
    if not attention_layers(model)[0].uses_interface:
        raise PerturbationError(
            f"model type '{model.config.model_type}' computes attention outside of the attention interface of "
            f"transformers, so the site {site} cannot be reached: choose attention_output or residual."
        )


def _block_of(model: PreTrainedModel, layer: AttentionLayer) -> nn.Module:
    """The layer that an attention module belongs to: the outermost module on its path that a list holds."""
    paths = {module: path for path, module in model.named_modules()}
    parts = paths[layer.module].split(".")
    for depth in range(1, len(parts) + 1):
        if isinstance(model.get_submodule(".".join(parts[: depth - 1])), nn.ModuleList):
            return model.get_submodule(".".join(parts[:depth]))
    raise PerturbationError(
        f"model type '{model.config.model_type}', layer {layer.index}: {type(layer.module).__name__} lies in no list "
        "of layers, so the input of its layer is not known: choose the site attention_output."
    )
