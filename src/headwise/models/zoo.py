"""Small decoders that differ in exactly the factor that a study switches."""

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.mistral.configuration_mistral import MistralConfig
from transformers.models.mistral.modeling_mistral import MistralForCausalLM

from headwise.models.hooked import HookedGPT2Config, HookedGPT2LMHeadModel
from headwise.study.training import Decoder

# Llama's class has no model without feed-forward layers; these then have one unit.
NARROWEST_FEED_FORWARD = 1


def build_decoder(decoder: Decoder, tokenizer: PreTrainedTokenizerBase, seed: int) -> PreTrainedModel:
    """A decoder with random weights, float32, on the CPU.

    The weights depend on `seed` and the shape alone, and the caller's random state is left as it was.

    llama: Mistral's class is Llama with an optional sliding window; all models use it, so that the class is never a
    factor. Initial weights are normal with deviation sqrt(2 / (5 hidden)) (Nguyen and Salazar 2019, "SmallInit").

    gpt2: GPT-2 as TransformerLens builds it (see `hooked`), which trained the refits of Bali et al. (2026), with exact
    GELU. Initial weights are normal with deviation 0.8 / sqrt(hidden), as there; projections into the residual stream
    are smaller by sqrt(2 layers), as in GPT-2.

    With `feed_forward` 0 the model is attention alone. gpt2 has no feed-forward layers then; those of llama have one
    unit whose weights are zero and take no gradient, so that they add exactly nothing, and the class stays the same.
    """
    build = {"llama": _llama, "gpt2": _gpt2}[decoder.architecture]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(decoder, tokenizer).float()
    if decoder.feed_forward == 0 and decoder.architecture == "llama":
        silence_feed_forward(model)
    return model


def silence_feed_forward(model: PreTrainedModel) -> None:
    """Set the weights of all feed-forward layers to zero, for good: what remains is attention alone."""
    for path, module in model.named_modules():
        if path.rpartition(".")[2] == "mlp":
            for parameter in module.parameters():
                parameter.requires_grad_(False).zero_()


def _llama(decoder: Decoder, tokenizer: PreTrainedTokenizerBase) -> MistralForCausalLM:
    return MistralForCausalLM(
        MistralConfig(
            vocab_size=len(tokenizer),
            hidden_size=decoder.hidden,
            intermediate_size=decoder.feed_forward or NARROWEST_FEED_FORWARD,
            num_hidden_layers=decoder.layers,
            num_attention_heads=decoder.heads,
            num_key_value_heads=decoder.key_value_heads or decoder.heads,
            head_dim=decoder.head_width,
            max_position_embeddings=decoder.positions,
            sliding_window=decoder.window,
            initializer_range=(2 / (5 * decoder.hidden)) ** 0.5,
            tie_word_embeddings=False,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def _gpt2(decoder: Decoder, tokenizer: PreTrainedTokenizerBase) -> HookedGPT2LMHeadModel:
    return HookedGPT2LMHeadModel(
        HookedGPT2Config(
            vocab_size=len(tokenizer),
            n_embd=decoder.hidden,
            n_inner=decoder.feed_forward or None,
            n_layer=decoder.layers,
            n_head=decoder.heads,
            n_positions=decoder.positions,
            activation_function="gelu",
            attention_only=decoder.feed_forward == 0,
            initializer_range=0.8 / decoder.hidden**0.5,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
