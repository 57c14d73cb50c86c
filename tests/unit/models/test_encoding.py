"""From text to token ids: first tokens, limits of a model, excerpts; what cannot be encoded is a sentence."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from attention_examples import tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st
from models_examples import write_corpus, write_tokenizer
from tokenizer_examples import CHAT_TEMPLATE, byte_tokenizer
from tokenizers import processors

from headwise.analyses.stability.ablation import ablated_losses
from headwise.models.corpus import read_documents
from headwise.models.encoding import Encoder, EncodingError, encode, limits_of
from headwise.models.excerpts import (
    evaluate,
    held_out_excerpts,
    losses_per_excerpt,
    spread_excerpts,
    take_excerpts,
    token_stream,
)
from headwise.models.limits import Limits
from headwise.models.tokenizer import load_tokenizer
from headwise.study.extraction import Extraction
from headwise.study.prompts import Prompt, PromptError

RAW, IN_CHAT = Extraction(max_tokens=1000), Extraction(max_tokens=1000, template="chat")
BYTES = byte_tokenizer()
CHAT = byte_tokenizer(CHAT_TEMPLATE)
TWO = [Prompt("a", "first", "One prompt."), Prompt("b", "second", 'A "quoted" – non-ASCII one.\nTwo lines.')]
HI = [Prompt("a", "d", "hi")]


def framing(single: str | None, *special: str, **named: str | None):
    """The tokenizer of bytes, but with another frame around texts; None: without any."""
    tokenizer = byte_tokenizer()
    tokens = [(token, tokenizer.convert_tokens_to_ids(token)) for token in special]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single or "$A", special_tokens=tokens)
    for name, token in named.items():
        setattr(tokenizer, name, token)
    return tokenizer


FRAMES = {
    "bos": framing("<s> $A", "<s>"),
    "nothing": framing(None),
    "encoder": framing("<s> $A <user>", "<s>", "<user>"),
    "two": framing("<user> <s> $A", "<s>", "<user>"),
}


def tokens_of(tokenizer, text="hi", **fields):
    (encoded,) = encode([Prompt("a", "d", text)], tokenizer, RAW.model_copy(update=fields), Limits())
    return tokenizer.convert_ids_to_tokens(encoded.token_ids)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=30).filter(lambda text: text.isprintable()), min_size=1, max_size=5))
def test_every_byte_is_encoded_and_nothing_is_padded(texts):
    prompts = [Prompt(str(number), "d", text) for number, text in enumerate(texts)]
    encoded = encode(prompts, BYTES, RAW, Limits())
    assert [prompt.id for prompt in encoded] == [prompt.id for prompt in prompts]
    assert [len(prompt.token_ids) for prompt in encoded] == [1 + len(text.encode()) for text in texts]
    assert [BYTES.decode(prompt.token_ids[1:]) for prompt in encoded] == texts


def test_the_chat_template_frames_the_prompt_once():
    (encoded,) = encode(HI, CHAT, IN_CHAT, Limits())
    assert CHAT.convert_ids_to_tokens(encoded.token_ids) == ["<s>", "<user>", "h", "i", ">"]


# -- first tokens


@pytest.mark.parametrize(
    ("frame", "first_token", "expected"),
    [
        ("bos", "tokenizer", "<s> h i"),
        ("bos", "none", "h i"),
        ("bos", "bos", "<s> h i"),
        ("nothing", "tokenizer", "h i"),
        ("nothing", "none", "h i"),
        ("nothing", "bos", "<s> h i"),
        ("encoder", "tokenizer", "<s> h i <user>"),
        ("encoder", "none", "h i <user>"),
        ("encoder", "bos", "<s> h i <user>"),
        ("two", "tokenizer", "<user> <s> h i"),
        ("two", "none", "h i"),
        ("two", "bos", "<s> h i"),
    ],
)
def test_the_first_token_is_what_the_study_says(frame, first_token, expected):
    assert " ".join(tokens_of(FRAMES[frame], first_token=first_token)) == expected


@pytest.mark.parametrize("first_token", ["tokenizer", "none", "bos"])
def test_a_template_writes_its_own_first_token(first_token):
    settings = IN_CHAT.model_copy(update={"first_token": first_token})
    assert encode(HI, CHAT, settings, Limits()) == encode(HI, CHAT, IN_CHAT, Limits())


def test_a_tokenizer_without_bos_says_so_where_one_is_asked_for():
    tokenizer = framing(None, bos_token=None)
    assert tokens_of(tokenizer) == ["h", "i"]
    with pytest.raises(
        EncodingError, match=r"has no BOS token: set `first_token` of the model.*--first-token.*name one as bo"
    ):
        tokens_of(tokenizer, first_token="bos")


# -- what cannot be encoded


def test_chat_without_a_template_names_the_setting():
    with pytest.raises(EncodingError, match=r"no chat template: set `template` of the model, or of extraction, to raw"):
        encode(TWO, BYTES, IN_CHAT, Limits())


def test_a_tokenizer_with_code_of_its_own_for_chats_reads_raw_text_alone():
    tokenizer = byte_tokenizer(CHAT_TEMPLATE)
    tokenizer.__class__ = type("Own", (type(tokenizer),), {"apply_chat_template": lambda *_, **__: "today"})
    assert encode(HI, tokenizer, RAW, Limits()) == encode(HI, BYTES, RAW, Limits())
    with pytest.raises(EncodingError, match="chats with code of its own, which is not used here: set `template`"):
        encode(HI, tokenizer, IN_CHAT, Limits())


@pytest.mark.parametrize(
    ("max_tokens", "positions", "reason"),
    [
        (5, None, r"max_tokens 5: shorten it, or raise the limit \(extraction.max_tokens of a study, --max-tokens on"),
        (1000, 5, "the model's 5 positions: shorten the prompt"),
        (4, 5, "the model's 5 positions: shorten the prompt"),  # raising max_tokens would not help
    ],
)
def test_a_prompt_at_the_limit_passes_and_one_above_it_is_named(max_tokens, positions, reason):
    prompts = [Prompt("short", "d", "123"), Prompt("long", "d", "12345")]
    allowed = encode(prompts[:1], BYTES, Extraction(max_tokens=max(max_tokens, 4)), Limits(positions=positions))
    assert len(allowed[0].token_ids) == 4
    with pytest.raises(PromptError, match=rf"prompt 'long' has 6 tokens for .*, more than {reason}"):
        encode(prompts, BYTES, Extraction(max_tokens=max_tokens), Limits(positions=positions))


def test_a_token_beyond_the_embedding_is_named_and_text_without_it_goes_on():
    tokenizer = byte_tokenizer(CHAT_TEMPLATE.replace("<user>", "<|im_start|>"))
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    model = tiny_model("llama", vocab_size=len(tokenizer) - 1)
    assert limits_of(model).tokens == 258
    assert encode(TWO, tokenizer, RAW, limits_of(model))
    with pytest.raises(
        EncodingError, match=r"prompt 'a' holds token 258 \('<\|im_start\|>'\), and the embedding .* 258"
    ):
        encode(TWO, tokenizer, IN_CHAT, limits_of(model))
    assert encode(TWO, tokenizer, IN_CHAT, Limits(tokens=259))


@pytest.mark.parametrize("settings", [RAW, IN_CHAT])
def test_half_of_a_surrogate_pair_is_a_sentence(settings):
    with pytest.raises(PromptError, match=r"prompt 'broken' cannot be encoded by .*: correct its text, or remove it"):
        encode([*TWO, Prompt("broken", "d", "half \ud800 pair")], CHAT, settings, Limits())


@pytest.mark.parametrize("settings", [RAW, IN_CHAT])
def test_special_tokens_alone_are_no_text(settings):
    with pytest.raises(PromptError, match="prompt 'empty' becomes no tokens at all"):
        encode([Prompt("empty", "d", "")], CHAT, settings, Limits())


def test_encoding_is_imported_without_heavy_libraries():
    code = "import sys, headwise.models.encoding; print(sorted({'torch', 'transformers', 'pandas'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


# -- excerpts


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def own(documents):
    """The tokenizer that a study trains."""
    return load_tokenizer(write_tokenizer(documents.parent, documents))


def without_frame(tokenizer, **named):
    """A tokenizer that adds nothing to a text."""
    bare = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer, **named)
    bare.backend_tokenizer.post_processor = processors.TemplateProcessing("$A", special_tokens=[])
    return bare


def test_documents_are_joined_by_what_the_tokenizer_has(documents, own):
    texts = [document.text for document in read_documents(documents, "held_out")]
    for tokenizer, expected in (
        (own, "".join(f"<|bos|>{text}" for text in texts)),
        (without_frame(own, bos_token="<|bos|>", eos_token="<|end|>"), "<|end|>".join(texts)),
        (without_frame(own, bos_token="<|bos|>"), "<|bos|>".join(texts)),
        (without_frame(own), "".join(texts)),
    ):
        assert tokenizer.decode(token_stream(documents, tokenizer, "held_out", 1)) == expected


def test_of_the_tokenizer_that_a_study_trains_excerpts_are_what_they_were(documents, own):
    """BOS, then the text: the default study measures what it measured before there was a choice."""
    model = tiny_model("llama", vocab_size=400)
    inputs, targets = held_out_excerpts(documents, model, own, "tokenizer", tokens=16, most=4)
    stream = token_stream(documents, own, "held_out", 16)
    starts = [number * (len(stream) // 4) for number in range(4)]
    assert targets.tolist() == [stream[start : start + 16].tolist() for start in starts]
    assert inputs.tolist() == [[own.bos_token_id, *row[:-1]] for row in targets.tolist()]
    assert torch.equal(held_out_excerpts(documents, model, own, "bos", tokens=16, most=4)[0], inputs)
    bare_inputs, bare_targets = held_out_excerpts(documents, model, own, "none", tokens=16, most=4)
    assert torch.equal(bare_inputs, inputs[:, 1:])
    assert torch.equal(bare_targets, targets[:, 1:])


@pytest.mark.parametrize("first", [[], [1], [2, 1]])
@torch.no_grad()
def test_every_loss_is_that_of_a_token_after_what_precedes_it(first):
    """Token by token, in forward passes of their own."""
    model = tiny_model("llama", num_key_value_heads=2)
    stream = torch.arange(40) % 90 + 3
    excerpts = spread_excerpts(stream, 6, first, most=3)
    expected = []
    for start in range(0, 39, 13):
        text = stream[start : start + 6].tolist()
        losses = [
            -model(torch.tensor([first + text[:end]])).logits[0, -1].log_softmax(-1)[text[end]].item()
            for end in range(0 if first else 1, 6)
        ]
        expected.append(sum(losses) / len(losses))
    assert losses_per_excerpt(model, *excerpts).tolist() == pytest.approx(expected, abs=1e-5)
    assert evaluate(model, excerpts) == pytest.approx(sum(expected) / 3, abs=1e-5)
    assert ablated_losses(model, [excerpts])[1].tolist() == pytest.approx(expected, abs=1e-5)


@torch.no_grad()
def test_losses_over_a_large_vocabulary_are_exact():
    """Against float64, where 50,000 words are summed."""
    logits = torch.randn(2, 3, 50_000, generator=torch.Generator().manual_seed(1)) * 3
    targets = torch.tensor([[5, 49_000, 7], [1, 2, 3]])
    model = lambda **_: SimpleNamespace(logits=logits)  # noqa: E731
    exact = -logits.double().log_softmax(-1).gather(-1, targets[..., None])[..., 0].mean(1)
    assert losses_per_excerpt(model, targets, targets).tolist() == pytest.approx(exact.tolist(), abs=1e-5)


def test_excerpts_of_an_untouched_text():
    inputs, targets = take_excerpts(torch.arange(100, 150), torch.tensor([0, 7]), tokens=4, first=[])
    assert inputs.tolist() == [[100, 101, 102], [107, 108, 109]]
    assert targets.tolist() == [[101, 102, 103], [108, 109, 110]]


def test_excerpts_fit_the_model(documents, own):
    model = tiny_model("llama", vocab_size=400, max_position_embeddings=20)
    assert held_out_excerpts(documents, model, own, "tokenizer", 20, 2)[0].shape == (2, 20)
    assert held_out_excerpts(documents, model, own, "none", 21, 2)[0].shape == (2, 20)
    assert held_out_excerpts(documents, model, own, "tokenizer", 99, 2, shorten=True)[1].shape == (2, 20)
    with pytest.raises(
        EncodingError, match=r"excerpts of 21 tokens do not fit into the 20 positions .* shorten them to 20"
    ):
        held_out_excerpts(documents, model, own, "tokenizer", 21, 2)
    with pytest.raises(EncodingError, match="held-out text holds token"):
        held_out_excerpts(documents, tiny_model("llama", vocab_size=200), own, "tokenizer", 16, 2)


def test_names_of_a_first_token_are_those_of_the_tokenizer():
    assert Encoder.of(FRAMES["two"]).own_tokens() == ([1, 0], [])
    assert Encoder.of(FRAMES["encoder"]).own_tokens() == ([0], [1])
