"""GPT-2 as TransformerLens trains it: with a bias of the unembedding, weights untied, and attention-only where asked.

    config = HookedGPT2Config(n_layer=2, n_head=8, n_embd=512, attention_only=True)
    model = AutoModelForCausalLM.from_config(config)

Importing this module makes the architecture known to transformers: whatever loads GPT-2 by its Auto classes loads this.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

HOOKED_GPT2 = "hooked_gpt2"


class HookedGPT2Config(GPT2Config):
    """As GPT2Config; `attention_only` leaves the feed-forward layers out, and with them their normalisation.

    Dropout is off and the unembedding is a matrix of its own, as in TransformerLens.
    """

    model_type = HOOKED_GPT2

    attention_only: bool = False
    tie_word_embeddings: bool = False
    resid_pdrop: float = 0.0
    embd_pdrop: float = 0.0
    attn_pdrop: float = 0.0


class NoFeedForward(nn.Module):
    """Adds nothing to the residual stream."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Zeros of the shape of the input."""
        return torch.zeros_like(hidden_states)


class HookedGPT2LMHeadModel(GPT2LMHeadModel):
    """GPT-2 with the head of TransformerLens, and without feed-forward layers if the configuration says so."""

    config_class = HookedGPT2Config

    def __init__(self, config: HookedGPT2Config) -> None:
        super().__init__(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=True)
        if config.attention_only:
            layers: Any = self.transformer.h
            for layer in layers:
                layer.ln_2 = nn.Identity()
                layer.mlp = NoFeedForward()
        self.post_init()


AutoConfig.register(HOOKED_GPT2, HookedGPT2Config, exist_ok=True)
AutoModelForCausalLM.register(HookedGPT2Config, HookedGPT2LMHeadModel, exist_ok=True)
