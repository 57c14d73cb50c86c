"""Small Llama-style decoders that differ in exactly the factor that a study switches."""

import torch
from transformers import PreTrainedTokenizerBase
from transformers.models.mistral.configuration_mistral import MistralConfig
from transformers.models.mistral.modeling_mistral import MistralForCausalLM

from headwise.study.training import Decoder


def build_decoder(decoder: Decoder, tokenizer: PreTrainedTokenizerBase, seed: int) -> MistralForCausalLM:
    """A decoder with random weights, float32, on the CPU.

    Mistral's class is Llama with an optional sliding window; all models use it, so that the class is never a
    factor. The weights depend on `seed` and the shape alone, and the caller's random state is left as it was.

    Initial weights are normal with deviation sqrt(2 / (5 hidden)) (Nguyen and Salazar 2019, "SmallInit").
    """
    config = MistralConfig(
        vocab_size=len(tokenizer),
        hidden_size=decoder.hidden,
        intermediate_size=decoder.feed_forward,
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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MistralForCausalLM(config).float()
