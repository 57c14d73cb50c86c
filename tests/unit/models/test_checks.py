"""What the files of a checkpoint give away: each kind of damage is refused by name, and what is whole is let pass."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from headwise.models.checks import check_checkpoint, check_names, embedding_rows, stated_positions
from headwise.models.headers import CheckpointError, read_header
from headwise.models.shape import shape_of_folder

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 4400000000\n"
CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 20,
    "hidden_size": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "max_position_embeddings": 64,
}
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def weights(layers: int = 2) -> dict[str, np.ndarray[Any, Any]]:
    """Names and shapes as Llama has them, of the attention alone."""
    rows = {"q_proj": 8, "k_proj": 4, "v_proj": 4, "o_proj": 8}
    stack = {
        f"model.layers.{layer}.self_attn.{name}.weight": np.ones((count, 8), np.float32)
        for layer in range(layers)
        for name, count in rows.items()
    }
    return {"model.embed_tokens.weight": np.ones((20, 8), np.float32), **stack}


def write(folder: Path, content: Mapping[str, Any] = CONFIG, **files: Any) -> Path:
    """A checkpoint of these parts."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(content))
    (folder / "tokenizer.json").write_text("{}")
    save_file(files.get("weights", weights()), folder / "model.safetensors")
    return folder


def write_shards(folder: Path) -> Path:
    """The same in two files and an index."""
    write(folder)
    (folder / "model.safetensors").unlink()
    parts = [dict(list(weights().items())[:5]), dict(list(weights().items())[5:])]
    for name, part in zip(SHARDS, parts, strict=True):
        save_file(part, folder / name)
    named = {tensor: name for name, part in zip(SHARDS, parts, strict=True) for tensor in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": named}))
    return folder


def refuse(folder: Path, sentence: str, **options: bool) -> None:
    with pytest.raises(CheckpointError, match=sentence) as refusal:
        check_checkpoint(folder, **options)
    assert str(folder) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_whole_checkpoint_passes_and_says_its_size(tmp_path):
    for folder in (write(tmp_path / "one"), write_shards(tmp_path / "two")):
        check_checkpoint(folder)
        assert (embedding_rows(folder), stated_positions(folder)) == (20, 64)
        assert shape_of_folder(folder).parameters == 20 * 8 + 2 * (8 + 4 + 4 + 8) * 8
    assert embedding_rows(write(tmp_path / "unnamed", weights={"w.weight": np.ones((4, 2), np.float32)})) == 20


def test_the_header_is_what_was_written(tmp_path):
    found = read_header(write(tmp_path) / "model.safetensors")
    assert {name: stored.shape for name, stored in found.items()} == {n: w.shape for n, w in weights().items()}
    assert {stored.dtype for stored in found.values()} == {"F32"}


def test_nothing_heavy_is_imported():
    code = (
        "import sys, headwise.models.checks;"
        "print(sorted({'torch', 'transformers', 'safetensors', 'pandas', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def huge_header(data: bytes) -> bytes:
    return (2**40).to_bytes(8, "little") + data[8:]


def with_entry(**changes: Any) -> bytes:
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}
    header = json.dumps({"w": entry}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(8)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda data: POINTER.encode(), r"model\.safetensors: a pointer of git-LFS, not the file itself: run `git lfs"),
        (lambda data: b"", r"model\.safetensors: no complete safetensors file \(0 bytes\)"),
        (lambda data: data[:5], r"no complete safetensors file \(5 bytes\)"),
        (lambda data: data[:100], r"no complete safetensors file \(100 bytes\)"),
        (huge_header, "no complete safetensors file"),
        (lambda data: data[: len(data) // 2], "cut off or damaged: .* bytes of weights instead of"),
        (lambda data: data[:-1], "cut off or damaged: 2175 bytes of weights instead of 2176"),
        (lambda data: data + b"\n", "cut off or damaged: 2177 bytes of weights instead of 2176"),
        (lambda data: b"<html>Sign in to download</html>", "no complete safetensors file"),
        (lambda data: data[:8] + b"x" + data[9:], "its header is damaged"),
        (lambda data: b"\x02" + bytes(7) + b"[]", "its header is damaged"),
        (lambda data: with_entry(shape=[3]), r"its header is damaged \(\[3\] of F32 in 8 bytes\)"),
        (lambda data: with_entry(shape=[-2]), "its header is damaged"),
        (lambda data: with_entry(shape=None), "its header is damaged"),
        (lambda data: with_entry(dtype=None), "its header is damaged"),
    ],
)
def test_a_damaged_file_of_weights_is_refused_by_name(tmp_path, damage, sentence):
    folder = write(tmp_path)
    path = folder / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    refuse(folder, sentence)
    with pytest.raises(CheckpointError, match=sentence):
        shape_of_folder(folder)  # what the dry run and `headwise cost` read


@pytest.mark.parametrize(
    "content", [POINTER, '{"model_type": ', "[1]", "[" * 200_000, '{"a": ' + "1" * 5000 + "}", b"\xff"]
)
@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_damaged_json_is_refused_by_name(tmp_path, content, name):
    folder = write_shards(tmp_path)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    refuse(folder, name.replace(".", r"\.") + ": (a pointer of git-LFS|damaged: not valid JSON|holds no JSON object)")
    with pytest.raises(CheckpointError, match=name):
        shape_of_folder(folder)


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        (None, "`weight_map` does not say which file"),
        ([], "`weight_map` does not say which file"),
        ({}, "`weight_map` does not say which file"),
        ({"w": 3}, "`weight_map` does not say which file"),
        ({"w": "../other/model.safetensors"}, "'w' is said to be in '../other/model.safetensors', which is no"),
        ({"w": "/tmp/model.safetensors"}, "no safetensors file of this folder"),
        ({"w": "..\\model.safetensors"}, "no safetensors file of this folder"),
        ({"w": "C:\\model.safetensors"}, "no safetensors file of this folder"),
        ({"w": "pytorch_model-00001-of-00002.bin"}, "no safetensors file of this folder"),
    ],
)
def test_an_index_that_does_not_say_where_weights_are_is_refused(tmp_path, named, sentence):
    folder = write_shards(tmp_path)
    content = {"metadata": {}} if named is None else {"weight_map": named}
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))
    refuse(folder, sentence)


def test_a_tensor_that_is_in_no_shard_is_named(tmp_path):
    folder = write_shards(tmp_path)
    part = load_file(folder / SHARDS[1])
    del part["model.layers.1.self_attn.k_proj.weight"]
    save_file(part, folder / SHARDS[1])
    refuse(folder, r"model-00002-of-00002\.safetensors: 'model.layers.1.self_attn.k_proj.weight' is missing")


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    folder = write_shards(tmp_path)
    twice = {**load_file(folder / SHARDS[1]), "model.embed_tokens.weight": np.zeros((20, 8), np.float32)}
    save_file(twice, folder / SHARDS[1])
    refuse(folder, "'model.embed_tokens.weight' is in model-00001-of-00002.safetensors too")


def test_shards_beside_one_whole_file_are_none_of_the_checkpoint(tmp_path):
    folder = write_shards(tmp_path)
    (folder / SHARDS[0]).write_text(POINTER)
    save_file(weights(), folder / "model.safetensors")
    check_checkpoint(folder)


@pytest.mark.parametrize(
    ("prefix", "wrapper"),
    [
        ("_orig_mod.", "torch.compile"),
        ("model._orig_mod.", "torch.compile"),
        ("module.", "DataParallel"),
        ("module._orig_mod.", "torch.compile"),
        ("_forward_module.", "Lightning Fabric"),
        ("_fsdp_wrapped_module.", "FullyShardedDataParallel"),
    ],
)
def test_a_prefix_of_a_wrapper_is_named_with_its_remedy(tmp_path, prefix, wrapper):
    folder = write(tmp_path, weights={prefix + name: value for name, value in weights().items()})
    refuse(folder, rf"'{prefix}.*carries the prefix .* of {wrapper}, so that no weight would be found: take it off")


def test_a_part_of_a_model_may_be_named_as_a_wrapper_is(tmp_path):
    check_checkpoint(write(tmp_path, weights={**weights(), "module.weight": np.ones(2, np.float32)}))


@pytest.mark.parametrize("layers", [1, 3])
def test_as_many_layers_in_config_as_in_weights(tmp_path, layers):
    folder = write(tmp_path, weights=weights(layers))
    refuse(folder, r"config\.json: 2 layers, and the weights have (none of 'model.layers.1'|more \('model.layers.2)")


def test_layers_that_predict_further_tokens_are_not_counted(tmp_path):
    check_checkpoint(write(tmp_path / "counted", {**CONFIG, "num_nextn_predict_layers": 1}, weights=weights(3)))
    further = {f"mtp.layers.0.{name}": value for name, value in weights().items()}
    check_checkpoint(write(tmp_path / "apart", weights={**weights(), **further}))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"vocab_size": 30}, r"vocab_size is 30, and 'model.embed_tokens.weight' in .* has the shape \[20, 8\]"),
        ({"vocab_size": "20"}, "vocab_size is '20', and must be a whole number"),
        ({"hidden_size": 8.0}, "hidden_size is 8.0, and must be a whole number"),
        ({"num_hidden_layers": None}, "num_hidden_layers is None, and must be a whole number"),
        ({"num_attention_heads": True}, "num_attention_heads is True"),
        ({"num_attention_heads": 0}, "num_attention_heads is 0"),
        ({"num_hidden_layers": 10**30}, "num_hidden_layers is 10+, and must be a whole number of 1 to 2147483648"),
        ({"num_hidden_layers": 10**9}, "1000000000 layers, and the weights have none of 'model.layers.2'"),
        ({"num_labels": 10**30}, "num_labels is 10+, and must be"),
        ({"num_attention_heads": 5}, "a hidden size of 8 does not divide into 5 heads"),
        ({"num_key_value_heads": 3}, "4 heads cannot share 3 key and value heads"),
        ({"num_key_value_heads": "2"}, "num_key_value_heads is '2'"),
        ({"layer_types": ["full_attention"]}, "layer_types names 1 layers, and there are 2"),
        ({"model_type": None}, "model_type is missing"),
        ({"torch_dtype": "torch.bfloat16"}, "torch_dtype is 'torch.bfloat16', which is no dtype: write for example"),
        ({"transformers_weights": "other.safetensors"}, "transformers_weights names 'other.safetensors'"),
        (
            {"rope_scaling": {"type": "su", "factor": 2.0}},
            "rope_scaling.rope_type is 'su', which transformers does not",
        ),
        (
            {"rope_parameters": {"rope_type": "llama3", "factor": 8.0}},
            "rope_parameters of rope_type 'llama3' needs low_freq_factor, which is None",
        ),
        (
            {"rope_scaling": {"type": "linear", "factor": "2"}},
            "rope_scaling of rope_type 'linear' needs factor, which is '2'",
        ),
        ({"rope_parameters": {"full_attention": {"rope_type": "odd"}}}, "rope_parameters.rope_type is 'odd'"),
        ({"rope_scaling": "linear"}, "rope_scaling is 'linear', and must be an object"),
        (
            {"rope_scaling": {"type": "linear", "factor": 0}},
            "rope_scaling of rope_type 'linear' needs factor, which is 0",
        ),
        ({"rope_theta": -1}, "rope_theta is -1, and must be a number above 0"),
        ({"rope_parameters": {"rope_theta": float("nan")}}, r"rope_parameters\.rope_theta is nan, and must be"),
        ({"rope_parameters": {"rope_theta": "much"}}, r"rope_parameters\.rope_theta is 'much', and must be"),
        (
            {"rope_parameters": {"full_attention": {"rope_theta": 1e4}, "sliding_attention": {"rope_theta": 0.0}}},
            r"rope_parameters\.rope_theta is 0\.0, and must be",
        ),
    ],
)
def test_a_field_of_config_that_cannot_be_is_named(tmp_path, changes, sentence):
    refuse(write(tmp_path, {**CONFIG, **changes}), r"config\.json: " + sentence)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_key_value_heads": None},
        {"head_dim": 3, "num_attention_heads": 5, "num_key_value_heads": 1},
        {"rope_scaling": None, "rope_parameters": {"rope_theta": 10000.0}},
        {"rope_scaling": {"type": "linear", "factor": 2}, "rope_theta": 10000},
        {"rope_theta": None, "rope_parameters": {"rope_type": "default", "rope_theta": None}},
        {"model_type": "phi3", "rope_scaling": {"type": "su", "short_factor": [1.0], "long_factor": [1]}},
        {"rope_parameters": {"full_attention": {"rope_type": "default"}, "sliding_attention": {"rope_theta": 1e4}}},
        {"layer_types": ["full_attention"] * 2},
        {"torch_dtype": "bfloat16"},
        {"dtype": None},
        {"text_config": {"num_hidden_layers": 7}},
    ],
)
def test_what_is_unusual_and_right_passes(tmp_path, changes):
    check_checkpoint(write(tmp_path, {**CONFIG, **changes}))


def test_code_of_the_checkpoints_own_may_read_other_fields(tmp_path):
    folder = write(tmp_path, {"model_type": None, "num_hidden_layers": 9, "rope_scaling": {"type": "own"}})
    check_checkpoint(folder, own_code=True)
    refuse(folder, "model_type is missing")


@pytest.mark.parametrize("method", ["no-such-method", None, 4])
def test_a_method_of_quantization_that_nobody_knows_is_refused(tmp_path, method):
    folder = write(tmp_path, {**CONFIG, "quantization_config": {"quant_method": method, "bits": 4}})
    refuse(folder, rf"quantization_config.quant_method is {method!r}, which transformers does not know: choose a")
    refuse(folder, "quant_method", own_code=True)


@pytest.mark.parametrize(
    ("field", "missing"),
    [
        ({"quant_method": "gptq"}, "optimum and gptqmodel"),
        ({"quant_method": "awq"}, "gptqmodel and accelerate"),
        ({"quant_method": "fp8"}, "accelerate"),
        ({"quant_method": "mxfp4"}, "accelerate"),
        ({"quant_method": "compressed-tensors"}, "compressed_tensors"),
        ({"load_in_4bit": True}, "bitsandbytes and accelerate"),
    ],
)
def test_a_method_whose_library_is_not_installed_is_refused(tmp_path, monkeypatch, field, missing):
    folder = write(tmp_path, {**CONFIG, "quantization_config": field})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refuse(folder, rf"quantization_config.quant_method is '.*', which needs {missing}, not installed here: install it")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    check_checkpoint(folder)


@pytest.mark.parametrize("name", ["hf_quant_config.json", "quantize_config.json"])
def test_a_quantization_that_transformers_does_not_read_is_refused(tmp_path, name):
    folder = write(tmp_path)
    (folder / name).write_text("{}")
    refuse(folder, rf"{name}: says that the weights are quantized, and config.json has no quantization_config")
    refuse(write(tmp_path, {**CONFIG, "quantization": {"bits": 4}}), "`quantization` is not what transformers reads")


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_numbers_of_any_precision_need_no_scales(tmp_path, dtype):
    check_checkpoint(write(tmp_path, weights={name: each.astype(dtype) for name, each in weights().items()}))


def test_quantized_weights_without_their_scales_are_refused(tmp_path):
    quantized = {**weights(), "model.layers.0.self_attn.q_proj.weight": np.ones((8, 8), np.int8)}
    refuse(write(tmp_path, weights=quantized), r"'model.layers.0.self_attn.q_proj.weight' is quantized \(I8\)")
    masks = {"model.layers.0.attn.bias": np.ones((1, 1, 4, 4), np.uint8), "position_ids": np.ones(4, np.int64)}
    check_checkpoint(write(tmp_path, weights={**weights(), **masks}))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "damaged: not valid JSON"),
        ("[1]", "holds no JSON object"),
        (POINTER, "a pointer of git-LFS"),
        ('{"eos_token_id": "2"}', "eos_token_id is '2', and must be a token's number"),
        ('{"eos_token_id": [2, "3"]}', r"eos_token_id is \[2, '3'\], and must be"),
    ],
)
def test_settings_of_generation_that_would_be_ignored_are_refused(tmp_path, content, sentence):
    folder = write(tmp_path)
    for whole in ("{}", '{"eos_token_id": 0}', '{"eos_token_id": [2, 3]}', '{"eos_token_id": null}'):
        (folder / "generation_config.json").write_text(whole)
        check_checkpoint(folder)
    (folder / "generation_config.json").write_text(content)
    refuse(folder, rf"generation_config\.json: {sentence}")


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"])
def test_an_adapter_is_refused_beside_a_model_and_alone(tmp_path, name):
    folder = write(tmp_path)
    (folder / name).write_text("{}")
    refuse(folder, rf"an adapter \({name}\) lies beside the weights of a model.*merge_and_unload.*a copy without")
    (folder / "config.json").unlink()
    refuse(folder, rf"an adapter alone \({name}\), which is no model: merge it into its base with peft")
    with pytest.raises(CheckpointError, match="org/model: an adapter"):
        check_names(["config.json", name], "org/model")


def test_adapters_among_the_weights_are_refused(tmp_path):
    for name in ("q_proj.lora_A.default.weight", "q_proj.base_layer.weight"):
        extra = {f"model.layers.0.self_attn.{name}": np.ones((2, 8), np.float32)}
        refuse(write(tmp_path, weights={**weights(), **extra}), f"{name}' belongs to an adapter that is not merged")
