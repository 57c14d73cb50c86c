"""The public functions for Python: the same as the commands, and as what transformers computes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_examples import PROMPTS, headwise, write_checkpoint
from transformers import AutoModelForCausalLM, AutoTokenizer

import headwise as library


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small checkpoints, one of which has a copy with its heads in another order, and prompts."""
    folder = tmp_path_factory.mktemp("work")
    write_checkpoint(folder / "one", seed=1)
    write_checkpoint(folder / "two", seed=2)
    write_checkpoint(folder / "shuffled", seed=1)
    model = AutoModelForCausalLM.from_pretrained(folder / "shuffled")
    rows = torch.arange(16).view(4, 4)[[2, 0, 3, 1]].flatten()
    with torch.no_grad():
        for layer in model.model.layers:
            attention = layer.self_attn
            for module in (attention.q_proj, attention.k_proj, attention.v_proj):
                module.weight.copy_(module.weight[rows].clone())
            attention.o_proj.weight.copy_(attention.o_proj.weight[:, rows].clone())
    model.save_pretrained(folder / "shuffled")
    (folder / "prompts.txt").write_text(PROMPTS)
    return folder


def test_the_package_offers_these_functions_and_no_others() -> None:
    assert library.__all__ == ["compare", "extract", "findings", "look", "noise", "stability"]
    with pytest.raises(AttributeError, match="has no attribute 'absent'"):
        library.absent  # noqa: B018


def test_compare_gives_the_rows_that_the_command_prints(workplace: Path) -> None:
    prompts = workplace / "prompts.txt"
    frame = library.compare(workplace / "one", workplace / "two", prompts, estimators=["hellinger"])
    done = headwise(
        *("compare", workplace / "one", workplace / "two", "--prompts", prompts),
        *("--estimators", "hellinger", "--json"),
    )
    printed = json.loads(done.stdout)
    assert [row["delta_absolute"] for row in printed] == frame["delta_absolute"].tolist()
    assert {"base_value", "aligned_value", "p", "p_attainable"} <= set(frame.columns)


@torch.no_grad()
def test_look_gives_the_attention_of_transformers(workplace: Path) -> None:
    text = "Some text."
    frame = library.look(workplace / "one", text, layer=1, head=2)
    model = AutoModelForCausalLM.from_pretrained(workplace / "one", attn_implementation="eager").eval()
    ids = AutoTokenizer.from_pretrained(workplace / "one")(text, return_tensors="pt")["input_ids"]
    expected = model(ids, output_attentions=True).attentions[1][0, 2].numpy()
    found = np.zeros_like(expected)
    found[frame["query"], frame["key"]] = frame["weight"]
    assert found == pytest.approx(expected, abs=1e-6)
    assert frame.groupby("query")["weight"].sum().to_numpy() == pytest.approx(1, abs=1e-6)
    assert "".join(frame.drop_duplicates("query")["query_token"]).endswith(text)


@pytest.mark.parametrize(
    ("layer", "head", "sentence"), [(7, 0, "no attention in layer 7"), (0, 9, "layer 0 has no head 9")]
)
def test_look_says_which_heads_there_are(workplace: Path, layer: int, head: int, sentence: str) -> None:
    done = headwise("look", workplace / "one", layer, head, "--text", "Some text.")
    assert done.exit_code == 2
    assert sentence in done.stderr


def test_look_draws_the_head(workplace: Path, tmp_path: Path) -> None:
    figure = tmp_path / "head.svg"
    done = headwise("look", workplace / "one", 0, 1, "--text", "Some text.", "--figure", figure)
    assert done.exit_code == 0, done.output
    assert figure.read_text(encoding="utf-8").startswith("<svg")
    assert "attends most to" in done.stdout
    refused = headwise("look", workplace / "one", 0, 1, "--text", "x", "--figure", tmp_path / "head.gif")
    assert "ends with none of .svg" in refused.stderr


def test_heads_in_another_order_are_matched_and_those_of_another_refit_less(workplace: Path) -> None:
    prompts = workplace / "prompts.txt"
    same = library.stability([workplace / "one", workplace / "shuffled"], prompts)
    assert set(same["measure"]) == {"cosine", "cosine_without_bos", "cosine_row_centred", "writes_cka"}
    assert same["value"].astype(float).to_numpy() == pytest.approx(1, abs=1e-3)  # attention is kept as float16
    other = library.stability([workplace / "one", workplace / "two"], prompts)
    centred = other[other["measure"].eq("cosine_row_centred") & other["layer"].isna()]["value"].item()
    assert centred < 0.9
    with pytest.raises(ValueError, match="one refit has nothing to be compared with: give two"):
        library.stability([workplace / "one"], prompts)
    with pytest.raises(ValueError, match="have the same weights"):
        library.stability([workplace / "one", workplace / "one"], prompts)


@torch.no_grad()
def test_noise_raises_the_loss_on_a_text_and_none_would_not(workplace: Path) -> None:
    """Noise of nearly no size changes rounding alone."""
    text = workplace / "text.txt"
    text.write_text("Some words that go on and on, and then some more of them. " * 20)
    frame = library.noise(workplace / "one", text, sites=["keys"], sigmas=[1e-6, 3.0], draws=3, excerpts=2, tokens=16)
    rises = frame.set_index("sigma")["delta_nll_nats"]
    assert abs(rises[1e-6]) < 1e-5
    assert abs(rises[3.0]) > 1e-5
    assert set(frame["unit"]) == {"draw"}
    done = headwise("noise", workplace / "one", text, "--sites", "keys", "--draws", "2", "--tokens", "16")
    assert done.exit_code == 0, done.output
    assert "keys" in done.stdout
    refused = headwise("noise", workplace / "one", text, "--sites", "nowhere")
    assert refused.exit_code == 2
    assert "nowhere" in refused.stderr or "sites" in refused.stderr
