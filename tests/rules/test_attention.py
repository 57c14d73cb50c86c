"""Rule extract_attention."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from headwise.attention.jobs import extraction_arguments
from headwise.runtime.parquet import read_metadata
from headwise.study.study import Study
from rules.conftest import Measurement

Measure = Callable[[str, int], Measurement]


def test_stored_attention_is_that_of_the_model_library(measure: Measure, prompts: tuple[Path, Path]) -> None:
    made = measure("grouped_query", 1)
    model = AutoModelForCausalLM.from_pretrained(made.checkpoint, attn_implementation="eager", local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(made.checkpoint, local_files_only=True)
    stored = pd.read_parquet(made.tensors).set_index(["prompt", "layer", "head"])
    for line in prompts[0].open():
        prompt = json.loads(line)
        tokens = torch.tensor([tokenizer(prompt["text"])["input_ids"]])
        with torch.no_grad():
            attentions = model(tokens, output_attentions=True).attentions
        rows, columns = np.tril_indices(tokens.shape[1])
        for layer, weights in enumerate(attentions):
            for head in range(4):
                row = stored.loc[(prompt["id"], layer, head)]
                expected = weights[0, head].numpy()[rows, columns]
                assert row["tokens"] == tokens.shape[1]
                # Within a unit of float16: tiles round scores in another order.
                np.testing.assert_allclose(row["weights"], expected, rtol=2**-10, atol=2**-24)


def test_statistics_follow_from_the_attention(measure: Measure) -> None:
    made = measure("multi_head", 1)
    stored = pd.read_parquet(made.tensors)
    heads = pd.read_parquet(made.heads)
    kept = heads[heads["sink"] == "kept"].set_index(["prompt", "layer", "head"])
    previous = []
    for row in stored.itertuples():
        full = np.zeros((row.tokens, row.tokens))
        full[np.tril_indices(row.tokens)] = row.weights
        statistics = kept.loc[(row.prompt, row.layer, row.head)]
        np.testing.assert_allclose(statistics["received"], full.mean(axis=0), atol=1e-3)
        entropy = [-sum(p * np.log(p) for p in query if p > 0) for query in full]
        np.testing.assert_allclose(statistics["row_entropy_nats"], entropy, atol=5e-3)
        if (row.layer, row.head) == (1, 2):
            previous.append(np.diagonal(full, -1).mean())
    descriptors = pd.read_parquet(made.descriptors).set_index(["layer", "head"])
    np.testing.assert_allclose(descriptors.loc[(1, 2), "previous_token"], np.mean(previous), atol=1e-3)


def test_files_say_where_they_come_from(measure: Measure, prompts: tuple[Path, Path]) -> None:
    made = measure("multi_head", 2)
    facts = json.loads((made.checkpoint / "facts.json").read_text())
    for path in (made.tensors, made.heads, made.pairs, made.descriptors):
        metadata = read_metadata(path)
        assert metadata["model"] == "multi_head"
        assert metadata["seed"] == 2
        assert metadata["seed_changes"] == "initialisation and data order"
        assert metadata["weights_digest"] == facts["weights_digest"]
        assert metadata["prompts_digest"] == json.loads(prompts[1].read_text())["sha256"]
        assert metadata["dtype"] == "float32"


def test_no_mark_of_a_statistic_outlives_it(
    tmp_path: Path, study: Study, measure: Measure, prompts: tuple[Path, Path], run_script: Callable[..., None]
) -> None:
    mark = tmp_path / "pattern_correlation.computed"
    mark.touch()
    run_script(
        "extract_attention",
        input={"checkpoint": measure("multi_head", 1).checkpoint, "prompts": prompts[0], "facts": prompts[1]},
        output={table: tmp_path / f"{table}.parquet" for table in ("tensors", "heads", "pairs", "descriptors")},
        arguments=extraction_arguments(study, "multi_head", 1) | {"pair_statistics": ["hellinger"]},
        wildcards={"model": "multi_head", "seed": "1"},
    )
    assert "pattern_correlation" not in pd.read_parquet(tmp_path / "pairs.parquet")
    assert not mark.exists()
