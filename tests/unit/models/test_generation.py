"""Writing text: the same tokens with and without a cache, in any batch, and as the model's own generation has them."""

import math

import numpy as np
import pytest
import torch
from attention_examples import ARCHITECTURES, save_checkpoint, tiny_model, token_ids
from noise_examples import subject, texts

from headwise.analyses.noise.dose import Dose
from headwise.analyses.noise.draws import NoiseRow
from headwise.analyses.noise.generated_text import generated_text
from headwise.analyses.noise.settings import Region, Scale, Site
from headwise.models import generation
from headwise.models.generation import GenerationError, stop_tokens, write
from headwise.models.load import load_checkpoint
from headwise.study.prompts import EncodedPrompt

CAUSAL = ["grouped-query", "narrow window", "gpt2", "gpt_neox", "gemma2", "falcon alibi", "bloom"]


def llama():
    return tiny_model("llama", num_key_value_heads=2)


@pytest.mark.parametrize("name", CAUSAL)
def test_greedy_text_is_that_of_the_library_with_and_without_a_cache(name):
    kind, changes, _ = ARCHITECTURES[name]
    model = tiny_model(kind, **changes)
    inputs = texts()
    found = write(model, inputs, 8, stop=set())
    assert [text.tokens for text in write(model, inputs, 8, stop=set(), use_cache=False)] == [
        text.tokens for text in found
    ]
    expected = model.generate(inputs, max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=0)
    assert [text.tokens for text in found] == expected[:, inputs.shape[1] :].tolist()


def test_probabilities_are_those_of_reading_the_whole_text():
    model, inputs = llama(), texts()
    for row, text in zip(inputs, write(model, inputs, 6, stop=set()), strict=True):
        ids = torch.cat([row, torch.tensor(text.tokens)])[None]
        with torch.no_grad():
            log_probabilities = model(input_ids=ids).logits[0].double().log_softmax(-1)
        expected = [float(log_probabilities[11 + step, token]) for step, token in enumerate(text.tokens)]
        assert text.log_probabilities == pytest.approx(expected, abs=1e-4)
        assert text.nll_nats == pytest.approx(-sum(expected) / 6, abs=1e-4)


@pytest.mark.parametrize("use_cache", [True, False])
def test_of_many_words_only_the_logits_of_the_last_token_are_made(use_cache, monkeypatch):
    model, inputs, sizes = llama(), texts(), []
    expected = write(model, inputs, 6, stop=set(), use_cache=use_cache)
    monkeypatch.setattr(generation, "LOGITS_BYTES", 1)
    model.register_forward_hook(lambda module, given, output: sizes.append(output.logits.shape[1]))
    for text, whole in zip(write(model, inputs, 6, stop=set(), use_cache=use_cache), expected, strict=True):
        assert text.tokens == whole.tokens
        assert text.log_probabilities == pytest.approx(whole.log_probabilities, abs=1e-5)
    assert set(sizes) == {1}


def test_sampling_follows_the_distribution_and_not_the_batch():
    model, inputs = llama(), texts()
    uniforms = np.random.default_rng(0).random((3, 5))
    together = write(model, inputs, 5, stop=set(), temperature=1.0, uniforms=uniforms)
    for row in range(3):
        (alone,) = write(model, inputs[row : row + 1], 5, stop=set(), temperature=1.0, uniforms=uniforms[row : row + 1])
        assert alone.tokens == together[row].tokens
    # Quantiles on a fine grid give each token as often as it is likely.
    many, grid = inputs[:1].repeat(2000, 1), (np.arange(2000)[:, None] + 0.5) / 2000
    drawn = [text.tokens[0] for text in write(model, many, 1, stop=set(), temperature=2.0, uniforms=grid)]
    with torch.no_grad():
        expected = (model(input_ids=inputs[:1]).logits[0, -1].double() / 2).softmax(-1).numpy()
    shares = np.bincount(drawn, minlength=len(expected)) / 2000
    assert np.abs(shares - expected).max() <= 1.5 / 2000


def test_a_stop_token_ends_its_text_alone_and_is_no_part_of_it():
    model, inputs = llama(), texts()
    free = [text.tokens for text in write(model, inputs, 6, stop=set())]
    ending = free[0][2]
    stopped = write(model, inputs, 6, stop={ending})
    for tokens, text in zip(free, stopped, strict=True):
        expected = tokens[: tokens.index(ending)] if ending in tokens else tokens
        assert text.tokens == expected
        assert len(text.log_probabilities) == len(expected)
    (nothing,) = write(model, inputs[:1], 6, stop={free[0][0]})
    assert (nothing.tokens, nothing.nll_nats) == ([], None)


def test_stop_tokens_are_those_of_tokenizer_and_model(tmp_path):
    model, tokenizer = load_checkpoint(save_checkpoint(llama(), tmp_path / "model"))
    model.generation_config.eos_token_id = [7, 9]
    assert stop_tokens(model, tokenizer) == {2, 7, 9}
    model.generation_config.eos_token_id = None
    assert stop_tokens(model, tokenizer) == {2}


def test_what_cannot_be_written_is_refused():
    model = llama()
    with pytest.raises(GenerationError, match="'llama': 12 tokens and 60 new ones do not fit into 64 positions"):
        write(model, texts(), 60, stop=set())
    with torch.no_grad():
        model.lm_head.weight[3] = math.nan
    with pytest.raises(GenerationError, match=r"'llama': its logits are not finite .* the weights of 'lm_head"):
        write(model, texts(), 4, stop=set())
    with pytest.raises(ValueError, match="needs uniforms"):
        write(llama(), texts(), 4, stop=set(), temperature=1.0)


def prompts() -> list[EncodedPrompt]:
    return [EncodedPrompt(f"p{number}", token_ids(6 + number, seed=number)[0].tolist()) for number in range(2)]


def test_text_under_noise_is_written_with_it_and_scored_without():
    one = subject()
    rows = list(generated_text(one, prompts(), [0.0, 1.0], 2, 5, set()))
    assert [(row.sigma, row.prompt, row.draw) for row in rows[:3]] == [(0, "p0", 0), (0, "p0", 1), (0, "p1", 0)]
    assert rows[0].nll_nats == rows[1].nll_nats
    noisy = next(row for row in rows if row.sigma == 1 and row.prompt == "p1" and row.draw == 1)
    ids = prompts()[1].token_ids
    dose = Dose(Site.ATTENTION_OUTPUT, Scale.ABSOLUTE, Region.ALL, 1.0)
    for _ in range(5):
        with torch.no_grad(), one.under(dose, (NoiseRow(1, "p1"),)):
            ids = [*ids, int(one.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())]
    with torch.no_grad():
        log_probabilities = one.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    expected = [float(log_probabilities[place - 1, ids[place]]) for place in range(7, 12)]
    assert noisy.nll_nats == pytest.approx(-sum(expected) / 5, rel=1e-4)
    assert noisy.tokens == 5


def test_no_token_and_logits_that_are_not_finite_are_rows_with_reasons():
    free = next(iter(generated_text(subject(), prompts(), [0.0], 1, 1, set())))
    assert free.tokens == 1
    with torch.no_grad():
        first = int(subject().model(input_ids=torch.tensor([prompts()[0].token_ids])).logits[0, -1].argmax())
    (row,) = generated_text(subject(), prompts()[:1], [0.0], 1, 4, {first})
    assert (row.tokens, row.nll_nats) == (0, None)
    assert row.reason == (
        "tiny under absolute σ 0 at attention_output, region all, draw 0: it wrote no token after 'p0'"
    )
    (row,) = generated_text(subject(), prompts()[:1], [1e38], 1, 4, set())
    assert row.nll_nats is None
    assert "σ 1e+38" in row.reason
    assert "not finite" in row.reason
