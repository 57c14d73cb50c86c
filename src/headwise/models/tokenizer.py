"""The tokenizer of a study: byte-level byte-pair encoding, trained on the corpus."""

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Encoder
from tokenizers import decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from headwise.models.corpus import Document, read_documents
from headwise.models.files import tokenizer_files
from headwise.models.headers import CheckpointError
from headwise.models.vocabulary import TOKENIZER, check_tokenizer
from headwise.runtime.atomic import atomic
from headwise.runtime.provenance import file_digest, json_digest
from headwise.study.data import Tokenizer

BOS, PAD, END, USER, ASSISTANT = SPECIAL_TOKENS = (
    "<|bos|>",
    "<|pad|>",
    "<|end|>",
    "<|user|>",
    "<|assistant|>",
)

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def train_tokenizer(documents: Path, settings: Tokenizer, tokenizer: Path) -> None:
    """Train the tokenizer on the train split and save it as the folder `tokenizer`, which `AutoTokenizer`
    reads.

    Any text can be encoded (the alphabet is bytes) and is decoded to itself. Encoding with special tokens
    puts `<|bos|>` first. The chat template knows the roles user and assistant; the answer of an assistant
    ends with `<|end|>`.

    Raises ValueError where the corpus has too few different words for a vocabulary of that size.
    """
    encoder = Encoder(models.BPE())
    encoder.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    encoder.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    encoder.train_from_iterator((document.text for document in read_documents(documents, "train")), trainer)
    if encoder.get_vocab_size() < settings.vocabulary:
        raise ValueError(
            f"tokenizer.vocabulary: {settings.vocabulary} tokens, and the corpus yields {encoder.get_vocab_size()}: "
            "lower the vocabulary, or add text to the corpus"
        )
    encoder.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, encoder.token_to_id(BOS))]
    )
    trained = PreTrainedTokenizerFast(
        tokenizer_object=encoder,
        bos_token=BOS,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
    )
    with atomic(tokenizer) as temporary:
        trained.save_pretrained(temporary)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a study or of a checkpoint that was trained here."""
    return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)


def read_tokenizer(folder: Path, own_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer of any checkpoint folder; `own_code`: code that it brings may run.

    Where there is a tokenizer.json it is read as it stands: the class that tokenizer_config.json names may build
    another tokenizer from the same words (transformers' GPT2Tokenizer drops the step that takes digits apart). What the
    class has for special tokens stays.

    Raises CheckpointError for files that are damaged, missing, or that transformers cannot read.
    """
    check_tokenizer(folder)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=own_code)
        if _is_rebuilt(tokenizer, folder):
            known = Encoder.from_file(str(folder / TOKENIZER)).get_vocab()
            special = {name: token for name, token in tokenizer.special_tokens_map.items() if token in known}
            options: dict[str, Any] = {"local_files_only": True, "padding_side": tokenizer.padding_side}
            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, **options, **special)
        words = set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)
    except Exception as error:  # Of classes of a hundred architectures, and of `tokenizers`.
        raise CheckpointError(
            f"{folder}: its tokenizer cannot be read ({' '.join(str(error).split())[:300]}): save it again with "
            "`save_pretrained`, or choose another checkpoint"
        ) from None
    if not words:
        raise CheckpointError(
            f"{folder}: its tokenizer has no words but special tokens, since the file that holds them is missing: save "
            "the tokenizer beside the model"
        )
    return tokenizer


def _is_rebuilt(tokenizer: PreTrainedTokenizerBase, folder: Path) -> bool:
    """Whether a class of transformers may have made something else of tokenizer.json."""
    general = type(tokenizer) is PreTrainedTokenizerFast
    return (folder / TOKENIZER).is_file() and not general and type(tokenizer).__module__.startswith("transformers.")


def tokenizer_digest(folder: Path) -> str:
    """SHA-256 over names and contents of a tokenizer's files (vocabulary, special tokens, chat template)."""
    return json_digest({path.name: file_digest(path) for path in tokenizer_files(folder)})


def encode_documents(documents: list[Document], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Token ids of each document with what the tokenizer itself adds: `<|bos|>` first, of one that is trained here."""
    return tokenizer([document.text for document in documents])["input_ids"]
