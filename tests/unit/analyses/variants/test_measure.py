"""Estimators under variants of the extraction, against the released notebooks' definitions written as plain loops."""

import json
import math
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from attention_examples import random_words, save_checkpoint, tiny_model, word_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from headwise.analyses.specialization.evaluate import evaluate
from headwise.analyses.specialization.registry import estimator
from headwise.analyses.specialization.settings import Specialization, known_estimators
from headwise.analyses.variants.measure import measure_variants
from headwise.analyses.variants.settings import Variants
from headwise.attention.extract import extract_attention
from headwise.attention.pair_statistics import PAIR_STATISTICS
from headwise.runtime.parquet import read_metadata
from headwise.study.extraction import DATE, Extraction

LENGTHS = (5, 9, 17)
PAD_TO = 128  # the unit of normalized_entropy is ln 128
METADATA = {"study": "tiny", "model": "base", "family": "base", "base": None, "method": None, "seed": 3}
VARIANTS: list[dict[str, Any]] = [
    {"name": "masked", "padding": "tokenizer", "position_ids": "model"},
    {"name": "unmasked", "padding": "tokenizer", "position_ids": "model", "averaging": "unmasked"},
    {"name": "leading", "padding": "tokenizer", "position_ids": "model", "averaging": "leading"},
    {"name": "padded", "padding": "left"},
    {"name": "unknown", "padding": "left", "pad_token": "unknown"},
    {"name": "chat", "template": "chat"},
    {"name": "bos", "first_token": "bos"},
    {"name": "bare", "first_token": "none"},
    {"name": "half", "dtype": "bfloat16"},
    {"name": "half_padded", "dtype": "bfloat16", "padding": "right", "reference": "half"},
]


def save(folder: Path, side: str, kind: str = "gpt2") -> Path:
    """A checkpoint with learned positions whose tokenizer pads on that side."""
    save_checkpoint(tiny_model(kind, n_positions=PAD_TO), folder)
    tokenizer = word_tokenizer()
    tokenizer.padding_side = side
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    texts = [random_words(length, seed=position) for position, length in enumerate(LENGTHS)]
    lines = [json.dumps({"id": f"p{at}", "domain": "words", "text": text}) for at, text in enumerate(texts)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module", params=["left", "right"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("checkpoint") / "model", request.param)


@pytest.fixture(scope="module")
def measured(checkpoint: Path, prompts: Path) -> pd.DataFrame:
    output = checkpoint.with_name("variants.parquet")
    measure_variants(
        checkpoint,
        prompts,
        output,
        settings=Variants(variants=VARIANTS),
        extraction=Extraction(device="cpu"),
        specialization=Specialization(),
        metadata=METADATA,
    )
    return pd.read_parquet(output)


@pytest.fixture(scope="module")
def released(checkpoint: Path, prompts: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Attention (layers, heads, 128, 128) and mask of each prompt, obtained as the released notebooks do."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, attn_implementation="eager").eval()
    found = []
    for line in prompts.read_text().splitlines():
        text = json.loads(line)["text"]
        given = tokenizer(text, return_tensors="pt", max_length=PAD_TO, truncation=True, padding="max_length")
        given.pop("token_type_ids", None)
        with torch.no_grad():
            attentions = model(**given, output_attentions=True).attentions
        found.append((np.stack([each[0].double().numpy() for each in attentions]), given["attention_mask"][0].numpy()))
    return found


def value(measured: pd.DataFrame, variant: str, estimator: str, sink: str = "kept", column: str = "value") -> float:
    rows = measured[measured["variant"].eq(variant) & measured["estimator"].eq(estimator) & measured["sink"].eq(sink)]
    assert len(rows) == 1
    return float(rows[column].iloc[0])


def counted(variant: str, mask: np.ndarray) -> list[int]:
    """The positions that enter statistics."""
    real = [position for position, each in enumerate(mask) if each]
    return {"masked": real, "unmasked": list(range(len(mask))), "leading": list(range(len(real)))}[variant]


def head_entropy(attention: np.ndarray, positions: list[int]) -> float:
    """Normalised entropy of the mean row, entry by entry."""
    received = [sum(attention[query][key] for query in positions) / len(positions) for key in positions]
    shares = [each / sum(received) for each in received if each > 0]
    if len(shares) < 2:
        return 0.0
    return -sum(share * math.log2(share) for share in shares) / math.log2(len(shares))


@pytest.mark.parametrize("variant", ["masked", "unmasked", "leading"])
def test_the_published_index_as_the_notebooks_compute_it(variant: str, measured: pd.DataFrame, released: Any) -> None:
    entropies = [
        [
            [head_entropy(attention[layer][head], counted(variant, mask)) for head in range(4)]
            for layer in range(len(attention))
        ]
        for attention, mask in released
    ]
    profile = np.mean(entropies, axis=0)
    expected = 1 - np.nanmean(np.corrcoef(profile.T)[np.triu_indices(4, 1)])
    assert value(measured, variant, "entropy_profile") == pytest.approx(expected, abs=1e-5)


def test_the_command_line_tool_is_the_unmasked_variant(measured: pd.DataFrame, released: Any) -> None:
    values = []
    for attention, _ in released:
        clamped = np.maximum(attention[-1], 1e-10)  # as the tool does, which adds less than 3e-7 nats to a row
        values.append(1 - np.mean(-(clamped * np.log(clamped)).sum(-1)) / math.log(PAD_TO))
    assert value(measured, "unmasked", "normalized_entropy") == pytest.approx(np.mean(values), abs=1e-6)


@pytest.mark.parametrize("variant", ["masked", "unmasked", "leading"])
def test_the_primary_estimator_row_by_row(variant: str, measured: pd.DataFrame, released: Any) -> None:
    values = []
    for attention, mask in released:
        chosen = np.ix_(*[counted(variant, mask)] * 2)
        for layer in attention:
            for i, j in combinations(range(4), 2):
                first, second = layer[i][chosen], layer[j][chosen]
                distances = [
                    (p.sum() + q.sum()) / 2 - np.sqrt(p * q).sum() for p, q in zip(first[1:], second[1:], strict=True)
                ]
                values.append(np.mean(distances))
    assert value(measured, variant, "hellinger") == pytest.approx(np.mean(values), abs=1e-6)


def extracted(checkpoint: Path, prompts: Path, tmp_path: Path, **settings: Any) -> dict[tuple[str, str], float]:
    """Every estimator and sink of the whole model, as extraction and evaluation give it."""
    files = {name: tmp_path / f"{name}.parquet" for name in ("heads", "pairs", "descriptors", "features", "summary")}
    extract_attention(
        checkpoint,
        prompts,
        tensors=None,
        heads=files["heads"],
        pairs=files["pairs"],
        descriptors=files["descriptors"],
        settings=Extraction(device="cpu", **settings),
        pair_statistics=PAIR_STATISTICS,
        seed=3,
        metadata=METADATA | {"prompts_digest": "0" * 64},
    )
    own = Specialization(head_permutations=1)
    evaluate(files["heads"], files["pairs"], files["features"], files["summary"], own, seed=3)
    summary = pd.read_parquet(files["summary"])
    return summary[summary["scope"] == "model"].set_index(["estimator", "sink"])["value"].to_dict()


def test_the_reference_is_the_studys_own_extraction(
    measured: pd.DataFrame, checkpoint: Path, prompts: Path, tmp_path: Path
) -> None:
    rows = measured[measured["variant"] == "masked"].set_index(["estimator", "sink"])["reference_value"]
    # Extraction sums tiles in float32, variants whole weights in float64.
    assert rows.to_dict() == pytest.approx(extracted(checkpoint, prompts, tmp_path), rel=1e-4, abs=1e-6)


def test_a_first_token_moves_what_it_moves_in_extraction(
    measured: pd.DataFrame, checkpoint: Path, prompts: Path
) -> None:
    """Of a tokenizer that adds nothing by itself."""
    own = extracted(checkpoint, prompts, checkpoint.with_name("own"))
    bos = extracted(checkpoint, prompts, checkpoint.with_name("bos"), first_token="bos")
    rows = {name: part.set_index(["estimator", "sink"]) for name, part in measured.groupby("variant")}
    assert rows["bos"]["value"].to_dict() == pytest.approx(bos, rel=1e-4, abs=1e-6)
    assert rows["bos"]["reference_value"].to_dict() == pytest.approx(own, rel=1e-4, abs=1e-6)
    assert abs(rows["bos"].loc[("hellinger", "kept"), "difference"]) > 1e-4
    assert (rows["bare"]["difference"] == 0).all()


def test_padding_alone_moves_no_estimator(measured: pd.DataFrame) -> None:
    for variant, tolerance in (("padded", 1e-4), ("half_padded", 2e-2)):
        rows = measured[measured["variant"] == variant]
        assert set(rows["choices"]) == {"padding"}
        assert len(rows) == sum(len(estimator(name).sinks) for name in known_estimators())
        assert rows["difference"].abs().max() <= tolerance
        layers = rows[rows["estimator"] == "hellinger"]["largest_layer_difference"]
        assert layers.abs().max() <= tolerance


def test_differences_and_choices(measured: pd.DataFrame) -> None:
    defined = measured[measured["reason"].isna()]
    assert (defined["difference"] == defined["value"] - defined["reference_value"]).all()
    choices = measured.drop_duplicates("variant").set_index("variant")["choices"].to_dict()
    assert choices == {
        "masked": "padding, position_ids",
        "unmasked": "padding, averaging, position_ids",
        "leading": "padding, averaging, position_ids",
        "padded": "padding",
        "unknown": "padding",
        "chat": "template",
        "bos": "first_token",
        "bare": "first_token",
        "half": "dtype",
        "half_padded": "padding",
    }
    # Precision moves something, and the estimator without values of layers has no difference of layers.
    assert abs(value(measured, "half", "entropy_profile", column="difference")) > 1e-6
    assert math.isnan(value(measured, "half", "entropy_profile", column="largest_layer_difference"))
    unpadded = measured[measured["padding"] == "none"]
    assert unpadded[["pad_to", "pad_token", "averaging", "position_ids"]].isna().all(axis=None)


def test_the_date_that_a_template_was_told_is_recorded(measured: pd.DataFrame, checkpoint: Path) -> None:
    assert read_metadata(checkpoint.with_name("variants.parquet"))["date"] == DATE  # of the variant `chat`


def test_what_a_model_does_not_allow_is_null_with_a_reason(measured: pd.DataFrame) -> None:
    rows = measured[measured["variant"] == "chat"]
    assert rows["value"].isna().all()
    assert rows["reference_value"].notna().all()
    assert set(rows["reason"]) == {"the tokenizer has no chat template"}


def test_a_half_precision_that_overflows_is_null_with_a_reason(prompts: Path, tmp_path: Path) -> None:
    model = tiny_model("llama")
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(1e3)
        model.model.layers[1].self_attn.v_proj.weight.mul_(1e7)
    save_checkpoint(model, tmp_path / "model")
    measure_variants(
        tmp_path / "model",
        prompts,
        tmp_path / "variants.parquet",
        settings=Variants(variants=[{"name": "half", "dtype": "float16"}]),
        extraction=Extraction(device="cpu"),
        specialization=Specialization(estimators=["hellinger"]),
        metadata=METADATA,
    )
    rows = pd.read_parquet(tmp_path / "variants.parquet")
    assert rows["value"].isna().all()
    assert rows["reason"].str.startswith("attention is not finite: prompt 'p0', layer 1").all()
