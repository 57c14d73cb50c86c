"""Rules measure_variants and gather_variants."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from headwise.analyses.variants.jobs import gathering_arguments, variant_arguments
from headwise.analyses.variants.settings import Variants
from headwise.runtime.parquet import read_metadata
from headwise.study.study import Study
from rules.conftest import Measurement, RunScript

VARIANTS = [
    {"name": "right", "padding": "right"},
    {"name": "right_unmasked", "padding": "right", "averaging": "unmasked", "reference": "right"},
    {"name": "chat", "template": "chat"},
]


def test_variants_of_a_trained_model_and_what_they_move(
    folder: Path,
    study: Study,
    measure: Callable[[str, int], Measurement],
    prompts: tuple[Path, Path],
    comparison: Path,
    run_script: RunScript,
) -> None:
    study = study.model_copy(update={"variants": Variants(variants=VARIANTS)})
    parts = []
    for name in ("multi_head", "multi_head-sft"):
        made = measure(name, 1)
        parts.append(folder / name / "variants.parquet")
        run_script(
            "measure_variants",
            input={"checkpoint": made.checkpoint, "prompts": prompts[0], "facts": prompts[1]},
            output={"table": parts[-1]},
            arguments=variant_arguments(study, name, 1),
            wildcards={"model": name, "seed": "1"},
        )
    output = {name: folder / "analyses" / f"{name}.parquet" for name in ("variants", "confounds")}
    run_script(
        "gather_variants",
        input={"parts": parts, "comparisons": [comparison]},
        output=output,
        arguments=gathering_arguments(study),
    )
    table, confounds = pd.read_parquet(output["variants"]), pd.read_parquet(output["confounds"])
    assert read_metadata(output["variants"])["study"] == "tiny"
    assert table["value"].notna().all()

    # The study's own extraction on the same prompts: what the other rules computed.
    own = table[table["variant"].eq("right") & table["model"].eq("multi_head")].set_index(["estimator", "sink"])
    summary = pd.read_parquet(measure("multi_head", 1).summary)
    expected = summary[summary["scope"] == "model"].set_index(["estimator", "sink"])["value"]
    # Extraction sums tiles in float32, variants whole weights in float64.
    assert own["reference_value"].to_dict() == pytest.approx(expected.to_dict(), rel=1e-4, abs=1e-6)

    # Attention that pads and real tokens receive, averaged over all 128 queries, from the model library.
    made = measure("multi_head", 1)
    model = AutoModelForCausalLM.from_pretrained(made.checkpoint, attn_implementation="eager", local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(made.checkpoint, local_files_only=True)
    sharpness = []
    for text in pd.read_json(prompts[0], lines=True)["text"]:
        given = tokenizer(text, return_tensors="pt", padding="max_length", max_length=128)
        with torch.no_grad():
            last = model(given["input_ids"], attention_mask=given["attention_mask"], output_attentions=True).attentions[
                -1
            ]
        entropies = [-sum(p * np.log(p) for p in row if p > 0) for head in last[0].double().numpy() for row in head]
        sharpness.append(1 - np.mean(entropies) / np.log(128))
    chosen = table[table["variant"].eq("right_unmasked") & table["estimator"].eq("normalized_entropy")]
    value = chosen[chosen["model"].eq("multi_head") & chosen["sink"].eq("kept")]["value"].iloc[0]
    np.testing.assert_allclose(value, np.mean(sharpness), atol=1e-6)

    effects = pd.read_parquet(comparison)
    effects = effects[effects["scope"].eq("refits") & effects["level"].eq("model") & effects["sink"].eq("kept")]
    rows = confounds[confounds["variant"].eq("chat") & confounds["sink"].eq("kept")].set_index("estimator")
    assert rows["alignment_effect"].to_dict() == effects.set_index("estimator")["delta_absolute"].abs().to_dict()
    assert (rows["measured"] == 2).all()
    assert (rows["pairs"] == 1).all()
