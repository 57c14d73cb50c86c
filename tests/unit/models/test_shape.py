"""The shape of a model before it is there, against the model itself."""

import json
from pathlib import Path

import pytest
import torch
from attention_examples import save_checkpoint, tiny_model
from tokenizer_examples import byte_tokenizer
from transformers import AutoModelForCausalLM

from headwise.models.shape import (
    UNKNOWN_VOCABULARY,
    Shape,
    shape_at,
    shape_of,
    shape_of_decoder,
    shape_of_facts,
    shape_of_folder,
)
from headwise.models.zoo import build_decoder
from headwise.study.models import Facts
from headwise.study.study import Study, study_model
from headwise.study.training import Decoder

FACTS = {"parameters": 1000, "layers": 2, "hidden": 8, "heads": 4, "key_value_heads": 2, "head_width": 2}


@pytest.mark.parametrize(
    "decoder",
    [
        Decoder(),
        Decoder(key_value_heads=2, feed_forward=256),
        Decoder(architecture="gpt2", feed_forward=256, positions=512),
        Decoder(architecture="gpt2", feed_forward=0),
    ],
)
def test_a_decoder_has_the_weights_that_its_section_says(decoder: Decoder) -> None:
    tokenizer = byte_tokenizer()
    model = build_decoder(decoder, tokenizer, seed=0)
    built = sum(parameter.numel() for parameter in model.parameters())
    shape = shape_of_decoder(decoder, len(tokenizer))
    # Norms, biases and the feed-forward layers of width 1 that stand for none are left out.
    assert built * 0.97 <= shape.parameters <= built
    assert (shape.layers, shape.heads, shape.hidden) == (decoder.layers, decoder.heads, decoder.hidden)
    assert shape.stored_bytes == 4 * shape.parameters


@pytest.mark.parametrize("kind", ["gpt2", "llama", "gpt_neox", "falcon", "bloom"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_folder_has_the_weights_in_its_files(kind: str, dtype: torch.dtype, tmp_path: Path) -> None:
    model = tiny_model(kind).to(dtype)
    folder = save_checkpoint(model, tmp_path / "model")
    shape = shape_of_folder(folder)
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    assert shape.parameters == sum(parameter.numel() for parameter in loaded.parameters())
    assert shape.stored_bytes == (folder / "model.safetensors").stat().st_size
    expected = (model.config.num_hidden_layers, model.config.num_attention_heads, model.config.hidden_size)
    assert (shape.layers, shape.heads, shape.hidden) == expected
    assert shape.whole_attention == (kind in ("falcon", "bloom"))


def test_attention_counts_as_whole_where_it_is_not_known(tmp_path: Path) -> None:
    folder = save_checkpoint(tiny_model("gpt2"), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    for change in ({"reorder_and_upcast_attn": True}, {"auto_map": {"AutoModel": "own.Model"}}, {"model_type": None}):
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        assert shape_of_folder(folder).whole_attention


def study(**model: object) -> Study:
    return study_model().model_validate(
        {"name": "example", "prompts": {"path": "p"}, "models": [{"name": "m", **model}]}
    )


def test_facts_say_what_is_not_there_yet() -> None:
    known = study(source="hub", repository="org/model", facts=FACTS)
    assert shape_of(known, known.models[0], 1, Path("nowhere.json")) == Shape(1000, 2000, 2, 4, 8, vocabulary=125)
    typed = study(source="hub", repository="org/model", facts={**FACTS, "model_type": "llama"})
    assert not shape_of(typed, typed.models[0], 1, Path("nowhere.json")).whole_attention


def test_without_facts_the_fetched_files_say_it(tmp_path: Path) -> None:
    unknown = study(source="hub", repository="org/model")
    fetched = tmp_path / "seed1.json"
    with pytest.raises(FileNotFoundError) as missing:
        shape_of(unknown, unknown.models[0], 1, fetched)
    assert missing.value.filename == str(fetched)  # by which Snakemake knows that it has to wait
    files = {"config.json": {"bytes": 10}, "model.safetensors": {"bytes": 4000}}
    fetched.write_text(json.dumps({"sources": [{"files": files}]}))
    shape = shape_of(unknown, unknown.models[0], 1, fetched)
    assert (shape.parameters, shape.stored_bytes) == (2005, 4010)  # 16 bits each


def test_a_descendant_is_as_large_as_its_base() -> None:
    content = {
        "name": "example",
        "prompts": {"path": "p"},
        "models": [
            {"name": "m", "source": "train", "decoder": {"layers": 3}},
            {"name": "m-sft", "source": "align", "base": "m", "method": "sft"},
        ],
    }
    made = study_model().model_validate(content)
    base, aligned = (shape_of(made, model, 1, Path("nowhere")) for model in made.models)
    assert base == aligned
    assert base.layers == 3


def test_a_file_of_weights_counts_as_float32(tmp_path: Path) -> None:
    (tmp_path / "final.pt").write_bytes(bytes(400))
    assert shape_at(tmp_path / "final.pt").parameters == 100


def test_words_are_counted_from_what_is_there(tmp_path: Path) -> None:
    trained = study_model().model_validate(
        {
            "name": "example",
            "prompts": {"path": "p"},
            "tokenizer": {"vocabulary": 777},
            "models": [{"name": "m", "source": "train"}],
        }
    )
    assert shape_of(trained, trained.models[0], 1, Path("nowhere")).vocabulary == 777
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 49_152}))
    assert shape_at(tmp_path).vocabulary == 49_152
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"vocab_size": 300_000}}))
    assert shape_at(tmp_path).vocabulary == 300_000
    (tmp_path / "config.json").write_text("{}")
    assert shape_at(tmp_path).vocabulary == UNKNOWN_VOCABULARY
    # No more rows of embeddings than there are weights.
    large, small = ({**FACTS, "parameters": count, "hidden": 512} for count in (10**9, 70_000_000))
    assert shape_of_facts(Facts(**large)).vocabulary == UNKNOWN_VOCABULARY
    assert shape_of_facts(Facts(**small)).vocabulary == 70_000_000 // 512
