"""A local mirror of a model hub: random models of true configuration classes, laid out as the hub's own cache.

    commits = build_mirror(cache, {"org/name": (LlamaConfig(...), "main")})

With HF_HUB_CACHE=cache and HF_HUB_OFFLINE=1 everything then works as with a model that was fetched before.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from tiny import ENDINGS, OBJECTS, SUBJECTS, VERBS
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedConfig, PreTrainedTokenizerFast

from headwise.models.architecture import language_model_class

SPECIAL_TOKENS = ["<pad>", "<bos>", "<eos>"]
# 256 bytes and the special tokens; fewer cannot read every prompt.
SMALLEST_VOCABULARY = 256 + len(SPECIAL_TOKENS)
SHARD = "60KB"


def build_mirror(
    cache: Path,
    models: Mapping[str, tuple[PreTrainedConfig, str]],
    texts: Iterable[str] = (*SUBJECTS, *VERBS, *OBJECTS, *ENDINGS),
) -> dict[str, str]:
    """Put each repository into the cache at its revision and return the commits, by repository.

    `models` maps a repository to its configuration, whose vocabulary must hold SMALLEST_VOCABULARY tokens, and to a
    revision: a branch or tag, or a commit of 40 hexadecimal digits. Weights are random, the same for the same
    repository, in shards where they are larger than SHARD. The tokenizer is a byte-level BPE of `texts`.
    """
    texts = list(texts)
    commits = {}
    for repository, (config, revision) in models.items():
        folder = cache / "unpacked"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int.from_bytes(repository.encode()) % 2**32)
            model = language_model_class(config).from_config(config)
        model.save_pretrained(folder, max_shard_size=SHARD)
        byte_tokenizer(config.get_text_config().vocab_size, texts).save_pretrained(folder)
        commits[repository] = add_snapshot(cache, repository, revision, folder)
        shutil.rmtree(folder)
    return commits


def add_snapshot(cache: Path, repository: str, revision: str, folder: Path) -> str:
    """Put the files of a folder into the cache as a snapshot of a repository; return its commit."""
    place = cache / f"models--{repository.replace('/', '--')}"
    commit = revision
    if not re.fullmatch("[0-9a-f]{40}", revision):
        commit = hashlib.sha1(f"{repository}@{revision}".encode()).hexdigest()
        reference = place / "refs" / revision
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(commit)
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        blob = place / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        link = place / "snapshots" / commit / file.relative_to(folder)
        for path in (blob, link):
            path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, blob)
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return commit


def byte_tokenizer(vocabulary: int, texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of at most `vocabulary` tokens that reads any text, without special tokens around it."""
    encoder = Tokenizer(models.BPE())
    encoder.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    encoder.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    encoder.train_from_iterator(texts, trainer)
    pad, bos, eos = SPECIAL_TOKENS
    return PreTrainedTokenizerFast(
        tokenizer_object=encoder,
        pad_token=pad,
        bos_token=bos,
        eos_token=eos,
        chat_template="{% for message in messages %}{{ message['content'] }}{% endfor %}{{ eos_token }}",
    )
