"""Rules fetch_model and convert_model, and extraction of what they give, without a network."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from huggingface_hub import constants
from mirror import build_mirror, byte_tokenizer
from tiny import SUBJECTS
from transformers import AutoModelForCausalLM, AutoTokenizer, GPTNeoXConfig

from headwise.attention.jobs import extraction_arguments
from headwise.models.hooked import HookedGPT2Config, HookedGPT2LMHeadModel
from headwise.models.hub import fetched_folder
from headwise.models.jobs import conversion_arguments, fetching_arguments
from headwise.runtime.parquet import read_metadata
from headwise.runtime.provenance import file_digest
from headwise.study.models import HubModel, TransformerLensModel
from headwise.study.sections import pair_statistics
from headwise.study.study import Study, study_model

RunScript = Callable[..., None]
SHAPE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cache that holds two refits and a tokenizer."""
    folder = tmp_path_factory.mktemp("elsewhere")
    config = GPTNeoXConfig(vocab_size=300, max_position_embeddings=128, **SHAPE)
    repositories = ("org/neox-seed1", "org/neox-seed2", "org/tokenizer")
    build_mirror(folder / "cache", {name: (config, "step3") for name in repositories})
    return folder


@pytest.fixture(autouse=True)
def offline(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(place / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def study_of(model: HubModel | TransformerLensModel) -> Study:
    """A study of one model at seed 2."""
    return study_model()(
        name="elsewhere",
        seeds=[2],
        prompts={"path": "prompts.jsonl"},
        models=[model],
        extraction={"dtype": "float32"},
        specialization={"estimators": ["hellinger"]},
    )


def extract(
    run_script: RunScript,
    place: Path,
    model: HubModel | TransformerLensModel,
    checkpoint: Path,
    prompts: tuple[Path, Path],
) -> dict[str, Path]:
    tables = ("tensors", "heads", "pairs", "descriptors")
    output = {table: place / f"{checkpoint.stem}-{table}.parquet" for table in tables}
    study = study_of(model)
    arguments = extraction_arguments(study, model.name, 2) | {"pair_statistics": pair_statistics(study)}
    files = {"checkpoint": checkpoint, "prompts": prompts[0], "facts": prompts[1]}
    run_script("extract_attention", input=files, output=output, arguments=arguments, wildcards={"seed": "2"})
    return output


def fetch(run_script: RunScript, place: Path, model: HubModel | TransformerLensModel, seed: int) -> Path:
    run_script(
        "fetch_model",
        input={},
        output={"fetched": place / "models" / model.name / f"seed{seed}.json"},
        arguments=fetching_arguments(study_of(model), model.name, seed),
        resources={"study_file": str(place / "study.yaml")},
    )
    return place / "models" / model.name / f"seed{seed}.json"


def test_refits_of_a_hub_are_fetched_by_seed_and_measured(
    place: Path, prompts: tuple[Path, Path], run_script: RunScript
) -> None:
    model = HubModel(name="neox", source="hub", repository="org/neox-seed{seed}", revision="step3", template="chat")
    fetched = {seed: fetch(run_script, place, model, seed) for seed in (1, 2)}
    sources = {seed: json.loads(path.read_text())["sources"][0] for seed, path in fetched.items()}
    assert sources[1]["files"]["model.safetensors"] != sources[2]["files"]["model.safetensors"]
    output = extract(run_script, place, model, fetched[2], prompts)
    for path in output.values():
        metadata = read_metadata(path)
        assert metadata["repository"] == "org/neox-seed2"
        assert metadata["revision"] == "step3"
        assert metadata["commit"] == sources[2]["commit"]
        assert metadata["weights_files"] == {
            name: facts["sha256"] for name, facts in sources[2]["files"].items() if name.endswith(".safetensors")
        }
        assert str(place) not in json.dumps(metadata)
    folder = fetched_folder(fetched[2])
    reference = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompt = json.loads(prompts[0].read_text().splitlines()[0])
    rendered = prompt["text"] + tokenizer.eos_token
    tokens = torch.tensor([tokenizer(rendered)["input_ids"]])
    with torch.no_grad():
        expected = reference(tokens, output_attentions=True).attentions[1][0, 1].numpy()
    stored = pd.read_parquet(output["tensors"]).set_index(["prompt", "layer", "head"]).loc[(prompt["id"], 1, 1)]
    np.testing.assert_array_equal(stored["weights"], expected[np.tril_indices(tokens.shape[1])].astype(np.float16))


def test_weights_of_transformer_lens_are_converted_and_measured(
    place: Path, prompts: tuple[Path, Path], run_script: RunScript
) -> None:
    settings = {"n_layers": 1, "d_model": 16, "n_heads": 2, "d_head": 8, "n_ctx": 128, "d_vocab": 300}
    (place / "config.json").write_text(json.dumps(settings | {"attn_only": True}))
    shape = {"vocab_size": 300, "n_positions": 128, "n_embd": 16, "n_layer": 1, "n_head": 2, "attention_only": True}
    weights = HookedGPT2LMHeadModel(HookedGPT2Config(**shape)).state_dict()
    split = weights["transformer.h.0.attn.c_attn.weight"].reshape(16, 3, 2, 8)
    state = {
        "embed.W_E": weights["transformer.wte.weight"],
        "pos_embed.W_pos": weights["transformer.wpe.weight"],
        **{f"blocks.0.attn.W_{name}": split[:, index].transpose(0, 1) for index, name in enumerate("QKV")},
        **{f"blocks.0.attn.b_{name}": torch.zeros(2, 8) for name in "QKV"},
        "blocks.0.attn.W_O": weights["transformer.h.0.attn.c_proj.weight"].reshape(2, 8, 16),
        "blocks.0.attn.b_O": torch.zeros(16),
        **{f"{name}.w": torch.ones(16) for name in ("blocks.0.ln1", "ln_final")},
        **{f"{name}.b": torch.zeros(16) for name in ("blocks.0.ln1", "ln_final")},
        "unembed.W_U": weights["lm_head.weight"].T,
        "unembed.b_U": torch.zeros(300),
    }
    torch.save(state, place / "final.pt")
    model = TransformerLensModel(
        name="lens",
        source="transformer_lens",
        weights=str(place / "final.pt"),
        config=str(place / "config.json"),
        tokenizer_repository="org/tokenizer",
        tokenizer_revision="step3",
    )
    fetched = fetch(run_script, place, model, 2)
    checkpoint = place / "models" / "lens" / "seed2"
    run_script(
        "convert_model",
        input={"fetched": fetched},
        output={"checkpoint": checkpoint},
        arguments=conversion_arguments(study_of(model), "lens", 2),
        wildcards={"seed": "2"},
    )
    metadata = read_metadata(extract(run_script, place, model, checkpoint, prompts)["heads"])
    assert metadata["source_files"] == {"final.pt": file_digest(place / "final.pt")}
    assert metadata["model_type"] == "hooked_gpt2"
    first = AutoTokenizer.from_pretrained(checkpoint)("a bird")["input_ids"]
    plain = byte_tokenizer(300, SUBJECTS)
    assert first[0] == plain.bos_token_id
