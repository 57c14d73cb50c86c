"""Kinds of models that are not one stack over a text are refused from config.json alone, and nothing else is."""

from pathlib import Path

import pytest
import torch
from attention_examples import WIDE, save_checkpoint, token_ids, word_tokenizer
from transformers import (
    AlbertConfig,
    AutoModel,
    BertConfig,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
)

from headwise.analyses.specialization.settings import Specialization
from headwise.attention.layers import CaptureError
from headwise.models.architecture import language_model_class
from headwise.models.checks import check_config
from headwise.models.headers import CheckpointError
from headwise.models.load import load_checkpoint
from headwise.pair import compare_checkpoints
from headwise.study.comparison import Comparison
from headwise.study.extraction import Extraction

CONFIG = Path("model/config.json")
SMALL = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"model_type": "t5", "is_encoder_decoder": True}, "t5 is an encoder with a decoder"),
        (
            {"model_type": "gemma3", "text_config": SMALL, "vision_config": {}},
            r"gemma3 is multimodal \(vision_config\)",
        ),
        ({"model_type": "qwen2_audio", "text_config": SMALL, "audio_config": {}}, "multimodal"),
        (
            {"model_type": "phi4_multimodal", **SMALL, "vision_config": {}, "audio_config": {}},
            "vision_config, audio_config",
        ),
        ({"model_type": "emu3", "text_config": SMALL, "vq_config": {}}, "multimodal"),
    ],
)
def test_refused_from_the_configuration_alone(content, sentence):
    with pytest.raises(CheckpointError, match=rf"^model/config.json: .*{sentence}.*: choose a checkpoint"):
        check_config(content, CONFIG)


@pytest.mark.parametrize(
    "content",
    [
        {"model_type": "gemma3_text"},
        {"model_type": "fuyu", "text_config": SMALL},  # its images are tokens of the one stack
        {"model_type": "llama", "vision_config": None},
        {"model_type": "bert", "is_decoder": True, "is_encoder_decoder": False},
        {"model_type": "bart", "is_decoder": True},
    ],
)
def test_not_refused(content):
    check_config({**SMALL, **content}, CONFIG)


def wrapper(kind: str) -> torch.nn.Module:
    text = {**WIDE, "num_hidden_layers": 2, "num_key_value_heads": 2, "head_dim": 8}
    vision = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=8)
    vision |= dict(patch_size=4)
    if kind == "gemma3":
        config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=96)
        return Gemma3ForConditionalGeneration(config)
    if kind == "llava":
        parts = {"text_config": {**text, "model_type": "llama"}}
        parts |= {"vision_config": {**vision, "model_type": "clip_vision_model"}}
        return LlavaForConditionalGeneration(LlavaConfig(**parts, image_token_index=96))
    parts = {"text_config": {**text, "model_type": "mistral"}}
    parts |= {"vision_config": {**vision, "model_type": "pixtral", "head_dim": 8}}
    return Mistral3ForConditionalGeneration(Mistral3Config(**parts, image_token_index=96))


def test_a_pair_is_refused_before_its_base_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr("headwise.pair.measure_checkpoint", lambda *_: pytest.fail("measured"))
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"id": "a", "domain": "d", "text": "w5 w6 w7"}\n{"id": "b", "domain": "e", "text": "w7 w6"}\n')
    folders = [
        save_checkpoint(language_model_class(config).from_config(config), tmp_path / config.model_type)
        for config in (BertConfig(**WIDE), AlbertConfig(**WIDE))
    ]
    with pytest.raises(CaptureError, match="'albert': by its configuration 3 layers have attention, and 1 modules"):
        compare_checkpoints(*folders, prompts, tmp_path, Extraction(), Specialization(), Comparison())


@pytest.mark.parametrize("kind", ["gemma3", "llava", "mistral3"])
def test_the_advice_works(kind, tmp_path):
    folder, another = tmp_path / "whole", tmp_path / "text"
    wrapper(kind).save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    with pytest.raises(CheckpointError, match=f"{kind} is multimodal"):
        load_checkpoint(folder)
    whole = AutoModel.from_pretrained(folder).eval()
    whole.language_model.save_pretrained(another)
    word_tokenizer().save_pretrained(another)
    model, _ = load_checkpoint(another)
    ids = token_ids(9)
    with torch.no_grad():
        assert torch.equal(model.base_model(input_ids=ids)[0], whole(input_ids=ids)[0])
