"""Alignment: pairs by their definition, losses by closed forms, and what a short run must achieve."""

import json
import math

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from models_examples import decoder, training, write_corpus, write_tokenizer

from headwise.models.align import align_model, coin_seed, dpo_loss, objective, pair_facts, reward_facts
from headwise.models.checkpoint import weights_digest
from headwise.models.corpus import CorpusError, Document, read_documents
from headwise.models.load import load_checkpoint
from headwise.models.pairs import (
    pair_log_probabilities,
    preference_pairs,
    response_log_probabilities,
    swapped_by_coin,
)
from headwise.models.train import train_model
from headwise.runtime.parquet import read_metadata
from headwise.study.training import Dpo, Sft

METADATA = {"study": "tiny", "model": "aligned", "seed": 1}
SETTINGS = {"sft": Sft(steps=10, batch=8, learning_rate=2e-3), "dpo": Dpo(steps=20, batch=8, learning_rate=1e-3)}


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"), documents=80)


@pytest.fixture(scope="module")
def base(tmp_path_factory, documents):
    """A base that has learned the commonest words."""
    folder = tmp_path_factory.mktemp("base")
    tokenizer_folder = write_tokenizer(folder, documents)
    settings = training(steps=40, tokens=48, evaluate_every=40)
    files = {"checkpoint": folder / "model", "curve": folder / "curve.parquet"}
    train_model(documents, tokenizer_folder, decoder(), settings, seed=1, **files, metadata=METADATA)
    return folder / "model"


@pytest.fixture(scope="module")
def align(documents, base):
    """Align the base with a method into a folder."""

    def run(method, folder, seed=1, settings=None, placebo=False):
        files = {"checkpoint": folder / "model", "curve": folder / "curve.parquet"}
        chosen = settings or SETTINGS[method]
        align_model(base, documents, method, chosen, seed=seed, **files, metadata=METADATA, placebo=placebo)
        return folder

    return run


@pytest.fixture(scope="module", params=["sft", "dpo"])
def aligned(request, align, tmp_path_factory):
    return request.param, align(request.param, tmp_path_factory.mktemp(request.param))


def facts_of(folder):
    return json.loads((folder / "model" / "facts.json").read_text())


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# -- pairs


def test_a_pair_is_an_opening_its_continuation_and_a_loop(documents, base):
    _, tokenizer = load_checkpoint(base)
    held_out = read_documents(documents, "held_out")
    pairs = preference_pairs(held_out, tokenizer, 20, generator())
    assert len(pairs) == 20
    for prompt, chosen, rejected in zip(pairs.prompts, pairs.chosen.tolist(), pairs.rejected.tolist(), strict=True):
        opening = tokenizer.decode(prompt[2:-1])
        message = [{"role": "user", "content": opening}]
        framed = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        assert tokenizer.decode(prompt) == framed
        assert any(opening + tokenizer.decode(chosen) in document.text for document in held_out)
        assert (len(chosen), len(prompt)) == (32, 16 + 3)
        assert rejected == chosen[:8] * 4


def test_pairs_come_from_the_documents_given(documents, base):
    _, tokenizer = load_checkpoint(base)
    train, held_out = (
        preference_pairs(read_documents(documents, split), tokenizer, 10_000, generator())
        for split in ("train", "held_out")
    )
    seen = {tuple(row) for row in torch.cat([train.prompts, train.chosen], dim=1).tolist()}
    assert seen.isdisjoint(map(tuple, torch.cat([held_out.prompts, held_out.chosen], dim=1).tolist()))


def test_the_generator_alone_orders_the_pairs(documents, base):
    _, tokenizer = load_checkpoint(base)
    train = read_documents(documents, "train")
    one, again, other = (preference_pairs(train, tokenizer, 30, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one.prompts, again.prompts)
    assert not torch.equal(one.prompts, other.prompts)


def test_documents_without_a_passage_are_an_error(base):
    _, tokenizer = load_checkpoint(base)
    with pytest.raises(CorpusError, match="none of 1 documents has a passage of 48 tokens: add longer documents"):
        preference_pairs([Document("a", "a", "Too short.\n", "train")], tokenizer, 5, generator())


def test_a_tokenizer_without_chat_template_is_an_error(base, documents):
    _, tokenizer = load_checkpoint(base)
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match="has no chat template: add one"):
        preference_pairs(read_documents(documents, "train"), tokenizer, 5, generator())


# -- losses


def test_log_probabilities_count_the_response_and_nothing_else(documents, base):
    model, tokenizer = load_checkpoint(base)
    pairs = preference_pairs(read_documents(documents, "held_out"), tokenizer, 3, generator())
    for column, responses in enumerate((pairs.chosen, pairs.rejected)):
        for row in range(3):
            tokens = pairs.prompts[row].tolist()
            expected = 0.0
            for token in responses[row].tolist():
                distribution = model(torch.tensor([tokens])).logits[0, -1].softmax(-1)
                expected += math.log(distribution[token].item())
                tokens.append(token)
            value = response_log_probabilities(model, pairs.prompts[row : row + 1], responses[row : row + 1])
            assert value.item() == pytest.approx(expected, abs=1e-3)
            assert pair_log_probabilities(model, pairs)[row, column].item() == pytest.approx(expected, abs=1e-3)


def test_dpo_loss_is_the_equation():
    """−ln σ(β ln(π(w)/ref(w)) − β ln(π(l)/ref(l))), Rafailov et al. 2023, eq. 7, by hand for two pairs."""
    log_probabilities = torch.tensor([[-10.0, -12.0], [-8.0, -7.0]], dtype=torch.float64)
    reference = torch.tensor([[-11.0, -11.0], [-8.0, -9.0]], dtype=torch.float64)
    margins = [0.1 * ((-10 + 11) - (-12 + 11)), 0.1 * ((-8 + 8) - (-7 + 9))]
    expected = sum(math.log(1 + math.exp(-margin)) for margin in margins) / 2
    assert dpo_loss(log_probabilities, reference, 0.1).item() == pytest.approx(expected, abs=1e-12)
    rewards = reward_facts(log_probabilities, reference, 0.1)
    assert rewards == {"reward_accuracy": 0.5, "reward_margin_nats": pytest.approx(0.0, abs=1e-12)}


log_probability = st.floats(-500, 0)


@given(rows=st.lists(st.tuples(log_probability, log_probability), min_size=1, max_size=8), beta=st.floats(0.01, 2))
def test_dpo_loss_at_the_reference_is_one_bit(rows, beta):
    values = torch.tensor(rows, dtype=torch.float64)
    assert dpo_loss(values, values, beta).item() == pytest.approx(math.log(2), abs=1e-12)


def test_dpo_gradient_weighs_chosen_against_rejected():
    """d loss / d ln p = ∓β σ(−margin) / pairs (the gradient below eq. 7)."""
    reference = torch.tensor([[-11.0, -11.0], [-8.0, -9.0]], dtype=torch.float64)
    values = torch.tensor([[-10.0, -12.0], [-8.0, -7.0]], dtype=torch.float64, requires_grad=True)
    dpo_loss(values, reference, 0.5).backward()
    weight = [0.5 / (1 + math.exp(0.5 * margin)) / 2 for margin in (2.0, -2.0)]
    assert values.grad.tolist() == [pytest.approx([-weight[0], weight[0]]), pytest.approx([-weight[1], weight[1]])]


def test_sft_loss_is_the_cross_entropy_per_response_token():
    values = torch.tensor([[-64.0, -1.0], [-32.0, -2.0]])
    assert objective(values, torch.zeros(2, 2), Sft()).item() == pytest.approx((64 + 32) / 2 / 32)
    assert pair_facts(values) == {"response_loss_nats": 1.5, "preference_accuracy": 0.0}


# -- whole runs


def test_two_runs_give_the_same_bytes_and_another_seed_gives_others(aligned, align, tmp_path):
    method, folder = aligned
    again, other = align(method, tmp_path / "2"), align(method, tmp_path / "3", seed=2)
    for name in ("model/model.safetensors", "model/facts.json", "curve.parquet"):
        assert (folder / name).read_bytes() == (again / name).read_bytes()
    assert weights_digest(folder / "model") != weights_digest(other / "model")


def test_each_method_achieves_what_it_minimises(aligned):
    method, folder = aligned
    before, after = (facts_of(folder)["alignment"][when] for when in ("before", "after"))
    if method == "sft":
        assert after["response_loss_nats"] < before["response_loss_nats"]
    else:
        assert after["preference_accuracy"] > before["preference_accuracy"] + 0.02
        assert after["reward_accuracy"] > 0.6
        assert after["reward_margin_nats"] > 0


def test_facts_measure_the_checkpoints_themselves(aligned, base, documents):
    method, folder = aligned
    alignment = facts_of(folder)["alignment"]
    assert alignment["method"] == method
    assert alignment["base_weights_digest"] == weights_digest(base)
    assert alignment["steps"] == SETTINGS[method].steps
    for when, checkpoint in (("before", base), ("after", folder / "model")):
        model, tokenizer = load_checkpoint(checkpoint)
        pairs = preference_pairs(read_documents(documents, "held_out"), tokenizer, 256, generator())
        assert alignment["held_out_pairs"] == len(pairs)
        with torch.no_grad():
            measured = pair_facts(pair_log_probabilities(model, pairs))
        assert alignment[when]["preference_accuracy"] == pytest.approx(measured["preference_accuracy"], abs=0.02)
        assert alignment[when]["response_loss_nats"] == pytest.approx(measured["response_loss_nats"], abs=1e-4)


def test_the_base_is_left_as_it_was(align, base, tmp_path):
    before = weights_digest(base)
    align("dpo", tmp_path)
    assert weights_digest(base) == before != weights_digest(tmp_path / "model")


def test_the_curve_starts_at_the_base(aligned):
    method, folder = aligned
    curve = pd.read_parquet(folder / "curve.parquet")
    columns = ["step", "split", "loss_nats", "learning_rate"]
    assert list(curve) == (columns if method == "sft" else [*columns, "accuracy"])
    steps = SETTINGS[method].steps
    assert curve.step[curve.split == "train"].tolist() == list(range(steps))
    assert curve.step[curve.split == "held_out"].tolist() == [0, steps]
    alignment = facts_of(folder)["alignment"]
    if method == "dpo":  # the model is its own reference until the first update
        assert curve.loss_nats[:2].tolist() == pytest.approx([math.log(2)] * 2, abs=1e-5)
        assert curve.accuracy.iloc[-1] == alignment["after"]["preference_accuracy"]
    else:
        assert curve.loss_nats.iloc[-1] == pytest.approx(alignment["after"]["response_loss_nats"], abs=1e-5)
    assert METADATA.items() <= read_metadata(folder / "curve.parquet").items()


def test_settings_of_the_other_method_are_an_error(align, tmp_path):
    with pytest.raises(ValueError, match=r"method 'dpo' got the settings of another: pass alignment.dpo"):
        align("dpo", tmp_path, settings=Sft())


def test_coins_differ_from_each_other_and_between_refits():
    """By their draws: torch's generator keeps 32 bits of a seed, so that seeds alone may differ in vain."""
    draws = [
        tuple((torch.rand(64, generator=torch.Generator().manual_seed(coin_seed(seed, coin))) < 0.5).tolist())
        for seed in range(1, 9)
        for coin in range(1, 11)
    ]
    assert len(set(draws)) == 80


def test_the_coin_swaps_half_of_the_pairs_and_nothing_else(documents, base):
    _, tokenizer = load_checkpoint(base, head=True)
    pairs = preference_pairs(read_documents(documents, "train"), tokenizer, 200, torch.Generator().manual_seed(1))
    swapped = swapped_by_coin(pairs, torch.Generator().manual_seed(2))
    kept = (swapped.chosen == pairs.chosen).all(1)
    assert torch.equal(swapped.prompts, pairs.prompts)
    assert torch.equal(swapped.rejected[kept], pairs.rejected[kept])
    assert torch.equal(swapped.chosen[~kept], pairs.rejected[~kept])
    assert torch.equal(swapped.rejected[~kept], pairs.chosen[~kept])
    # A fair coin lies outside of this band once in a million times.
    n = len(pairs)
    assert abs(int(kept.sum()) - n / 2) < 2.5 * math.sqrt(n)


def test_plain_text_is_the_same_passages_without_the_template(documents, base):
    _, tokenizer = load_checkpoint(base, head=True)
    train = read_documents(documents, "train")
    framed, plain = (
        preference_pairs(train, tokenizer, 20, torch.Generator().manual_seed(1), template=template)
        for template in (True, False)
    )
    assert torch.equal(framed.chosen, plain.chosen)
    assert plain.prompts.shape[1] == 1 + 16
    assert set(plain.prompts[:, 0].tolist()) == {tokenizer.bos_token_id}
    framed_text = [tokenizer.decode(prompt) for prompt in framed.prompts]
    assert all(tokenizer.decode(prompt[1:]) in text for prompt, text in zip(plain.prompts, framed_text, strict=True))


def test_a_placebo_takes_the_same_steps_and_teaches_less(align, aligned, tmp_path):
    method, folder = aligned
    placebo = align(method, tmp_path, placebo=True)
    ours, theirs = (facts_of(each)["alignment"] for each in (folder, placebo))
    assert theirs["placebo"]
    assert not ours["placebo"]
    for name in ("steps", "batch", "learning_rate", "train_pairs", "held_out_pairs", "before"):
        assert ours[name] == theirs[name]
    taught = "preference_accuracy" if method == "dpo" else "response_loss_nats"
    gain = {each["placebo"]: abs(each["after"][taught] - each["before"][taught]) for each in (ours, theirs)}
    assert gain[True] < gain[False]
