"""The trained tokenizer: what it keeps, what it puts first, and that transformers reads it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from models_examples import VOCABULARY, write_corpus, write_tokenizer
from transformers import AutoTokenizer

from headwise.models.corpus import read_documents
from headwise.models.tokenizer import (
    SPECIAL_TOKENS,
    encode_documents,
    load_tokenizer,
    tokenizer_digest,
    train_tokenizer,
)
from headwise.study.data import Tokenizer


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, documents):
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"), documents)


@pytest.fixture(scope="module")
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_training_again_gives_the_same_bytes(tmp_path, documents, folder):
    assert files(write_tokenizer(tmp_path, documents)) == files(folder)
    assert tokenizer_digest(tmp_path / "tokenizer") == tokenizer_digest(folder)


def test_held_out_documents_have_no_say(tmp_path, documents, folder):
    lines = [json.loads(line) for line in documents.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        if line["split"] == "held_out":
            line["text"] = "zyzzyva " * 500
    changed = tmp_path / "documents.jsonl"
    changed.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert files(write_tokenizer(tmp_path, changed)) == files(folder)


def test_the_digest_sees_the_chat_template(tmp_path, documents):
    folder = write_tokenizer(tmp_path, documents)
    before = tokenizer_digest(folder)
    (folder / "chat_template.jinja").write_text("another")
    assert tokenizer_digest(folder) != before


def test_size_and_special_tokens(tokenizer):
    assert len(tokenizer) == VOCABULARY
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == [0, 1, 2, 3, 4]
    assert (tokenizer.bos_token, tokenizer.pad_token, tokenizer.eos_token) == SPECIAL_TOKENS[:3]


def test_bos_comes_first_and_only_with_special_tokens(tokenizer):
    plain = tokenizer("The garden", add_special_tokens=False)["input_ids"]
    assert tokenizer("The garden")["input_ids"] == [tokenizer.bos_token_id, *plain]
    assert tokenizer.bos_token_id not in plain


@given(text=st.text(alphabet=st.characters(codec="utf-8")))
def test_any_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_frequent_words_are_one_token(tokenizer):
    assert len(tokenizer(" garden", add_special_tokens=False)["input_ids"]) == 1


def test_chat_template_is_what_a_conversation_looks_like(tokenizer):
    conversation = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "A bird."}]
    rendered = tokenizer.apply_chat_template(conversation, tokenize=False)
    assert rendered == "<|bos|><|user|>Who?<|assistant|>A bird.<|end|>"
    opened = tokenizer.apply_chat_template(conversation[:1], tokenize=False, add_generation_prompt=True)
    assert opened == "<|bos|><|user|>Who?<|assistant|>"
    ids = tokenizer.apply_chat_template(conversation, tokenize=True, return_dict=False)
    assert [ids[0], ids[1], ids[-1]] == tokenizer.convert_tokens_to_ids(["<|bos|>", "<|user|>", "<|end|>"])
    assert ids.count(tokenizer.bos_token_id) == 1


def test_documents_are_encoded_one_by_one(documents, folder, tokenizer):
    chosen = read_documents(documents, "held_out")
    encoded = encode_documents(chosen, load_tokenizer(folder))
    assert encoded == [tokenizer(document.text)["input_ids"] for document in chosen]


def test_a_vocabulary_that_the_text_cannot_fill_is_an_error(tmp_path, documents):
    with pytest.raises(ValueError, match=r"99000 tokens, and the corpus yields .*: lower the vocabulary"):
        train_tokenizer(documents, Tokenizer(vocabulary=99_000), tmp_path / "tokenizer")
    assert not (tmp_path / "tokenizer").exists()
