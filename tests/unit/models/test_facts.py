"""A study's statements about a model, against its config.json."""

from pathlib import Path

import pytest
from transformers import Gemma2Config, GPT2Config, LlamaConfig, MambaConfig

from headwise.models.checkpoint import CheckpointError
from headwise.models.facts import verify_facts
from headwise.study.models import Facts

LLAMA_2 = Facts(
    parameters=6_738_415_616, layers=32, hidden=4096, heads=32, key_value_heads=32, head_width=128, window=None
)


def saved(config, folder: Path) -> Path:
    config.save_pretrained(folder)
    return folder / "config.json"


def test_facts_of_the_model_pass(tmp_path: Path) -> None:
    verify_facts(saved(LlamaConfig(), tmp_path), LLAMA_2)
    for right in ({"parameters": 6_700_000_000}, {"model_type": "llama"}):
        verify_facts(saved(LlamaConfig(), tmp_path), LLAMA_2.model_copy(update=right))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"model_type": "mistral"}, "model_type is mistral in the study and llama in config.json"),
        ({"heads": 16}, "heads is 16 in the study and 32 in config.json"),
        ({"window": 4096}, "window is 4096 in the study and None in config.json"),
        ({"parameters": 13_000_000_000}, "parameters are 13000000000 in the study and 6738415616 by config.json"),
    ],
)
def test_another_model_than_the_study_says_is_refused(wrong: dict, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        verify_facts(saved(LlamaConfig(), tmp_path), LLAMA_2.model_copy(update=wrong))


def test_every_difference_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as refusal:
        verify_facts(saved(GPT2Config(), tmp_path), LLAMA_2)
    assert all(field in str(refusal.value) for field in ("layers is", "hidden is", "head_width is", "correct `facts`"))


def test_the_smallest_window_counts(tmp_path: Path) -> None:
    config = saved(Gemma2Config(), tmp_path)
    facts = Facts(parameters=2_614_341_888, layers=26, hidden=2304, heads=8, key_value_heads=4, head_width=256)
    with pytest.raises(CheckpointError, match="window is None in the study and 4096"):
        verify_facts(config, facts)
    verify_facts(config, facts.model_copy(update={"window": 4096}))


def test_an_architecture_without_facts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be compared with `facts` of the study: mamba"):
        verify_facts(saved(MambaConfig(), tmp_path), LLAMA_2)
