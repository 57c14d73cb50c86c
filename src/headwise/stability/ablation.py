"""What a model loses without one head: its output is replaced, and the loss on text measured again.

Zero ablation takes the head's output z away at all positions, as published (Bali et al. 2026); it moves the model to
activations that it never meets. Mean ablation puts the mean output over the text in its place, so that only what varies
is lost (Wang et al. 2023).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from headwise.attention.capture import AttentionLayer, CaptureError, attention_layers
from headwise.progress import track

# Inputs and targets of excerpts of equal length, int64 (excerpts, tokens) both.
Batch = tuple[Tensor, Tensor]


@torch.no_grad()
def ablated_losses(
    model: PreTrainedModel, batches: Sequence[Batch], mean: bool, copies: int = 8
) -> tuple[Tensor, Tensor]:
    """Loss per token of every text without each of a model's heads in turn, nats.

    batches  excerpts; those within a batch are equally long
    mean     put a head's mean output over all tokens of all batches in its place, else zero
    copies   heads that are ablated in one forward pass

    Returns float64 (layers, heads, texts), with the texts of all batches in order, and float64 (texts,) for the whole
    model. Raises CaptureError where the heads' outputs do not pass through one module.
    """
    layers = ablatable_layers(model)
    heads = model.config.get_text_config().num_attention_heads
    whole = torch.cat([_losses(model, *batch) for batch in batches])
    replacements = mean_outputs(model, [inputs for inputs, _ in batches]) if mean else None
    result = torch.empty(len(layers), heads, len(whole), dtype=torch.float64)
    passes = [(place, start) for place in range(len(layers)) for start in range(0, heads, copies)]
    for place, start in track(passes, "ablation", len(passes)):
        chosen = range(start, min(start + copies, heads))
        value = None if replacements is None else replacements[place]
        without = _Without(heads, chosen, value)
        with _reading(layers[place], without):
            losses = [
                _losses(model, inputs.repeat(len(chosen), 1), targets.repeat(len(chosen), 1)).view(len(chosen), -1)
                for inputs, targets in batches
            ]
        result[place, start : start + len(chosen)] = torch.cat(losses, dim=1)
    return result, whole


@torch.no_grad()
def mean_outputs(model: PreTrainedModel, inputs: Sequence[Tensor]) -> Tensor:
    """Mean output z of every head over all tokens of all inputs: (layers, heads, head width)."""
    layers = ablatable_layers(model)
    sums: list[Any] = [0] * len(layers)
    with reading_outputs(
        model, lambda place, outputs: sums.__setitem__(place, sums[place] + outputs.double().sum((0, 1)))
    ):
        for tokens in inputs:
            model(input_ids=tokens.to(model.device), use_cache=False)
    return torch.stack(sums) / sum(tokens.numel() for tokens in inputs)


@contextmanager
def reading_outputs(model: PreTrainedModel, receive: Callable[[int, Tensor], None]) -> Iterator[None]:
    """Within the block, `receive` gets for each layer position the heads' outputs z (texts, T, heads, head width)."""
    heads = model.config.get_text_config().num_attention_heads
    handles = []
    for place, layer in enumerate(ablatable_layers(model)):
        assert layer.projection is not None

        def read(module: nn.Module, inputs: tuple[Tensor, ...], place: int = place) -> None:
            receive(place, inputs[0].detach().unflatten(-1, (heads, -1)))

        handles.append(layer.projection.register_forward_pre_hook(read))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def ablatable_layers(model: PreTrainedModel) -> list[AttentionLayer]:
    """The attention layers of a model. Raises CaptureError where one has no output projection of its own."""
    layers = attention_layers(model)
    for layer in layers:
        if layer.projection is None:
            raise CaptureError(
                f"model type '{model.config.model_type}', layer {layer.index}: its heads do not write through one "
                "module, so that no head can be taken away: leave `ablation` and `head_map` out of stability.analyses"
            )
    return layers


class _Without:
    """A hook before W_O that takes another head away in each copy of a batch."""

    def __init__(self, heads: int, chosen: range, replacement: Tensor | None) -> None:
        self.heads, self.chosen, self.replacement = heads, chosen, replacement

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        outputs = inputs[0].unflatten(-1, (self.heads, -1)).unflatten(0, (len(self.chosen), -1)).clone()
        for copy, head in enumerate(self.chosen):
            value = 0.0 if self.replacement is None else self.replacement[head].to(outputs)
            outputs[copy, :, :, head] = value
        return (outputs.flatten(0, 1).flatten(-2), *inputs[1:])


@contextmanager
def _reading(layer: AttentionLayer, hook: _Without) -> Iterator[None]:
    assert layer.projection is not None
    handle = layer.projection.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _losses(model: PreTrainedModel, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy per token of each text, nats: float64 (texts,)."""
    logits = model(input_ids=inputs.to(model.device), use_cache=False).logits
    losses = cross_entropy(logits.flatten(0, 1).float(), targets.to(model.device).flatten(), reduction="none")
    return losses.view(len(targets), -1).double().mean(1).cpu()
