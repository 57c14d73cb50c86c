"""Tokenizers from their files: the same tokens as transformers gives, without it; damage is a sentence."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from attention_examples import tiny_model
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from headwise.models.encoding import EncodingError, encode, limits_of
from headwise.models.headers import CheckpointError
from headwise.models.limits import Limits
from headwise.models.load import load_checkpoint
from headwise.models.templates import ChatTemplateError
from headwise.models.tokenizer import read_tokenizer
from headwise.models.vocabulary import check_tokenizer, encode_from_files, read_encoder
from headwise.study.extraction import Extraction
from headwise.study.prompts import Prompt, PromptError

TEXTS = [
    "The river follows the road once a year.",
    "In 1234 there were 56 birds, 7 clocks and <tool> 89 letters!",
    "  Don't lose ünïcödé — 文字\n\n\tor <s> special </s> tokens  ",
]
PROMPTS = [Prompt(f"p{number}", "d", text) for number, text in enumerate(TEXTS)]
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]
NAMES = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
CHAT = "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}{% endfor %}{{ cls_token }}"


def byte_level() -> Tokenizer:
    encoder = Tokenizer(models.BPE())
    # What GPT2Tokenizer of transformers 5 leaves out: digits one by one.
    encoder.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    encoder.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    encoder.train_from_iterator(
        TEXTS * 3,
        trainers.BpeTrainer(vocab_size=330, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False),
    )
    return encoder


def framed() -> Tokenizer:
    encoder = byte_level()
    encoder.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    encoder.enable_truncation(max_length=4)
    encoder.enable_padding(length=50)
    return encoder


def word_pieces() -> Tokenizer:
    encoder = Tokenizer(models.WordPiece(unk_token="<unk>"))
    encoder.normalizer, encoder.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    encoder.train_from_iterator(TEXTS, trainers.WordPieceTrainer(vocab_size=90, special_tokens=SPECIAL))
    encoder.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return encoder


def unigram() -> Tokenizer:
    encoder = Tokenizer(models.Unigram())
    encoder.pre_tokenizer = pre_tokenizers.Metaspace()
    encoder.train_from_iterator(
        TEXTS, trainers.UnigramTrainer(vocab_size=80, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False)
    )
    return encoder


KINDS = {"bytes": byte_level, "framed": framed, "word pieces": word_pieces, "unigram": unigram}


def save(folder: Path, encoder: Tokenizer, *, names=NAMES, template: object = CHAT, **settings: object) -> Path:
    """The files of a tokenizer as publishers write them, beside a config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({**names, "chat_template": template, **settings}))
    config = {"model_type": "llama", "vocab_size": 1000, "max_position_embeddings": 2000}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("class_name", [None, "PreTrainedTokenizerFast", "GPT2Tokenizer", "LlamaTokenizerFast"])
def test_tokens_are_those_of_tokenizer_json(kind, class_name, tmp_path):
    """Whatever class is named: read by `tokenizers` itself, by us in memory and from files, all the same."""
    named = {} if class_name is None else {"tokenizer_class": class_name}
    folder = save(tmp_path / "model", KINDS[kind](), template=CHAT.removesuffix("{{ cls_token }}"), **named)
    tokenizer = read_tokenizer(folder)
    plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
    plain.no_truncation()
    plain.no_padding()
    for template, texts in (("raw", TEXTS), ("chat", [f"<s><|user|>{text}</s>" for text in TEXTS])):
        settings = Extraction(template=template, max_tokens=1000)
        expected = [plain.encode(text, add_special_tokens=template == "raw").ids for text in texts]
        for encoded in (encode(PROMPTS, tokenizer, settings, Limits()), encode_from_files(folder, PROMPTS, settings)):
            assert [prompt.token_ids for prompt in encoded] == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first_token", ["tokenizer", "none", "bos"])
def test_first_tokens_from_files_are_those_in_memory(kind, first_token, tmp_path):
    folder = save(tmp_path, KINDS[kind]())
    settings = Extraction(first_token=first_token, max_tokens=1000)
    assert encode_from_files(folder, PROMPTS, settings) == encode(PROMPTS, read_tokenizer(folder), settings, Limits())


def write_templates(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("<s>{{ messages[0].content }}", encoding="utf-8")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "rag.jinja").write_text("rag")


@pytest.mark.parametrize(
    ("fields", "files"),
    [
        ({"names": {name: {"__type": "AddedToken", "content": token} for name, token in NAMES.items()}}, {}),
        ({"names": {}}, {"special_tokens_map.json": NAMES}),
        ({"names": {}}, {"special_tokens_map.json": {**NAMES, "bos_token": {"content": "<s>", "lstrip": False}}}),
        ({"added_tokens_decoder": {"901": {"content": "<tool>", "special": False}, "900": {"content": "ünï"}}}, {}),
        ({"additional_special_tokens": ["<|user|>", "letters"]}, {}),
        ({"extra_special_tokens": {"tool_token": "<tool>"}, "template": CHAT + "{{ tool_token }}"}, {}),
        ({"tool_token": "<tool>", "add_bos_token": True, "template": CHAT + "{{ tool_token }}"}, {}),
        ({"names": {**NAMES, "cls_token": "[CLS]"}}, {}),
        ({"names": {}}, {"added_tokens.json": {"<tool>": 901, "ünï": 900}}),
        ({"template": [{"name": "rag", "template": "a"}, {"name": "default", "template": CHAT}]}, {}),
        ({}, write_templates),
    ],
)
def test_what_stands_beside_tokenizer_json_counts_as_in_transformers(fields, files, tmp_path):
    folder = save(tmp_path, framed(), **fields)
    if callable(files):
        files(folder)
    else:
        for name, content in files.items():
            (folder / name).write_text(json.dumps(content))
    theirs = AutoTokenizer.from_pretrained(folder)
    assert type(theirs) is PreTrainedTokenizerFast
    raw, chat = (Extraction(template=template, max_tokens=1000) for template in ("raw", "chat"))
    expected = [theirs(text)["input_ids"] for text in TEXTS]
    assert [each.token_ids for each in encode_from_files(folder, PROMPTS, raw)] == expected
    expected = [
        theirs.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, tokenize=True, return_dict=False
        )
        for text in TEXTS
    ]
    assert [each.token_ids for each in encode_from_files(folder, PROMPTS, chat)] == expected


def test_what_takes_more_than_tokenizer_json_is_left_to_loading(tmp_path):
    folder = save(tmp_path, framed(), names={}, tokenizer_class="GPT2Tokenizer")
    assert encode_from_files(folder, PROMPTS, Extraction())
    # GPT2Tokenizer has a BOS token of its own where the files name none.
    assert encode_from_files(folder, PROMPTS, Extraction(first_token="bos")) is None
    assert encode_from_files(folder, PROMPTS, Extraction(template="chat")) is None
    save(folder, framed(), auto_map={"AutoTokenizer": ["own.Tokenizer", None]})
    assert read_encoder(folder) is None
    (folder / "tokenizer.json").unlink()
    save(folder / "words", framed())
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "tokenizer.model").write_bytes(b"\x0a\x0b")
    assert encode_from_files(folder, PROMPTS, Extraction()) is None


def test_limits_are_known_from_files(tmp_path):
    folder = save(tmp_path, framed())
    for config, settings, error, reason in (
        ({"vocab_size": 330}, {}, None, ""),
        (
            {"vocab_size": 50},
            {},
            EncodingError,
            r"p0' holds token \d+ \('.*'\), and the embedding of the model has 50 rows",
        ),
        ({"max_position_embeddings": 20}, {}, PromptError, "more than the model's 20 positions"),
        ({"text_config": {"model_type": "llama", "max_position_embeddings": 20}}, {}, PromptError, "20 positions"),
        ({}, {"max_tokens": 16}, PromptError, "prompt 'p0' has .* more than max_tokens 16"),
    ):
        content = {"model_type": "llama", "vocab_size": 1000, "max_position_embeddings": 2000, **config}
        (folder / "config.json").write_text(json.dumps(content))
        settings = Extraction(**{"max_tokens": 1000, **settings})
        if error is None:
            assert len(encode_from_files(folder, PROMPTS, settings)) == 3
            continue
        with pytest.raises(error, match=reason):
            encode_from_files(folder, PROMPTS, settings)
    with pytest.raises(ChatTemplateError, match="does not parse"):
        encode_from_files(save(tmp_path / "other", framed(), template="{{"), PROMPTS, Extraction(template="chat"))


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
WHOLE = b'{"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}'


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("tokenizer.json", POINTER, r"tokenizer\.json: a pointer of git-LFS"),
        ("tokenizer.model", POINTER, r"tokenizer\.model: a pointer of git-LFS"),
        ("chat_template.jinja", POINTER, r"chat_template\.jinja: a pointer of git-LFS"),
        ("tokenizer.json", WHOLE[:60], r"tokenizer\.json: damaged: not valid JSON"),
        ("tokenizer_config.json", b'{"a": ', r"tokenizer_config\.json: damaged"),
        ("special_tokens_map.json", b"[]", r"special_tokens_map\.json: holds no JSON object"),
        ("tokenizer.json", WHOLE.replace(b"BPE", b"New"), r"tokenizer\.json: no tokenizer that tokenizers .* reads"),
        ("tokenizer.json", b"{}", r"tokenizer\.json: no tokenizer that tokenizers .* reads"),
        ("tokenizer.json", None, r"tokenizer\.json is missing, and so is every other file that holds words"),
    ],
)
@pytest.mark.parametrize("read", [check_tokenizer, read_encoder, read_tokenizer])
def test_a_damaged_file_is_named(name, content, reason, read, tmp_path):
    folder = save(tmp_path, framed(), tokenizer_class="LlamaTokenizer")
    read(folder)
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=reason):
        read(folder)


@pytest.mark.parametrize("class_name", ["LlamaTokenizer", "GemmaTokenizer", "BertTokenizer", "T5Tokenizer", "Other"])
def test_no_class_makes_a_tokenizer_of_nothing(class_name, tmp_path):
    """The name of a class is enough for transformers."""
    folder = save(tmp_path, framed(), tokenizer_class=class_name)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match="is missing, and so is every other file that holds words"):
        read_tokenizer(folder)
    if class_name == "T5Tokenizer":
        return  # makes up a word
    (folder / "vocab.md").write_text("about words")
    with pytest.raises(CheckpointError, match=r"has no words but special tokens|cannot be read"):
        read_tokenizer(folder)


def test_a_tokenizer_of_bytes_needs_no_file_of_words(tmp_path):
    folder = save(tmp_path, framed(), names={}, tokenizer_class="ByT5Tokenizer", template=None)
    (folder / "tokenizer.json").unlink()
    assert read_tokenizer(folder)("ab")["input_ids"] == [100, 101, 1]  # bytes after three special tokens; then the end
    assert read_encoder(folder) is None


def test_the_model_is_not_read_before_its_tokenizer(tmp_path, monkeypatch):
    model = tiny_model("llama", vocab_size=400)
    model.save_pretrained(tmp_path)
    config = (tmp_path / "config.json").read_bytes()
    save(tmp_path, framed())
    (tmp_path / "config.json").write_bytes(config)
    loaded, tokenizer = load_checkpoint(tmp_path)
    short = Extraction(max_tokens=64)
    assert encode(PROMPTS[:1], tokenizer, short, limits_of(loaded)) == encode_from_files(tmp_path, PROMPTS[:1], short)
    (tmp_path / "tokenizer.json").write_bytes(POINTER)

    def asked(*_, **__):
        pytest.fail("the model was asked for")

    monkeypatch.setattr("transformers.PreTrainedModel.from_pretrained", asked)
    with pytest.raises(CheckpointError, match="a pointer of git-LFS"):
        load_checkpoint(tmp_path)


def test_files_are_read_without_heavy_libraries():
    heavy = "{'torch', 'transformers', 'pandas'} & set(sys.modules)"
    code = f"import sys, headwise.models.vocabulary; print(sorted({heavy}))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
