"""The estimators of a model on a handful of prompts: the numbers that a study computes by way of files."""

import json

import pyarrow.parquet
import pytest
from attention_examples import save_checkpoint, tiny_model, token_ids

from headwise.analyses.specialization.evaluate import evaluate
from headwise.analyses.specialization.few_prompts import specialization_of
from headwise.analyses.specialization.settings import Specialization, known_estimators
from headwise.attention.extract import extract_attention
from headwise.study.extraction import Extraction
from headwise.study.prompts import EncodedPrompt


def prompts(count: int = 3) -> list[EncodedPrompt]:
    return [EncodedPrompt(f"p{number}", token_ids(8 + 3 * number, seed=number)[0].tolist()) for number in range(count)]


def test_values_are_those_that_a_study_computes(tmp_path):
    model = tiny_model("llama", num_key_value_heads=2)
    texts = tmp_path / "prompts.jsonl"
    lines = [
        {"id": each.id, "domain": "any", "text": " ".join(f"w{token}" for token in each.token_ids)}
        for each in prompts()
    ]
    texts.write_text("\n".join(map(json.dumps, lines)))
    heads, pairs, summary = (tmp_path / f"{name}.parquet" for name in ("heads", "pairs", "summary"))
    settings = Specialization(head_permutations=1)
    extract_attention(
        save_checkpoint(model, tmp_path / "model"), texts, tensors=None, heads=heads, pairs=pairs,
        descriptors=tmp_path / "descriptors.parquet", settings=Extraction(device="cpu"),
        pair_statistics=settings.pair_statistics(), seed=1, metadata={},
    )  # fmt: skip
    evaluate(heads, pairs, tmp_path / "features.parquet", summary, settings, seed=1)
    table = pyarrow.parquet.read_table(summary).to_pandas()
    table = table[(table["scope"] == "model") & (table["sink"] == "kept")].set_index("estimator")["value"]
    found = specialization_of(model, prompts(), known_estimators())
    assert set(found) == set(table.index)
    for name, (value, reason) in found.items():
        assert reason is None
        # A study rounds statistics to float32 in its files.
        assert value == pytest.approx(table[name], rel=1e-5, abs=1e-6)
