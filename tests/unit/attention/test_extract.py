"""Extraction of a whole checkpoint against the model library's own attention."""

import datetime
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas
import pyarrow.parquet
import pytest
import torch
from attention_examples import random_words, save_checkpoint, tiny_model, word_tokenizer
from transformers import AutoModelForCausalLM, BertConfig, BertLMHeadModel

from headwise.attention.descriptors import DESCRIPTORS
from headwise.attention.extract import ExtractionError, extract_attention
from headwise.attention.layer_statistics import head_statistics
from headwise.attention.pair_statistics import PAIR_STATISTICS
from headwise.attention.sinks import SINKS
from headwise.attention.store import read_layer
from headwise.models.checkpoint import weights_digest
from headwise.models.load import load_checkpoint
from headwise.runtime.parquet import read_metadata
from headwise.runtime.provenance import json_digest
from headwise.study.extraction import DATE, Extraction
from headwise.study.prompts import PromptError

# Not in the order of their ids; one of a single token.
LENGTHS = {"c": 6, "a": 12, "b": 1}
METADATA = {"study": "tiny", "model": "base", "seed": 3, "prompts_digest": "0" * 64}


@pytest.fixture(scope="module", params=["llama", "falcon"])  # the two ways of capture
def checkpoint(request, tmp_path_factory) -> Path:
    model = tiny_model(request.param, **{"num_key_value_heads": 2} if request.param == "llama" else {})
    return save_checkpoint(model, tmp_path_factory.mktemp("checkpoint") / "model")


def checkpoint_type(checkpoint: Path) -> str:
    return json.loads((checkpoint / "config.json").read_text())["model_type"]


def prompt_file(folder: Path, lengths: dict[str, int]) -> Path:
    path = folder / "prompts.jsonl"
    lines = [
        json.dumps({"id": name, "domain": "words", "text": random_words(length, seed=index)})
        for index, (name, length) in enumerate(lengths.items())
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def token_ids_of(name: str) -> list[int]:
    """The prompt as the tokenizer of words reads it."""
    text = random_words(LENGTHS[name], seed=list(LENGTHS).index(name))
    return [int(word.removeprefix("w")) for word in text.split()]


def extract(checkpoint: Path, prompts: Path, out: Path, **settings: object) -> dict[str, Path]:
    names = ("tensors", "heads", "pairs", "descriptors")
    paths = {name: out / f"{name}.parquet" for name in names}
    options = Extraction(device="cpu", **settings)
    extract_attention(
        checkpoint,
        prompts,
        **{**paths, "tensors": paths["tensors"] if options.store == "tensors" else None},
        settings=options,
        pair_statistics=list(PAIR_STATISTICS),
        seed=3,
        metadata=METADATA,
    )
    return paths


@pytest.fixture(scope="module")
def extracted(checkpoint, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("extracted")
    return extract(checkpoint, prompt_file(folder, LENGTHS), folder)


@pytest.fixture(scope="module")
def reference(checkpoint) -> dict[str, list[torch.Tensor]]:
    """Attention of each prompt as the model library returns it: one (heads, T, T) per layer."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint, attn_implementation="eager").eval()
    attention = {}
    for name in LENGTHS:
        with torch.no_grad():
            output = model(input_ids=torch.tensor([token_ids_of(name)]), output_attentions=True)
        attention[name] = [layer[0] for layer in output.attentions]
    return attention


def test_tensors_are_the_models_attention_rounded(extracted, reference):
    for prompt, layers in reference.items():
        for layer, weights in enumerate(layers):
            stored = read_layer(extracted["tensors"], prompt, layer)
            # Within a unit of float16: tiles round scores in another order.
            np.testing.assert_allclose(stored, weights.numpy(), rtol=2**-10, atol=2**-24)


def test_head_statistics_come_from_unrounded_attention(extracted, reference):
    table = pandas.read_parquet(extracted["heads"])
    assert list(table[["prompt", "layer", "head", "sink"]].itertuples(index=False, name=None)) == [
        (prompt, layer, head, sink) for prompt in "abc" for layer in range(3) for head in range(4) for sink in SINKS
    ]
    for row in table.itertuples():
        expected = head_statistics(reference[row.prompt][row.layer], row.sink)
        np.testing.assert_allclose(row.received, expected.received[row.head], rtol=1e-5)
        np.testing.assert_allclose(row.row_entropy_nats, expected.row_entropy_nats[row.head], rtol=1e-5, atol=2e-6)


def test_pair_statistics_of_every_prompt_and_layer(extracted, reference):
    rows = pyarrow.parquet.read_table(extracted["pairs"]).to_pylist()
    assert [(row["prompt"], row["layer"], row["sink"]) for row in rows] == [
        (prompt, layer, sink) for prompt in "abc" for layer in range(3) for sink in SINKS
    ]
    for row in rows:
        assert len(row["hellinger"]) == len(row["pattern_correlation_full"]) == 6
        if row["prompt"] == "b" or row["sink"] == "dropped":
            continue
        weights = reference[row["prompt"]][row["layer"]].double()
        overlap = (weights[0, 1:] * weights[1, 1:]).sqrt().sum(-1).mean()
        assert row["hellinger"][0] == pytest.approx(1 - overlap.item(), abs=1e-6)
        assert all(np.isfinite(row["output_cka"]))


def test_descriptors_are_means_over_prompts(extracted, reference):
    table = pandas.read_parquet(extracted["descriptors"])
    assert list(table.columns) == ["layer", "head", *DESCRIPTORS, "induction", "rows_left_out", "left_out_share"]
    heads = pandas.read_parquet(extracted["heads"])
    counted = heads[heads["sink"] == "dropped"].groupby(["layer", "head"])[["rows_left_out", "tokens"]].sum()
    prompts = heads["prompt"].nunique()
    assert table["rows_left_out"].tolist() == (counted["rows_left_out"] - prompts).tolist()
    assert (
        table["left_out_share"].tolist() == (table["rows_left_out"] / (counted["tokens"].to_numpy() - prompts)).tolist()
    )
    assert list(zip(table["layer"], table["head"], strict=True)) == [
        (layer, head) for layer in range(3) for head in range(4)
    ]
    previous = np.concatenate(
        [
            np.mean([reference[prompt][layer].diagonal(-1, 1, 2).mean(-1) for prompt in "ac"], axis=0)
            for layer in range(3)
        ]
    )
    np.testing.assert_allclose(table["previous_token"], previous, rtol=1e-6)
    assert table["induction"].between(0, 1).all()


def test_every_output_says_where_it_comes_from(checkpoint, extracted):
    for name, path in extracted.items():
        metadata = read_metadata(path)
        facts = {
            **METADATA,
            "weights_digest": weights_digest(checkpoint),
            "model_type": checkpoint_type(checkpoint),
            "layers": 3,
            "heads": 4,
            "support": "causal",
            "capture": "tiled" if checkpoint_type(checkpoint) == "llama" else "exact",
            "dtype": "float32",
            "device": "cpu",
            "template": "raw",
            "first_token": "tokenizer",
            "date": None,
            "longest_prompt_tokens": max(len(token_ids_of(name)) for name in LENGTHS),
            "tokens_digest": json_digest({name: token_ids_of(name) for name in LENGTHS}),
        }
        assert facts.items() <= metadata.items(), name
        assert str(checkpoint) not in json.dumps(metadata)


def test_a_second_run_gives_the_same_bytes(checkpoint, extracted, tmp_path):
    again = extract(checkpoint, prompt_file(tmp_path, LENGTHS), tmp_path)
    for name, path in extracted.items():
        assert again[name].read_bytes() == path.read_bytes(), name


def test_the_same_prompts_on_two_days_give_the_same_bytes(tmp_path, monkeypatch):
    """A template that asks for today gets the study's date, which is recorded."""
    tokenizer = word_tokenizer()
    tokenizer.chat_template = "w{{ strftime_now('%d') }} w{{ strftime_now('%m') | int }} {{ messages[0].content }}"
    save_checkpoint(tiny_model("llama"), tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    found = []
    for day, date in ((11, DATE), (26, DATE), (26, "2024-05-17")):
        clock = type("Clock", (datetime.datetime,), {"now": classmethod(lambda cls, day=day: cls(2026, 11, day))})
        monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", clock)
        monkeypatch.setattr("headwise.models.templates.datetime", SimpleNamespace(datetime=clock))
        out = tmp_path / f"{day}-{date}"
        paths = extract(tmp_path / "model", prompt_file(tmp_path, {"a": 5}), out, template="chat", date=date)
        found.append({name: path.read_bytes() for name, path in paths.items()})
        assert read_metadata(paths["heads"])["date"] == date
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_torch_computes_on_one_thread_meanwhile(checkpoint, tmp_path, monkeypatch):
    def note_threads(*arguments: object) -> tuple:
        threads.append(torch.get_num_threads())
        return load_checkpoint(*arguments)

    threads: list[int] = []
    monkeypatch.setattr("headwise.attention.extract.load_checkpoint", note_threads)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        extract(checkpoint, prompt_file(tmp_path, LENGTHS), tmp_path)
        assert (threads, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


def test_statistics_alone_are_the_same_without_a_tensor_file(checkpoint, extracted, tmp_path):
    alone = extract(checkpoint, prompt_file(tmp_path, LENGTHS), tmp_path, store="statistics")
    assert not alone["tensors"].exists()
    for name in ("heads", "pairs", "descriptors"):
        assert alone[name].read_bytes() == extracted[name].read_bytes()


def test_the_order_of_prompts_in_their_file_does_not_matter(checkpoint, extracted, tmp_path):
    path = prompt_file(tmp_path, LENGTHS)
    path.write_text("".join(sorted(path.read_text().splitlines(keepends=True))))
    again = extract(checkpoint, path, tmp_path)
    assert again["heads"].read_bytes() == extracted["heads"].read_bytes()


def with_a_broken_token(checkpoint: Path, folder: Path) -> Path:
    """A copy of the checkpoint that has no numbers for token 50."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    with torch.no_grad():
        model.get_input_embeddings().weight[50] = torch.nan
    return save_checkpoint(model, folder)


def test_a_failure_half_way_leaves_nothing_and_names_model_prompt_and_layer(checkpoint, tmp_path):
    broken = with_a_broken_token(checkpoint, tmp_path / "broken")
    prompts = tmp_path / "prompts.jsonl"
    texts = {"fine": "w10 w11 w12", "overflowing": "w10 w50 w11"}
    prompts.write_text(
        "".join(json.dumps({"id": k, "domain": "words", "text": text}) + "\n" for k, text in texts.items())
    )
    out = tmp_path / "out"
    with pytest.raises(ExtractionError, match=r"broken, prompt 'overflowing', layer 0: attention .*embed\S+' are not"):
        extract(broken, prompts, out)
    assert list(out.iterdir()) == []


def test_outputs_appear_together_or_not_at_all(checkpoint, tmp_path, monkeypatch):
    """The attention of the only prompt is written last of all, when the statistics are complete."""

    write_table = pyarrow.parquet.ParquetWriter.write_table

    def fail_on_tensors(writer: pyarrow.parquet.ParquetWriter, table: pyarrow.Table, **options: Any) -> None:
        if "weights" in table.column_names:
            raise OSError("no space left on device")
        write_table(writer, table, **options)

    monkeypatch.setattr(pyarrow.parquet.ParquetWriter, "write_table", fail_on_tensors)
    prompts = prompt_file(tmp_path, {"a": 5})
    with pytest.raises(OSError, match="no space left"):
        extract(checkpoint, prompts, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_prompt_longer_than_the_models_positions_is_refused(checkpoint, tmp_path):
    prompts = prompt_file(tmp_path, {"long": 65})
    with pytest.raises(PromptError, match=r"prompt 'long' has 65 tokens for .*, more than the model's 64 positions"):
        extract(checkpoint, prompts, tmp_path / "out")
    with pytest.raises(PromptError, match="'long'"):
        extract(checkpoint, prompts, tmp_path / "out", max_tokens=60)
    assert not (tmp_path / "out").exists()


def test_duplicated_key_value_heads_give_the_same_attention(checkpoint, extracted, tmp_path):
    """A grouped-query model and the multi-head model that computes the same function."""
    grouped = AutoModelForCausalLM.from_pretrained(checkpoint)
    config = grouped.config.to_dict() | {"num_key_value_heads": 4}
    multi = AutoModelForCausalLM.from_config(type(grouped.config)(**config))
    weights = grouped.state_dict()
    for name in weights:
        if "k_proj" in name or "v_proj" in name:
            heads = weights[name].view(2, -1, weights[name].shape[1])
            weights[name] = heads.repeat_interleave(2, dim=0).flatten(0, 1)
    multi.load_state_dict(weights)
    folder = save_checkpoint(multi, tmp_path / "model")
    again = extract(folder, prompt_file(tmp_path, LENGTHS), tmp_path)
    for prompt in LENGTHS:
        for layer in range(3):
            np.testing.assert_allclose(
                read_layer(again["tensors"], prompt, layer),
                read_layer(extracted["tensors"], prompt, layer),
                atol=1e-3,
            )


def test_an_encoder_is_measured_over_the_full_matrix(tmp_path):
    config = BertConfig(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
    )
    folder = save_checkpoint(BertLMHeadModel(config), tmp_path / "bert")
    paths = extract(folder, prompt_file(tmp_path, {"a": 7}), tmp_path)
    assert read_metadata(paths["tensors"])["support"] == "full"
    weights = read_layer(paths["tensors"], "a", 1)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=2e-3)
    assert (weights[:, 0, 1:] > 0).all()
    row = pyarrow.parquet.read_table(paths["pairs"]).to_pylist()[0]
    assert row["pattern_correlation"] == row["pattern_correlation_full"]
