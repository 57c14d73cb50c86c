"""Training small decoders: one factor, bit-reproducible, all or nothing."""

import json
import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from models_examples import decoder, training, write_corpus, write_tokenizer
from pydantic import ValidationError
from transformers import LlamaConfig, LlamaForCausalLM

from headwise.models import save
from headwise.models.checkpoint import weights_digest
from headwise.models.corpus import CorpusError, read_documents
from headwise.models.excerpts import evaluate, spread_excerpts, take_excerpts, token_stream, unigram_entropy
from headwise.models.load import load_checkpoint
from headwise.models.optimization import TrainingError, adamw, learning_rate_at
from headwise.models.tokenizer import load_tokenizer, tokenizer_digest
from headwise.models.train import train_model
from headwise.models.zoo import build_decoder
from headwise.runtime.parquet import read_metadata
from headwise.runtime.provenance import file_digest

METADATA = {"study": "tiny", "model": "base", "seed": 1}


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory, documents):
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"), documents)


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder):
    return load_tokenizer(tokenizer_folder)


@pytest.fixture(scope="module")
def train(documents, tokenizer_folder):
    """Train with changed settings into a folder."""

    def run(folder, seed=1, shape=None, **changes):
        settings = training(**changes)
        files = {"checkpoint": folder / "model", "curve": folder / "curve.parquet"}
        train_model(documents, tokenizer_folder, shape or decoder(), settings, seed=seed, **files, metadata=METADATA)
        return folder

    return run


@pytest.fixture(scope="module")
def trained(train, tmp_path_factory):
    return train(tmp_path_factory.mktemp("trained"), steps=60)


# -- the zoo


def test_shapes_differ_in_keys_and_values_alone(tokenizer):
    base = build_decoder(decoder(), tokenizer, seed=1).state_dict()
    for heads in (1, 2):
        other = build_decoder(decoder(key_value_heads=heads), tokenizer, seed=1).state_dict()
        assert base.keys() == other.keys()
        for name in base:
            if name.endswith(("k_proj.weight", "v_proj.weight")):
                assert other[name].shape == (8 * heads, 32)
            else:
                assert other[name].shape == base[name].shape


def test_a_window_changes_no_weight(tokenizer):
    base = build_decoder(decoder(), tokenizer, seed=1)
    windowed = build_decoder(decoder(window=8), tokenizer, seed=1)
    assert type(base) is type(windowed)
    assert all(torch.equal(*pair) for pair in zip(base.parameters(), windowed.parameters(), strict=True))


def test_without_a_window_the_decoder_is_llama(tokenizer):
    model = build_decoder(decoder(key_value_heads=2), tokenizer, seed=1).eval()
    fields = {name: value for name, value in model.config.to_dict().items() if name in LlamaConfig().to_dict()}
    del fields["model_type"], fields["architectures"]
    llama = LlamaForCausalLM(LlamaConfig(**fields)).eval()
    llama.load_state_dict(model.state_dict())
    tokens = torch.arange(60).view(2, 30)
    assert torch.equal(model(tokens).logits, llama(tokens).logits)


def test_a_window_hides_what_lies_before_it(tokenizer):
    """Through two layers with a window of 5, a token reaches 2 × 4 positions ahead and no further."""
    tokens = torch.arange(30)[None]
    changed = tokens.clone()
    changed[0, 0] = 99
    for window, reach in ((5, 8), (None, 29)):
        model = build_decoder(decoder(window=window), tokenizer, seed=1).eval()
        differs = (model(tokens).logits != model(changed).logits).any(-1)[0]
        assert differs.nonzero().max() == reach


def test_a_window_longer_than_the_text_changes_nothing(tokenizer):
    tokens = torch.arange(30)[None]
    logits = [build_decoder(decoder(window=w), tokenizer, 1).eval()(tokens).logits for w in (None, 30, 29)]
    assert torch.equal(logits[0], logits[1])
    assert not torch.equal(logits[0], logits[2])


def test_weights_come_from_the_seed_and_leave_the_random_state_alone(tokenizer):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one, two = (build_decoder(decoder(), tokenizer, seed).lm_head.weight for seed in (1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one, build_decoder(decoder(), tokenizer, 1).lm_head.weight)
    assert not torch.equal(one, two)
    assert one.dtype == torch.float32
    assert one.std().item() == pytest.approx(math.sqrt(2 / (5 * 32)), rel=0.05)


# -- GPT-2 and attention alone


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_attention_alone_trains_without_ever_using_a_feed_forward_layer(train, tmp_path, architecture):
    train(tmp_path, shape=decoder(architecture=architecture, feed_forward=0), weight_decay=0.1, decayed="all")
    model, _ = load_checkpoint(tmp_path / "model")
    assert not any(weights.any() for name, weights in model.state_dict().items() if "mlp." in name)
    assert facts_of(tmp_path)["training"]["held_out_loss_nats"] < math.log(400)
    written = []
    for path, layer in model.named_modules():
        if path.endswith(".mlp"):
            layer.register_forward_hook(lambda module, inputs, output: written.append(output.abs().max().item()))
    model(torch.arange(20)[None])
    assert written == [0.0, 0.0]


def test_gpt2_is_the_published_architecture(tokenizer):
    """Learned positions, LayerNorm, exact GELU, separate matrices at both ends, deviation 0.8 / sqrt(hidden)."""
    model = build_decoder(decoder(architecture="gpt2"), tokenizer, seed=1).eval()
    assert model.config.activation_function == "gelu"
    assert {type(module).__name__ for module in model.modules()} >= {"LayerNorm", "GELUActivation"}
    assert model.transformer.wpe.weight.shape == (64, 32)
    assert model.lm_head.weight is not model.transformer.wte.weight
    assert model.transformer.h[0].attn.c_attn.weight.std().item() == pytest.approx(0.8 / math.sqrt(32), rel=0.05)
    assert model.training is False
    tokens = torch.arange(20)[None]
    assert torch.equal(model.train()(tokens).logits, model.eval()(tokens).logits)  # no dropout


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": 8}, "architecture gpt2 has neither a window nor shared key_value_heads"),
        ({"key_value_heads": 2}, "architecture gpt2 has neither a window nor shared key_value_heads"),
        ({"hidden": 40}, "4 heads of head_width 8 are not hidden 40"),
    ],
)
def test_what_gpt2_cannot_be_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        decoder(architecture="gpt2", **changes)


# -- excerpts


def test_the_stream_is_all_documents_with_bos_before_each(documents, tokenizer):
    texts = [document.text for document in read_documents(documents, "held_out")]
    stream = token_stream(documents, tokenizer, "held_out", at_least=1)
    assert tokenizer.decode(stream) == "".join(f"<|bos|>{text}" for text in texts)


def test_targets_are_the_tokens_that_follow():
    inputs, targets = take_excerpts(torch.arange(100, 150), torch.tensor([0, 7]), tokens=4, first=[1])
    assert inputs.tolist() == [[1, 100, 101, 102], [1, 107, 108, 109]]
    assert targets.tolist() == [[100, 101, 102, 103], [107, 108, 109, 110]]


def test_unigram_entropy_is_the_definition():
    train, targets = [0, 0, 1, 2, 2, 2], [0, 3, 2]
    counts = Counter(train)
    expected = -np.mean([np.log((counts[token] + 1) / (len(train) + 5)) for token in targets])
    assert unigram_entropy(torch.tensor(train), torch.tensor(targets), 5) == pytest.approx(expected, abs=1e-12)


# -- the optimizer


def test_learning_rate_rises_in_a_line_and_falls_as_a_cosine():
    rates = [learning_rate_at(step, 100, 20, 3e-3) for step in range(100)]
    assert np.diff(rates[:21]) == pytest.approx(3e-3 / 21)
    assert rates[20] == 3e-3
    assert rates[60] == pytest.approx(1.5e-3)
    assert 0 < rates[99] < 1e-5
    assert learning_rate_at(0, 100, 0, 3e-3) == 3e-3


def test_weight_decay_spares_the_gains_of_norms(tokenizer):
    model = build_decoder(decoder(), tokenizer, 1)
    decayed, spared = adamw(model, weight_decay=0.1).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert {name for name in names.values() if "norm" in name} == {names[id(p)] for p in spared["params"]}
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)


def test_all_parameters_decay_on_request(tokenizer):
    model = build_decoder(decoder(), tokenizer, 1)
    decayed, spared = adamw(model, 0.1, decayed="all").param_groups
    assert (len(decayed["params"]), len(spared["params"])) == (len(list(model.parameters())), 0)


def test_a_constant_schedule_stays_at_the_peak():
    rates = [learning_rate_at(step, 100, 20, 3e-3, "constant") for step in range(100)]
    assert rates[:20] == [learning_rate_at(step, 100, 20, 3e-3) for step in range(20)]
    assert set(rates[20:]) == {3e-3}


def test_adam_is_adamw_without_decay(train, tmp_path):
    changes = {"schedule": "constant", "second_moment": 0.999, "gradient_norm": None, "warmup": 0}
    train(tmp_path / "adam", optimizer="adam", **changes)
    train(tmp_path / "adamw", optimizer="adamw", **changes)
    train(tmp_path / "decayed", optimizer="adamw", weight_decay=0.5, **changes)
    adam, adamw_, decayed = (load_checkpoint(tmp_path / name / "model")[0] for name in ("adam", "adamw", "decayed"))
    for one, other in zip(adam.parameters(), adamw_.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)
    assert sum(p.norm() for p in decayed.parameters()) < sum(p.norm() for p in adam.parameters())
    with pytest.raises(ValidationError, match="optimizer adam takes no weight_decay"):
        training(optimizer="adam", weight_decay=0.1)


# -- training


def test_two_runs_give_the_same_bytes_and_another_seed_gives_others(train, tmp_path):
    one, again, other = train(tmp_path / "1"), train(tmp_path / "2"), train(tmp_path / "3", seed=2)
    for name in ("model/model.safetensors", "model/facts.json", "model/config.json", "curve.parquet"):
        assert (one / name).read_bytes() == (again / name).read_bytes()
    assert weights_digest(one / "model") != weights_digest(other / "model")


def test_training_leaves_threads_and_random_state_alone(train, tmp_path):
    torch.manual_seed(5)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    train(tmp_path, steps=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def facts_of(folder):
    """What is recorded about a model that `train` made."""
    return json.loads((folder / "model" / "facts.json").read_text())


def test_the_model_learns_more_than_how_frequent_tokens_are(trained):
    facts = facts_of(trained)["training"]
    assert facts["held_out_loss_nats"] < facts["unigram_entropy_nats"] - 0.5


def test_the_checkpoint_is_the_model_that_was_evaluated(trained, documents):
    model, tokenizer = load_checkpoint(trained / "model")
    stream = token_stream(documents, tokenizer, "held_out", at_least=32)
    facts = facts_of(trained)
    count = min(64, len(stream) // 32)
    excerpts = take_excerpts(stream, torch.arange(count) * (len(stream) // count), 32, [tokenizer.bos_token_id])
    assert evaluate(model, excerpts) == pytest.approx(facts["training"]["held_out_loss_nats"], abs=1e-6)


def test_facts_name_what_the_model_comes_from(trained, documents, tokenizer_folder):
    facts = facts_of(trained)
    assert facts["model"] == METADATA
    assert facts["architecture"]["attention"] == "multi-head"
    assert facts["training"]["steps"] == 60
    assert facts["corpus_digest"] == file_digest(documents)
    assert facts["tokenizer_digest"] == tokenizer_digest(tokenizer_folder) == tokenizer_digest(trained / "model")
    assert facts["weights_digest"] == weights_digest(trained / "model")


def test_the_curve_has_each_step_and_each_evaluation(train, tmp_path):
    curve = pd.read_parquet(train(tmp_path) / "curve.parquet")
    assert list(curve) == ["step", "split", "loss_nats", "learning_rate"]
    assert curve.step[curve.split == "train"].tolist() == list(range(8))
    assert curve.step[curve.split == "held_out"].tolist() == [0, 4, 8]
    assert curve.learning_rate[curve.split == "train"].tolist() == [
        learning_rate_at(step, 8, 2, 5e-3) for step in range(8)
    ]
    # An untrained model with small weights is close to guessing among all 400 tokens.
    assert curve.loss_nats[0] == pytest.approx(math.log(400), abs=0.3)
    carried = read_metadata(tmp_path / "curve.parquet")
    assert METADATA.items() <= carried.items()
    assert carried["weights_digest"] == weights_digest(tmp_path / "model")


@pytest.fixture(scope="module")
def with_validation(tmp_path_factory):
    """Text with a validation split, its tokenizer, and training on it."""
    folder = tmp_path_factory.mktemp("validation")
    documents = write_corpus(folder, validation=0.2)
    tokenizer = write_tokenizer(folder, documents)

    def run(name, **changes):
        files = {"checkpoint": folder / name, "curve": folder / f"{name}.parquet"}
        train_model(documents, tokenizer, decoder(), training(**changes), seed=1, **files, metadata=METADATA)
        facts = json.loads((folder / name / "facts.json").read_text())["training"]
        return folder / name, pd.read_parquet(files["curve"]), facts

    return run, documents, load_tokenizer(tokenizer)


def test_training_stops_at_the_first_evaluation_at_the_declared_loss(with_validation):
    run, documents, tokenizer = with_validation
    changes = {"steps": 60, "evaluate_every": 5}
    _, curve, facts = run("whole", until_loss=0.01, **changes)
    assert (facts["steps"], facts["reached"]) == (60, False)
    validation = curve[curve.split == "validation"].set_index("step").loss_nats
    assert list(validation.index) == list(range(0, 61, 5))
    declared = float(validation[30])
    first = int(validation.index[validation <= declared][0])
    stopped, shorter, facts = run("stopped", until_loss=declared, **changes)
    assert (facts["steps"], facts["reached"]) == (first, True)
    # Up to there they are one training: the schedule of the learning rate is that of all steps.
    assert shorter[shorter.step < first].equals(curve[curve.step < first].reset_index(drop=True))
    # The loss is that of the kept weights, on text that neither training nor other losses read.
    model, _ = load_checkpoint(stopped, head=True)
    tokens = training().tokens
    excerpts = spread_excerpts(
        token_stream(documents, tokenizer, "validation", tokens), tokens, [tokenizer.bos_token_id]
    )
    assert evaluate(model, excerpts) == pytest.approx(facts["validation_loss_nats"], abs=1e-6)
    assert facts["validation_loss_nats"] <= declared


def test_kept_checkpoints_are_the_model_after_so_many_steps(with_validation):
    run, *_ = with_validation
    long, *_ = run("kept", steps=12, schedule="constant", checkpoints=[0, 8])
    for step in (0, 8):
        facts = json.loads((long / f"step{step}" / "facts.json").read_text())
        assert (facts["step"], facts["weights_digest"]) == (step, weights_digest(long / f"step{step}"))
    short, *_ = run("short", steps=8, schedule="constant")
    assert weights_digest(long / "step8") == weights_digest(short) != weights_digest(long)
    model, _ = load_checkpoint(long / "step0", head=True)
    fresh = build_decoder(decoder(), load_tokenizer(long), seed=1)
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), fresh.parameters(), strict=True))


@pytest.mark.parametrize("checkpoints", [[9], [0, 0], [-1]])
def test_checkpoints_are_steps_of_the_training_each_once(checkpoints):
    with pytest.raises(ValidationError, match="checkpoints"):
        training(steps=8, checkpoints=checkpoints)


def test_a_loss_that_is_not_finite_stops_and_leaves_nothing(train, tmp_path):
    with pytest.raises(TrainingError, match=r"the loss is nan at step \d with learning rate .*: lower the"):
        train(tmp_path / "out", learning_rate=1e30, warmup=0)
    assert not (tmp_path / "out").exists()


def test_an_interrupted_save_leaves_nothing(train, tmp_path, monkeypatch):
    def interrupted(config):
        raise KeyboardInterrupt

    monkeypatch.setattr(save, "architecture_facts", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, steps=1)
    assert list(tmp_path.iterdir()) == []


def test_excerpts_longer_than_the_positions_are_an_error(train, tmp_path):
    with pytest.raises(TrainingError, match=r"training.tokens 65 is more than decoder.positions 64: shorten"):
        train(tmp_path, tokens=65)


def test_a_corpus_shorter_than_an_excerpt_is_an_error(train, tmp_path):
    with pytest.raises(CorpusError, match=r"'held_out' has \d+ tokens and an excerpt 9999"):
        train(tmp_path, shape=decoder(positions=9999), tokens=9999)
