"""What a model loses without one head: its output is replaced, and the loss on text measured again.

Zero ablation takes the head's output z away at all positions; it moves the model to activations that it never meets.
Published (Bali et al. 2026) is zero ablation of a model that TransformerLens has loaded: its value biases stand in the
output bias by then, so that a head without its output still writes b_V W_O. Mean ablation puts the mean output over the
text in its place, so that only what varies is lost (Wang et al. 2023).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from headwise.attention.capture import AttentionLayer, CaptureError, attention_layers
from headwise.models.excerpts import texts_per_pass
from headwise.models.finite import NotFiniteError, why_not_finite
from headwise.models.resources import ABLATED_AT_ONCE
from headwise.runtime.progress import track

# Inputs and targets of excerpts of equal length, int64 (excerpts, tokens), as `take_excerpts` gives them.
Batch = tuple[Tensor, Tensor]


@torch.no_grad()
def ablated_losses(
    model: PreTrainedModel, batches: Sequence[Batch], replacements: Tensor | None = None, copies: int = ABLATED_AT_ONCE
) -> tuple[Tensor, Tensor]:
    """Loss per token of every text without each of a model's heads in turn, nats.

    batches       excerpts; those within a batch are equally long
    replacements  what stands in place of each head's output, (layers, heads, head width), such as `mean_outputs` or
                  `value_biases`; None: zeros
    copies        heads that are ablated in one forward pass, at most: fewer where the texts are many

    Returns float64 (layers, heads, texts), with the texts of all batches in order, and float64 (texts,) for the whole
    model. Raises as `ablated_token_losses`.
    """
    return means_of_texts([ablated_token_losses(model, batch, replacements, copies) for batch in batches])


def means_of_texts(each: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Losses per text, as of `ablated_losses`, from those at every token of each batch."""
    without, whole = (torch.cat([losses.mean(-1) for losses in side], -1) for side in zip(*each, strict=True))
    return without, whole


@torch.no_grad()
def ablated_token_losses(
    model: PreTrainedModel, batch: Batch, replacements: Tensor | None = None, copies: int = ABLATED_AT_ONCE
) -> tuple[Tensor, Tensor]:
    """Loss at every token of equally long texts without each of a model's heads in turn, nats; arguments as above.

    Returns float64 (layers, heads, texts, tokens), and float64 (texts, tokens) for the whole model. Raises CaptureError
    where the heads' outputs do not pass through one module, NotFiniteError for a loss that is not finite.
    """
    layers, (inputs, targets) = ablatable_layers(model), batch
    heads = model.config.get_text_config().num_attention_heads
    copies = min(copies, max(1, texts_per_pass(model, inputs.shape[1]) // len(inputs)))
    whole = _losses(model, inputs, targets)
    result = torch.empty(len(layers), heads, *whole.shape, dtype=torch.float64)
    passes = [(place, start) for place in range(len(layers)) for start in range(0, heads, copies)]
    for place, start in track(passes, "ablation", len(passes)):
        chosen = range(start, min(start + copies, heads))
        value = None if replacements is None else replacements[place]
        with _reading(layers[place], _Without(heads, chosen, value)):
            losses = _losses(model, inputs.repeat(len(chosen), 1), targets.repeat(len(chosen), 1))
        result[place, start : start + len(chosen)] = losses.view(len(chosen), *whole.shape)
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
            model.base_model(input_ids=tokens.to(model.device), use_cache=False)
    return torch.stack(sums) / sum(tokens.numel() for tokens in inputs)


@torch.no_grad()
def value_biases(model: PreTrainedModel) -> Tensor:
    """The value bias b_V of every head, the part of its output that is always there: (layers, heads, head width).

    Measured: attention that reads zeros has b_V for its values at every position, and so has its output, wherever a
    module keeps its biases.
    """
    layers = ablatable_layers(model)
    biases: dict[int, Tensor] = {}
    with ExitStack() as hooks:
        for layer in layers:
            hooks.callback(layer.module.register_forward_pre_hook(_reads_zeros, with_kwargs=True).remove)
        hooks.enter_context(reading_outputs(model, lambda place, outputs: biases.update({place: outputs[0, 0]})))
        model(input_ids=torch.zeros(1, 1, dtype=torch.int64, device=model.device), use_cache=False)
    return torch.stack([biases[place].cpu() for place in range(len(layers))])


def _reads_zeros(
    module: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if "hidden_states" in options:
        return inputs, options | {"hidden_states": torch.zeros_like(options["hidden_states"])}
    return (torch.zeros_like(inputs[0]), *inputs[1:]), options


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
    """Cross-entropy at each token of each text, nats: float64 (texts, tokens)."""
    at_once = texts_per_pass(model, inputs.shape[1])
    parts = zip(inputs.split(at_once), targets.split(at_once), strict=True)
    return torch.cat([_losses_at_once(model, *part) for part in parts])


def _losses_at_once(model: PreTrainedModel, inputs: Tensor, targets: Tensor) -> Tensor:
    logits = model(input_ids=inputs.to(model.device), use_cache=False).logits[:, -targets.shape[1] :]
    losses = cross_entropy(logits.flatten(0, 1).float(), targets.to(model.device).flatten(), reduction="none")
    losses = losses.view(len(targets), -1).double().cpu()
    if not losses.isfinite().all():
        text = int((~losses.isfinite()).nonzero()[0, 0])
        raise NotFiniteError(
            f"model type '{model.config.model_type}': its loss on text {text} is not finite: {why_not_finite(model)}"
        )
    return losses
