"""Small decoders that differ in exactly the factor that a study switches."""

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.gpt2.configuration_gpt2 import GPT2Config
from transformers.models.gpt2.modeling_gpt2 import GPT2LMHeadModel
from transformers.models.mistral.configuration_mistral import MistralConfig
from transformers.models.mistral.modeling_mistral import MistralForCausalLM

from headwise.study.training import Decoder

# No library class leaves feed-forward layers out, and GPT-2's cannot be of width 0.
NARROWEST_FEED_FORWARD = 1


def build_decoder(decoder: Decoder, tokenizer: PreTrainedTokenizerBase, seed: int) -> PreTrainedModel:
    """A decoder with random weights, float32, on the CPU.

    The weights depend on `seed` and the shape alone, and the caller's random state is left as it was.

    llama: Mistral's class is Llama with an optional sliding window; all models use it, so that the class is never a
    factor. Initial weights are normal with deviation sqrt(2 / (5 hidden)) (Nguyen and Salazar 2019, "SmallInit").

    gpt2: GPT-2's class with exact GELU, no dropout, and an output matrix of its own. Initial weights are normal with
    deviation 0.8 / sqrt(hidden), as in TransformerLens, which trained the refits of Bali et al. (2026); projections
    into the residual stream are smaller by sqrt(2 layers), as in GPT-2.

    With `feed_forward` 0 the feed-forward layers have one unit whose weights are zero and take no gradient: they add
    exactly nothing to the residual stream, during training and after, and the checkpoint is one of the ordinary class.
    """
    build = {"llama": _llama, "gpt2": _gpt2}[decoder.architecture]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(decoder, tokenizer).float()
    if decoder.feed_forward == 0:
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


def _gpt2(decoder: Decoder, tokenizer: PreTrainedTokenizerBase) -> GPT2LMHeadModel:
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_embd=decoder.hidden,
            n_inner=decoder.feed_forward or NARROWEST_FEED_FORWARD,
            n_layer=decoder.layers,
            n_head=decoder.heads,
            n_positions=decoder.positions,
            activation_function="gelu",
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            initializer_range=0.8 / decoder.hidden**0.5,
            tie_word_embeddings=False,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
