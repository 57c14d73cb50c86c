"""What attention is worth, in models in which it is known."""

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from headwise.analyses.working_heads.measure import attention_worth, writing_zeros

SHAPE = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "vocab_size": 20}


@pytest.fixture
def llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SHAPE, intermediate_size=32, initializer_range=0.5)).eval()


@pytest.fixture
def excerpts() -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.randint(20, (3, 9), generator=torch.Generator().manual_seed(1))
    return tokens[:, :-1], tokens[:, 1:]


def test_attention_that_writes_zeros_anyway_is_worth_nothing(
    llama: LlamaForCausalLM, excerpts: tuple[torch.Tensor, torch.Tensor]
) -> None:
    assert attention_worth(llama, excerpts)[0] != 0
    for layer in llama.model.layers:
        torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
    assert attention_worth(llama, excerpts)[0] == 0


def test_without_attention_a_model_is_one_whose_projections_are_zero(
    llama: LlamaForCausalLM, excerpts: tuple[torch.Tensor, torch.Tensor]
) -> None:
    worth, loss = attention_worth(llama, excerpts)
    for layer in llama.model.layers:
        torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
    with torch.no_grad():
        without = cross_entropy(llama(excerpts[0]).logits.flatten(0, 1), excerpts[1].flatten()).item()
    assert loss + worth == pytest.approx(without, abs=1e-5)


def test_output_biases_are_taken_away_too_and_hooks_do_not_stay() -> None:
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=16, n_head=2, vocab_size=20, n_positions=16)).eval()
    for block in model.transformer.h:
        torch.nn.init.constant_(block.attn.c_proj.bias, 3.0)
    tokens = torch.arange(8)[None]
    with torch.no_grad():
        before = model(tokens).logits
        with writing_zeros(model):
            zeros = model(tokens).logits
        after = model(tokens).logits
        for block in model.transformer.h:
            torch.nn.init.zeros_(block.attn.c_proj.bias)
            torch.nn.init.zeros_(block.attn.c_proj.weight)
        torch.testing.assert_close(zeros, model(tokens).logits)
    assert torch.equal(before, after)
    assert not torch.allclose(before, zeros)
