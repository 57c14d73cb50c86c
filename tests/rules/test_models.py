"""Rules build_corpus, train_tokenizer, train_model and align_model."""

import json
import math
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from headwise.study.study import Study
from rules.conftest import Measurement

Measure = Callable[[str, int], Measurement]


def read_documents(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.open(encoding="utf-8")]


def test_the_corpus_holds_every_text_once(folder: Path, documents: Path) -> None:
    texts = sorted(path.read_text().strip() for path in (folder / "text").iterdir())
    found = read_documents(documents)
    assert sorted(document["text"].strip() for document in found) == texts
    facts = json.loads((folder / "corpus.json").read_text())
    for split in ("train", "held_out"):
        chosen = [document for document in found if document["split"] == split]
        assert chosen
        assert facts["documents"][split] == len(chosen)
    assert facts["digest"] == sha256(documents.read_bytes()).hexdigest()


def test_the_tokenizer_loads_in_transformers_and_loses_nothing(tokenizer: Path, documents: Path, study: Study) -> None:
    loaded = AutoTokenizer.from_pretrained(tokenizer, local_files_only=True)
    assert len(loaded) == study.tokenizer.vocabulary
    text = read_documents(documents)[0]["text"] + " Äpfel, 苹果\n"
    assert loaded.decode(loaded(text)["input_ids"], skip_special_tokens=True) == text
    assert loaded("a")["input_ids"][0] == loaded.bos_token_id


def test_a_trained_model_has_the_declared_shape_and_learned(measure: Measure, study: Study) -> None:
    made = measure("grouped_query", 1)
    model = AutoModelForCausalLM.from_pretrained(made.checkpoint, local_files_only=True)
    width = study.decoder.head_width
    for layer in model.model.layers:
        assert layer.self_attn.q_proj.weight.shape == (4 * width, study.decoder.hidden)
        assert layer.self_attn.k_proj.weight.shape == (2 * width, study.decoder.hidden)
    assert len(model.model.layers) == study.decoder.layers
    curve = pd.read_parquet(made.curve)
    held_out = curve[curve["split"] == "held_out"].sort_values("step")["loss_nats"]
    # Untrained, a model is near the uniform distribution over the vocabulary.
    assert held_out.iloc[0] == pytest.approx(math.log(study.tokenizer.vocabulary), abs=0.5)
    assert held_out.iloc[-1] < held_out.iloc[0]


def test_refits_differ_and_bases_differ_in_one_factor(measure: Measure) -> None:
    first, second = (load_file(measure("multi_head", seed).checkpoint / "model.safetensors") for seed in (1, 2))
    other = load_file(measure("grouped_query", 1).checkpoint / "model.safetensors")
    assert first.keys() == second.keys() == other.keys()
    assert any((first[name] != second[name]).any() for name in first)
    reshaped = {name for name in first if first[name].shape != other[name].shape}
    assert reshaped == {name for name in first if "k_proj" in name or "v_proj" in name}


def test_alignment_changes_the_weights_and_records_its_effect(measure: Measure) -> None:
    base, aligned = measure("multi_head", 1), measure("multi_head-sft", 1)
    before = load_file(base.checkpoint / "model.safetensors")
    after = load_file(aligned.checkpoint / "model.safetensors")
    assert before.keys() == after.keys()
    assert any((before[name] != after[name]).any() for name in before)
    facts = json.loads((aligned.checkpoint / "facts.json").read_text())
    assert facts["model"]["base"] == "multi_head"
    assert set(pd.read_parquet(aligned.curve)["split"]) == {"train", "held_out"}
