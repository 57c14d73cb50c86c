"""Recursive generation: what is read and written, resumed after a kill without a difference, ended with a reason."""

import json
import shutil

import pandas as pd
import pytest
import torch
from models_examples import decoder, write_corpus, write_tokenizer
from tiny import write_prompts

import headwise.analyses.recursion.chain as recursion
from headwise.analyses.recursion.degradation import distinct, repeated_share, similarity
from headwise.analyses.recursion.settings import Arm, Recursion
from headwise.analyses.recursion.summarize_chains import onsets
from headwise.analyses.specialization.few_prompts import specialization_of
from headwise.models.generation import GenerationError, write
from headwise.models.load import load_checkpoint
from headwise.models.save import save_checkpoint
from headwise.models.tokenizer import load_tokenizer
from headwise.models.zoo import build_decoder
from headwise.runtime.parquet import read_metadata
from headwise.study.extraction import Extraction
from headwise.study.models import Loading
from headwise.study.prompts import EncodedPrompt

ARMS = {
    "continue": Arm(name="one", model="tiny", mode="continue"),
    "rewrite": Arm(name="two", model="tiny", mode="rewrite", instruction="Copy this text:"),
}
SETTINGS = Recursion(
    arms=[ARMS["continue"]], generations=4, prompts=3, new_tokens=10, context=6, degradation={"consecutive": 2}
)
GREEDY = SETTINGS.model_copy(update={"temperature": 0.0, "generations": 2, "prompts": 1})


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recursion")
    documents = write_corpus(folder)
    tokenizer = write_tokenizer(folder, documents)
    with torch.random.fork_rng():
        model = build_decoder(decoder(positions=256), load_tokenizer(tokenizer), seed=1)
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.data.mul_(4)  # else all tokens are about equally likely
    save_checkpoint(model, tokenizer, documents, folder / "model", {}, {})
    write_prompts(folder / "prompts.jsonl")
    return folder


def run(place, folder, arm="continue", settings=SETTINGS, seed=1, extraction=None):
    recursion.recurse(
        place / "model", place / "prompts.jsonl", ARMS[arm], settings, extraction or Extraction(device="cpu"),
        Loading(), ["hellinger"], seed, folder / "state", folder / "generations.parquet",
        folder / "specialization.parquet", {"arm": arm},
    )  # fmt: skip
    return pd.read_parquet(folder / "generations.parquet"), pd.read_parquet(folder / "specialization.parquet")


def test_rows_describe_what_was_written(place, tmp_path):
    rows, specialization = run(place, tmp_path)
    assert len(rows) == 4 * 3
    assert rows["reason"].isna().all()
    for prompt, chain in rows.groupby("prompt"):
        assert chain["generation"].tolist() == [1, 2, 3, 4]
        assert (chain["tokens"] == 10).all(), prompt
    assert rows["nll_nats"].between(0, 30).all()
    assert specialization["generation"].tolist() == [0, 1, 2, 3, 4]
    assert (specialization["chains"] == 3).all()
    assert specialization["value"].between(0, 1).all()
    assert not (tmp_path / "state").exists()
    assert run(place, tmp_path, seed=2)[0]["text"].tolist() != rows["text"].tolist()


@pytest.mark.parametrize("arm", ["continue", "rewrite"])
def test_each_generation_is_written_after_the_last_tokens_of_the_one_before(place, tmp_path, arm):
    """Against generation by hand, greedily, from the prompt on."""
    rows, _ = run(place, tmp_path, arm, GREEDY)
    model, tokenizer = load_checkpoint(place / "model")
    first = pd.read_json(place / "prompts.jsonl", lines=True).sort_values("id").iloc[0]
    previous = tokenizer(first["text"])["input_ids"]
    for row in rows.to_dict("records"):
        tail = previous[-6:]
        if arm == "continue":
            ids = [tokenizer.bos_token_id, *tail]
        else:
            opening = tokenizer("<|bos|><|user|>Copy this text:\n", add_special_tokens=False)["input_ids"]
            closing = tokenizer("<|assistant|>", add_special_tokens=False)["input_ids"]
            ids = [*opening, *(token for token in tail if token not in tokenizer.all_special_ids), *closing]
        (expected,) = write(model, torch.tensor([ids]), 10, stop={tokenizer.eos_token_id})
        assert row["text"] == tokenizer.decode(expected.tokens)
        assert row["nll_nats"] == pytest.approx(expected.nll_nats)
        assert row["distinct_2"] == distinct(expected.tokens, 2)
        assert row["repeated_share"] == repeated_share(expected.tokens)
        assert row["similarity"] == similarity(expected.tokens, previous)
        previous = expected.tokens


def test_a_tokenizer_that_adds_no_first_token_gets_none(place, tmp_path):
    """The texts are read, continued and measured as extraction reads a prompt."""
    shutil.copytree(place, tmp_path / "bare")
    file = tmp_path / "bare" / "model" / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**content, "post_processor": None}), encoding="utf-8")
    rows, specialization = run(tmp_path / "bare", tmp_path, settings=GREEDY)
    model, tokenizer = load_checkpoint(tmp_path / "bare" / "model")
    first = pd.read_json(place / "prompts.jsonl", lines=True).sort_values("id").iloc[0]
    previous = tokenizer(first["text"])["input_ids"]
    assert tokenizer.bos_token_id not in previous
    read = [previous]
    for row in rows.to_dict("records"):
        (expected,) = write(model, torch.tensor([previous[-6:]]), 10, stop={tokenizer.eos_token_id})
        assert row["text"] == tokenizer.decode(expected.tokens)
        previous = expected.tokens
        read.append(previous)
    for text, value in zip(read, specialization["value"], strict=True):
        expected = specialization_of(model, [EncodedPrompt("p", text)], ["hellinger"])["hellinger"][0]
        assert value == pytest.approx(expected, rel=1e-6)  # the chain computes on one thread
    with_bos = tmp_path / "with_bos"
    settings = Extraction(device="cpu", first_token="bos")
    assert run(tmp_path / "bare", with_bos, settings=GREEDY, extraction=settings)[0]["text"].tolist() == (
        run(place, tmp_path / "own", settings=GREEDY)[0]["text"].tolist()
    )


@pytest.mark.parametrize(("arm", "date"), [("continue", None), ("rewrite", "2024-05-17")])
def test_what_a_template_was_told_is_recorded(place, tmp_path, arm, date):
    run(place, tmp_path, arm, GREEDY, extraction=Extraction(device="cpu", date="2024-05-17"))
    for name in ("generations.parquet", "specialization.parquet"):
        metadata = read_metadata(tmp_path / name)
        assert (metadata["template"], metadata["first_token"], metadata["date"]) == ("raw", "tokenizer", date)


def test_batches_and_other_chains_change_nothing(place, tmp_path):
    together, _ = run(place, tmp_path / "together")
    single, _ = run(place, tmp_path / "single", settings=SETTINGS.model_copy(update={"batch": 1}))
    assert single["text"].tolist() == together["text"].tolist()


def test_a_killed_run_goes_on_where_it_was_and_ends_in_the_same_bytes(place, tmp_path, monkeypatch):
    run(place, tmp_path / "whole")
    write_next, written = recursion.Writer.next_generation, []

    def killed_in_the_third(self, texts, number):
        if number == 3 and 3 not in written:
            written.append(3)
            raise KeyboardInterrupt
        written.append(number)
        return write_next(self, texts, number)

    monkeypatch.setattr(recursion.Writer, "next_generation", killed_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        run(place, tmp_path / "killed")
    assert not (tmp_path / "killed" / "generations.parquet").exists()
    assert (tmp_path / "killed" / "state" / "state.json").exists()
    run(place, tmp_path / "killed")
    assert written == [1, 2, 3, 3, 4]
    for name in ("generations.parquet", "specialization.parquet"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "killed" / "state").exists()


def test_the_state_of_another_run_is_not_continued(place, tmp_path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    original = recursion.write_rows
    monkeypatch.setattr(recursion, "write_rows", fail)
    with pytest.raises(KeyboardInterrupt):
        run(place, tmp_path)
    monkeypatch.setattr(recursion, "write_rows", original)
    other, _ = run(place, tmp_path, seed=2)
    assert other["text"].tolist() == run(place, tmp_path / "fresh", seed=2)[0]["text"].tolist()


@pytest.mark.parametrize(("tokens", "what"), [([], "wrote no token"), ([7], "is a single token")])
def test_a_chain_below_two_tokens_ends_undecided_with_a_reason_and_the_others_go_on(
    place, tmp_path, monkeypatch, tokens, what
):
    """As a model does that writes the token that ends a text; a text that it ends later is judged as it is."""
    write_next = recursion.Writer.next_generation

    def silent(self, texts, number):
        written = write_next(self, texts, number)
        if number == 2:
            first, second, _ = sorted(written)
            written[first] = recursion.Written(tokens, [-1.0] * len(tokens))
            written[second] = recursion.Written([5, 6], [-1.0, -1.0])
        return written

    monkeypatch.setattr(recursion.Writer, "next_generation", silent)
    rows, specialization = run(place, tmp_path)
    ended, short, _ = (chain for _, chain in rows.groupby("prompt"))
    assert ended["generation"].tolist() == [1, 2]
    assert ended["degraded"].isna().tolist() == [False, True]
    assert ended["nll_nats"].isna().tolist() == [False, not tokens]
    assert what in ended["reason"].iloc[1]
    assert "the chain ends" in ended["reason"].iloc[1]
    assert short["generation"].tolist() == [1, 2, 3, 4]
    assert short["degraded"].tolist()[1] is False
    assert specialization["chains"].tolist() == [3, 3, 2, 2, 2]
    times = onsets(rows.assign(arm="one", seed=1), SETTINGS).set_index("prompt")
    assert times["ended"].tolist() == [True, False, False]
    assert (times["generation"].iloc[0], times["happened"].iloc[0]) == (0, False)


def test_all_chains_ended_leaves_generations_without_a_value(place, tmp_path, monkeypatch):
    monkeypatch.setattr(
        recursion.Writer, "next_generation", lambda self, texts, number: {p: recursion.Written([], []) for p in texts}
    )
    rows, specialization = run(place, tmp_path)
    assert rows["generation"].tolist() == [1, 1, 1]
    assert specialization["value"].isna().tolist() == [False, True, True, True, True]
    assert set(specialization["reason"].dropna()) == {"no chain wrote two tokens"}


def test_what_cannot_be_written_names_arm_seed_and_generation(place, tmp_path):
    with pytest.raises(GenerationError, match=r"arm 'one', seed 1, generation 1: .*do not fit into 256 positions"):
        run(place, tmp_path, settings=SETTINGS.model_copy(update={"new_tokens": 260}))
    path = place / "model" / "chat_template.jinja"
    template = path.read_text()
    path.unlink()
    try:
        with pytest.raises(ValueError, match="no chat template"):
            run(place, tmp_path, "rewrite")
    finally:
        path.write_text(template)
