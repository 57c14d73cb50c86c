"""Reading checkpoints: what is read is what was saved, and what must not be read is refused in sentences."""

import gc
import hashlib
import json
import pickle
from pathlib import Path

import pytest
import torch
from attention_examples import save_checkpoint, tiny_model, token_ids
from models_examples import decoder, write_corpus, write_tokenizer
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForMaskedLM, T5Config, T5ForConditionalGeneration

from headwise.attention.capture import capturing
from headwise.models.checkpoint import CheckpointError, weights_digest
from headwise.models.files import checkpoint_files
from headwise.models.load import input_device, load_checkpoint
from headwise.models.tokenizer import load_tokenizer
from headwise.models.zoo import build_decoder
from headwise.study.models import Loading


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model and the folder that it was saved to, in shards."""
    folder = tmp_path_factory.mktemp("checkpoint")
    tokenizer = load_tokenizer(write_tokenizer(folder, write_corpus(folder)))
    model = build_decoder(decoder(), tokenizer, seed=1).eval()
    model.save_pretrained(folder / "model", max_shard_size="60KB")
    tokenizer.save_pretrained(folder / "model")
    return model, folder / "model"


@pytest.fixture
def checkpoint(saved, tmp_path) -> Path:
    """A copy to damage."""
    for path in saved[1].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_what_is_loaded_is_what_was_saved(saved):
    model, folder = saved
    loaded, tokenizer = load_checkpoint(folder)
    tokens = tokenizer("The garden follows the river.", return_tensors="pt")["input_ids"]
    assert not loaded.training
    assert loaded.dtype == torch.float32
    assert torch.equal(loaded(tokens).logits, model(tokens).logits)


def test_dtype_and_device(saved):
    loaded, _ = load_checkpoint(saved[1], dtype="bfloat16", device="cpu")
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
    with pytest.raises(ValueError, match="unknown dtype 'int4': choose from float32"):
        load_checkpoint(saved[1], dtype="int4")


def test_digest_is_over_names_and_contents_in_any_order(saved):
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in saved[1].glob("*.safetensors")}
    assert len(files) > 1
    canonical = json.dumps(dict(sorted(files.items())), separators=(",", ":"))
    assert weights_digest(saved[1]) == hashlib.sha256(canonical.encode()).hexdigest()


def test_digest_does_not_depend_on_the_listing(saved, monkeypatch):
    expected = weights_digest(saved[1])
    glob = Path.glob
    monkeypatch.setattr(Path, "glob", lambda self, pattern: reversed(list(glob(self, pattern))))
    assert weights_digest(saved[1]) == expected


def test_digest_sees_one_changed_weight(checkpoint):
    before = weights_digest(checkpoint)
    file = sorted(checkpoint.glob("*.safetensors"))[-1]
    weights = load_file(file)
    next(iter(weights.values())).view(-1)[0] += 1e-3
    save_file(weights, file, metadata={"format": "pt"})
    assert weights_digest(checkpoint) != before


class Payload:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.ckpt"])
def test_pickled_weights_are_refused_unread(checkpoint, tmp_path, name):
    for path in checkpoint.glob("model*"):
        path.unlink()
    (checkpoint / name).write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    with pytest.raises(CheckpointError, match=f"pickled \\({name}\\).*convert them to model.safetensors"):
        load_checkpoint(checkpoint)
    assert not (tmp_path / "ran").exists()


def test_pickled_weights_beside_safetensors_are_left_alone(checkpoint, tmp_path):
    (checkpoint / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    load_checkpoint(checkpoint)
    assert not (tmp_path / "ran").exists()


def write_own_code(checkpoint: Path, **changes: object) -> None:
    """Make the checkpoint name a module of its own, which creates a file when it runs."""
    (checkpoint / "own.py").write_text(f"open({str(checkpoint / 'ran')!r}, 'w')")
    config = json.loads((checkpoint / "config.json").read_text())
    config |= {"auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}, **changes}
    (checkpoint / "config.json").write_text(json.dumps(config))


def test_an_architecture_that_only_its_own_code_knows_is_refused(checkpoint):
    write_own_code(checkpoint, model_type="own")
    with pytest.raises(CheckpointError, match="no architecture 'own', and code that a checkpoint brings is not run"):
        load_checkpoint(checkpoint)
    assert not (checkpoint / "ran").exists()


def test_own_code_for_a_known_architecture_is_not_run(checkpoint):
    write_own_code(checkpoint)
    assert type(load_checkpoint(checkpoint)[0]).__module__.startswith("transformers.")
    assert not (checkpoint / "ran").exists()


OWN_CODE = """
from transformers import GPT2Config, GPT2LMHeadModel
class Config(GPT2Config):
    model_type = "own"
class Model(GPT2LMHeadModel):
    config_class = Config
"""


def test_own_code_runs_where_it_is_trusted(tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    model = tiny_model("gpt2")
    folder = save_checkpoint(model, tmp_path / "model")
    write_own_code(folder, model_type="own")
    (folder / "own.py").write_text(OWN_CODE)
    loaded, _ = load_checkpoint(folder, loading=Loading(trust_remote_code=True))
    assert type(loaded).__name__ == "Model"
    torch.testing.assert_close(loaded(token_ids(9)).logits, model(token_ids(9)).logits)
    write_own_code(folder, auto_map={"AutoModelForCausalLM": "org/elsewhere--own.Model"})
    with pytest.raises(
        CheckpointError, match=r"its code lies in another repository \(org/elsewhere\), which no commit"
    ):
        load_checkpoint(folder, loading=Loading(trust_remote_code=True))


def test_quantization_is_refused_where_it_cannot_be(saved, monkeypatch):
    for bits in ("8bit", "4bit"):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(CheckpointError, match=r"needs bitsandbytes: pip install 'headwise\[quantization\]'"):
            load_checkpoint(saved[1], loading=Loading(quantization=bits))
        monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        with pytest.raises(CheckpointError, match=f"{bits} needs a GPU that torch can use, and there is none"):
            load_checkpoint(saved[1], loading=Loading(quantization=bits))


def test_spreading_needs_accelerate(saved, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match=r"needs accelerate: pip install 'headwise\[accelerate\]'"):
        load_checkpoint(saved[1], loading=Loading(device_map="auto"))


@pytest.mark.parametrize(
    ("kind", "memory"),
    [("llama", None), *((kind, {"cpu": "30KB"}) for kind in ("llama", "gpt2", "bloom"))],
)
def test_a_spread_model_has_the_same_attention_and_leaves_no_files(kind, memory, tmp_path, monkeypatch):
    pytest.importorskip("accelerate", reason="accelerate comes with the extra `test`")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    folder = save_checkpoint(tiny_model(kind), tmp_path / "model")
    taken = []
    for options in ({}, {"loading": Loading(device_map="auto"), "memory": memory}):
        model, _ = load_checkpoint(folder, **options)
        layers = {}
        with capturing(model.base_model, lambda layer, layers=layers: layers.update({layer.layer: layer})):
            model.base_model(input_ids=token_ids(9).to(input_device(model)))
        taken.append(layers)
    assert (memory is None) == (not any(parameter.is_meta for parameter in model.parameters()))
    assert len(list(tmp_path.glob("headwise-offload-*"))) == 1
    for layer, plain in taken[0].items():
        assert torch.equal(taken[1][layer].weights, plain.weights)
        assert torch.equal(taken[1][layer].output_projection, plain.output_projection)
    del model, layers, taken
    gc.collect()
    assert list(tmp_path.glob("headwise-offload-*")) == []


def test_loading_fills_no_log_with_bars(saved, capfd):
    load_checkpoint(saved[1])
    assert "Loading weights" not in capfd.readouterr().err


def test_weights_that_lie_beside_a_checkpoint_are_none_of_it(checkpoint):
    before = weights_digest(checkpoint)
    save_file({"a": torch.ones(2)}, checkpoint / "consolidated.safetensors")
    assert weights_digest(checkpoint) == before
    assert checkpoint / "consolidated.safetensors" not in checkpoint_files(checkpoint)
    assert weights_digest(checkpoint / "config.json") == before


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("config.json", "config.json is missing"),
        ("model*", "model.safetensors is missing"),
        ("model-00002*", "model-00002-of-.* named by model.safetensors.index.json is missing"),
        ("tokenizer*", "tokenizer.json is missing"),
    ],
)
def test_a_missing_file_is_named(checkpoint, pattern, sentence):
    for path in checkpoint.glob(pattern):
        path.unlink()
    with pytest.raises(CheckpointError, match=sentence):
        load_checkpoint(checkpoint)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="absent: there is no such checkpoint folder"):
        load_checkpoint(tmp_path / "absent")


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_an_encoder_is_loaded_as_a_masked_language_model(kind, tmp_path):
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    if kind == "distilbert":
        shape = {"dim": 16, "hidden_dim": 16, "n_heads": 2, "n_layers": 1}
    model = AutoModelForMaskedLM.from_config(AutoConfig.for_model(kind, vocab_size=97, **shape)).eval()
    loaded, _ = load_checkpoint(save_checkpoint(model, tmp_path))
    assert type(loaded) is type(model)
    tokens = torch.arange(3, 9)[None]
    assert torch.equal(loaded(tokens).logits, model(tokens).logits)


def test_a_model_of_two_stacks_is_refused(tmp_path):
    config = T5Config(vocab_size=97, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    folder = save_checkpoint(T5ForConditionalGeneration(config), tmp_path)
    with pytest.raises(CheckpointError, match=r"config\.json: t5 is an encoder with a decoder"):
        load_checkpoint(folder)
