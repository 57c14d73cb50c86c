"""From text to token ids: what every analysis reads, with one rule for the first token and one for chat templates.

Imported by what checks a study before it runs, so nothing heavy is imported here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from headwise.models.limits import Limits
from headwise.models.templates import RAW, chosen_template, render_chat
from headwise.study.extraction import Extraction, FirstToken
from headwise.study.prompts import EncodedPrompt, Prompt, PromptError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CHATS_OF_TRANSFORMERS = "transformers.tokenization_utils_base"
# Texts of which one becomes tokens in nearly every vocabulary.
SHORT_TEXTS = ("a", "1", "the")


class EncodingError(ValueError):
    """A tokenizer that cannot do what is asked, or that does not fit its model; the message names it and the remedy."""


@dataclass(frozen=True)
class Encoder:
    """A tokenizer, in memory or read from its files, as encoding uses it.

    name           of the checkpoint, for errors
    ids            token ids of a text, with or without the special tokens that the tokenizer adds by itself
    token          a token id as text
    special        special tokens by name, such as bos_token
    bos, eos       ids of two of them; None without
    templates      its chat templates, as `chosen_template` takes them
    own_chat       whether it has code of its own for chats, which is not run: it may read the clock
    """

    name: str
    ids: Callable[[str, bool], list[int]]
    token: Callable[[int], str | None]
    special: Mapping[str, str]
    bos: int | None
    eos: int | None
    templates: Any
    own_chat: bool = False

    @classmethod
    def of(cls, tokenizer: "PreTrainedTokenizerBase") -> "Encoder":
        """From a tokenizer in memory."""
        return cls(
            tokenizer.name_or_path or "the tokenizer",
            lambda text, special: list(tokenizer(text, add_special_tokens=special)["input_ids"]),
            lambda number: str(tokenizer.convert_ids_to_tokens(number)),
            tokenizer.special_tokens_map,
            tokenizer.bos_token_id,
            tokenizer.eos_token_id,
            tokenizer.chat_template,
            type(tokenizer).apply_chat_template.__module__ != CHATS_OF_TRANSFORMERS,
        )

    @property
    def chat_template(self) -> str | None:
        """What is used of its chat templates; None without any. Raises ChatTemplateError where none is the default."""
        return chosen_template(self.templates, self.name)

    def own_tokens(self) -> tuple[list[int], list[int]]:
        """What the tokenizer itself puts before and after a text: often a first token, often nothing."""
        for text in SHORT_TEXTS:
            plain, framed = self.ids(text, False), self.ids(text, True)
            if plain == framed:
                return [], []
            for start in range(len(framed) - len(plain) + 1):
                if plain and framed[start : start + len(plain)] == plain:
                    return framed[:start], framed[start + len(plain) :]
        raise EncodingError(
            f"{self.name}: its tokenizer does not leave the tokens of a text together when it adds its special tokens: "
            "choose a checkpoint with another tokenizer"
        )

    def first_tokens(self, first_token: FirstToken) -> list[int]:
        """What a raw text begins with: the tokenizer's own tokens, none, or its BOS token in their place.

        Raises EncodingError where it has no BOS token.
        """
        if first_token == "none":
            return []
        if first_token == "tokenizer":
            return self.own_tokens()[0]
        if self.bos is None:
            raise EncodingError(
                f"{self.name} has no BOS token: set `first_token` of the model, or of extraction, to tokenizer or none "
                "(on the command line: --first-token), or name one as bos_token in tokenizer_config.json"
            )
        return [self.bos]

    def raw(self, text: str, first_token: FirstToken) -> list[int]:
        """Token ids of a text that stands by itself; whatever the tokenizer puts behind it stays."""
        ids = self.ids(text, True)
        if first_token == "tokenizer":
            return ids
        return self.first_tokens(first_token) + ids[len(self.own_tokens()[0]) :]

    def chat(self, text: str, date: str) -> str:
        """A text in the chat template, as the user's only message; see `render_chat`."""
        if self.own_chat:
            raise EncodingError(f"{self.name} renders chats with code of its own, which is not used here: {RAW}")
        template = self.chat_template
        if template is None:
            raise EncodingError(
                f"{self.name} has no chat template: {RAW}, or use a checkpoint whose tokenizer has one."
            )
        return render_chat(template, self.special, text, date, self.name)


def encode(
    prompts: Sequence[Prompt],
    tokenizer: "PreTrainedTokenizerBase | Encoder",
    settings: Extraction,
    limits: Limits,
    special_tokens: Literal["once", "twice"] = "once",
) -> list[EncodedPrompt]:
    """Token ids of each prompt, without padding and never cut.

    Template raw: the text, which begins with what `settings.first_token` says. chat: the text as the user's only
    message in the tokenizer's chat template, on the day `settings.date`, up to where the assistant's answer begins;
    `special_tokens` says whether the tokenizer then adds its own to those that the template has written ("twice":
    usually a second first token).

    Raises PromptError for a prompt of more than `settings.max_tokens` tokens or of more than the model has positions,
    of none, and for one that cannot be encoded; EncodingError for a token that the model has no embedding of, and for
    `chat` where the tokenizer has no chat template; ChatTemplateError for a template that cannot be used.
    """
    encoder = tokenizer if isinstance(tokenizer, Encoder) else Encoder.of(tokenizer)
    encoded, first_of = [], dict[str, Prompt]()
    for prompt in prompts:
        text = encoder.chat(prompt.text, settings.date) if settings.template == "chat" else prompt.text
        # Many templates strip what is said.
        if settings.template == "chat" and prompt.text.strip() and not text.strip():
            raise EncodingError(
                f"{encoder.name}: its chat template writes nothing for prompt '{prompt.id}': correct it, or {RAW}"
            )
        if settings.template == "chat" and first_of.setdefault(text, prompt).text.strip() != prompt.text.strip():
            raise EncodingError(
                f"{encoder.name}: its chat template writes the same for the prompts '{first_of[text].id}' and "
                f"'{prompt.id}', which are different: correct it, or {RAW}"
            )
        try:
            if settings.template == "chat":
                # The template writes the special tokens itself.
                ids = encoder.ids(text, special_tokens == "twice")
            else:
                ids = encoder.raw(text, settings.first_token)
            is_text = bool(encoder.ids(prompt.text, False))
        except EncodingError:
            raise
        except Exception as error:  # Of tokenizers, which raise anything, above all for half of a surrogate pair.
            raise PromptError(
                f"prompt '{prompt.id}' cannot be encoded by {encoder.name} ({' '.join(str(error).split())}): "
                "correct its text, or remove it"
            ) from None
        # Special tokens alone are no text.
        if not ids or not is_text:
            raise PromptError(f"prompt '{prompt.id}' becomes no tokens at all: change or remove it.")
        _refuse_length(encoder, prompt, len(ids), settings, limits)
        refuse_unknown(encoder, ids, limits, f"prompt '{prompt.id}'")
        encoded.append(EncodedPrompt(prompt.id, ids))
    return encoded


def _refuse_length(encoder: Encoder, prompt: Prompt, tokens: int, settings: Extraction, limits: Limits) -> None:
    has = f"prompt '{prompt.id}' has {tokens} tokens for {encoder.name}, more than"
    if limits.positions is not None and tokens > limits.positions:
        raise PromptError(
            f"{has} the model's {limits.positions} positions: shorten the prompt, "
            "or choose a model with more positions."
        )
    if tokens > settings.max_tokens:
        raise PromptError(
            f"{has} max_tokens {settings.max_tokens}: shorten it, or raise the limit (extraction.max_tokens of a "
            "study, --max-tokens on the command line)."
        )


def refuse_unknown(encoder: Encoder, ids: Sequence[int], limits: Limits, text: str) -> None:
    """Refuse token ids that a model has no embedding of; `text` says what they were made of. Raises EncodingError."""
    largest = max(ids, default=0)
    if limits.tokens is not None and largest >= limits.tokens:
        raise EncodingError(
            f"{encoder.name}: {text} holds token {largest} ('{encoder.token(largest)}'), and the embedding of the "
            f"model has {limits.tokens} rows: give it the tokenizer that it was trained with, resize the embedding to "
            "the tokenizer and train it, or use text and a template without that token"
        )


def limits_of(model: "PreTrainedModel") -> Limits:
    """What a model in memory takes."""
    embedding: Any = model.get_input_embeddings()
    return replace(Limits.of(model.config.to_dict()), tokens=embedding.weight.shape[0])
