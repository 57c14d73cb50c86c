"""A tokenizer from its files, without transformers: what prompts become is known before any model is loaded.

Imported by what checks a study before it runs, so nothing heavy is imported here: of `tokenizers` and jinja2 alone.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from headwise.models.checks import embedding_rows, stated_positions
from headwise.models.encoding import Encoder, encode
from headwise.models.files import tokenizer_files
from headwise.models.headers import FETCH_AGAIN, CheckpointError, read_object, refuse_pointer
from headwise.models.limits import Limits
from headwise.models.templates import variables
from headwise.study.extraction import Extraction
from headwise.study.prompts import EncodedPrompt, Prompt

TOKENIZER, SETTINGS, SPECIAL, ADDED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
TEMPLATE, FURTHER_TEMPLATES = "chat_template.jinja", "additional_chat_templates"
# Files that hold words, of any kind of tokenizer.
WORDS = (TOKENIZER, "tokenizer.*.json", "vocab*", "*.model", "tekken.json", "*.tiktoken", "*.codes", "*.tokenizer")
# These read bytes or characters and have no file of words.
WITHOUT_WORDS = frozenset({"ByT5Tokenizer", "CanineTokenizer", "PerceiverTokenizer"})
FLAGS = ("lstrip", "rstrip", "single_word", "normalized", "special")
NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
# Classes of tokenizers that have no special tokens of their own where the files name none.
GENERAL = frozenset({None, "PreTrainedTokenizer", "PreTrainedTokenizerFast", "TokenizersBackend", "PythonBackend"})


def check_tokenizer(folder: Path) -> Tokenizer | None:
    """Refuse a folder whose tokenizer is damaged or has no vocabulary; what is in tokenizer.json, if it is there.

    transformers would make an empty tokenizer of what little there is. Raises CheckpointError, which names the file.
    """
    files = tokenizer_files(folder)
    for path in files:
        if path.suffix == ".json":
            read_object(path)
        else:
            refuse_pointer(path)
    settings = _object(folder / SETTINGS)
    class_name = str(settings.get("tokenizer_class")).removesuffix("Fast")
    if class_name in WITHOUT_WORDS or "auto_map" in settings:
        return None
    if not any(fnmatch(path.name, pattern) for path in folder.iterdir() for pattern in WORDS):
        raise CheckpointError(
            f"{folder}: {TOKENIZER} is missing, and so is every other file that holds words: save the tokenizer beside "
            "the model"
        )
    return _tokenizer(folder / TOKENIZER) if (folder / TOKENIZER).is_file() else None


def read_encoder(folder: Path) -> Encoder | None:
    """The tokenizer of a checkpoint folder as `read_tokenizer` reads it; None where that takes more than tokenizer.json
    (words in sentencepiece alone, or code of its own). Raises CheckpointError as `check_tokenizer` does."""
    tokenizer = check_tokenizer(folder)
    settings = _object(folder / SETTINGS)
    if tokenizer is None or "fast_tokenizer_files" in settings:
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = bool(settings.get("split_special_tokens", False))
    if "added_tokens_decoder" not in settings:
        settings |= _object(folder / SPECIAL)
    further = _further(settings)
    named = {**settings, **(further if isinstance(further, dict) else {})}
    # Some models have special tokens of their own, such as image_token; add_bos_token is a setting.
    names = [*NAMED, *(name for name in named if name.endswith("_token") and name not in NAMED)]
    special = {name: _content(named[name]) for name in names if isinstance(named.get(name), str | dict)}
    _add_tokens(tokenizer, settings, special, _object(folder / ADDED))
    bos, eos = (tokenizer.token_to_id(special[name]) if name in special else None for name in NAMED[:2])
    return Encoder(
        str(folder),
        lambda text, with_special: list(tokenizer.encode(text, add_special_tokens=with_special).ids),
        tokenizer.id_to_token,
        special,
        bos,
        eos,
        _templates(folder, settings),
    )


def encode_from_files(folder: Path, prompts: Sequence[Prompt], settings: Extraction) -> list[EncodedPrompt] | None:
    """The prompts as a checkpoint will read them, from its files alone; None where these do not say.

    Raises what loading the tokenizer and `encode` would raise: CheckpointError, EncodingError, ChatTemplateError,
    PromptError.
    """
    encoder = read_encoder(folder)
    if encoder is None or _needs_more(encoder, folder, settings):
        return None
    return encode(prompts, encoder, settings, Limits(embedding_rows(folder), stated_positions(folder)))


def _needs_more(encoder: Encoder, folder: Path, settings: Extraction) -> bool:
    """Whether a special token is asked for that no file names, but that the tokenizer's class may have."""
    named = _object(folder / SETTINGS).get("tokenizer_class")
    if named in GENERAL:
        return False
    asked = {"bos_token"} if settings.first_token == "bos" else set()
    if settings.template == "chat" and encoder.chat_template is not None:
        asked = variables(encoder.chat_template, encoder.name)
    return bool(asked & set(NAMED) - set(encoder.special))


def _add_tokens(
    tokenizer: Tokenizer, settings: Mapping[str, Any], special: Mapping[str, str], added: Mapping[str, Any]
) -> None:
    """Add what other files name beside tokenizer.json, in transformers' order; what is there already stays as it is."""
    decoder = settings.get("added_tokens_decoder") or {number: token for token, number in added.items()}
    for _, token in sorted(decoder.items(), key=lambda item: int(item[0])):
        flags = {flag: token[flag] for flag in FLAGS if flag in token} if isinstance(token, dict) else {}
        tokenizer.add_tokens([AddedToken(_content(token), **flags)])
    further = _further(settings)
    names = [*special.values(), *([] if isinstance(further, dict) else map(_content, further))]
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])


def _further(settings: Mapping[str, Any]) -> Any:
    """Special tokens without a name, or, in some files, with one."""
    return settings.get("extra_special_tokens") or settings.get("additional_special_tokens") or []


def _templates(folder: Path, settings: Mapping[str, Any]) -> Any:
    """Chat templates as transformers finds them: files of their own come before those in tokenizer_config.json."""
    found = {path.stem: path for path in sorted((folder / FURTHER_TEMPLATES).glob("*.jinja"))}
    if (folder / TEMPLATE).is_file():
        found["default"] = folder / TEMPLATE
    texts = {name: _text(path) for name, path in found.items()}
    if set(texts) == {"default"}:
        return texts["default"]
    return texts or settings.get("chat_template")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read as text in UTF-8 ({error}): {FETCH_AGAIN}") from None


def _content(token: Any) -> str:
    """A special token, which files have as text or with its settings."""
    return str(token["content"]) if isinstance(token, dict) else str(token)


def _object(path: Path) -> dict[str, Any]:
    return read_object(path) if path.is_file() else {}


def _tokenizer(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # What `tokenizers` raises is a bare Exception.
        raise CheckpointError(
            f"{path}: no tokenizer that tokenizers {version('tokenizers')} reads ({' '.join(str(error).split())}): "
            f"{FETCH_AGAIN}, or use a newer version of the library"
        ) from None
