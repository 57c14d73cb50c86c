"""Which files of a checkpoint matter: its configuration, its weights in safetensors, its tokenizer; those of a corpus.

Imported by the Snakefile, so nothing heavy is imported here.
"""

from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any, cast

from headwise.models.headers import FETCH_AGAIN, CheckpointError, read_object
from headwise.study.data import Corpus

CONFIG = "config.json"
GENERATION = "generation_config.json"  # which tokens end a text
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
# Endings of weights that are read by unpickling, which runs whatever code their author put there.
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
# A tokenizer is there if one of these is.
VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tokenizer_config.json")
TOKENIZER_FILES = (
    *VOCABULARIES,
    "added_tokens.json",
    "chat_template.json",
    "chat_template.jinja",
    "additional_chat_templates/*.jinja",
    "merges.txt",
    "special_tokens_map.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tekken.json",
    "*.tiktoken",
)


def is_tokenizer_file(name: str) -> bool:
    """Whether a file, named as seen from the checkpoint's folder, is part of a tokenizer."""
    return any(fnmatch(name, pattern) for pattern in TOKENIZER_FILES)


def tokenizer_files(folder: str | Path) -> list[Path]:
    """The files of a tokenizer in a folder that may hold a model as well, sorted by name."""
    return sorted({path for pattern in TOKENIZER_FILES for path in Path(folder).glob(pattern) if path.is_file()})


def weight_files(folder: str | Path) -> list[Path]:
    """The safetensors files that hold a checkpoint's weights, sorted by name; whether they exist or not.

    As transformers does, model.safetensors is taken where it exists, else what the index names; other weights that lie
    beside them are none of the checkpoint. Raises CheckpointError for a damaged index.
    """
    folder = Path(folder)
    if (folder / WEIGHTS).is_file() or not (folder / INDEX).is_file():
        return [folder / WEIGHTS]
    return [folder / name for name in indexed_weights(folder / INDEX)]


def indexed_weights(index: Path) -> list[str]:
    """Names of the weight files that an index of shards lists, sorted. Raises CheckpointError as `weight_map` does."""
    return sorted(set(weight_map(index).values()))


def weight_map(index: Path) -> dict[str, str]:
    """The file of each tensor, as an index of shards has it; all of them in the folder of the index.

    Raises CheckpointError for a damaged index, and for files that would lie elsewhere.
    """
    named = read_object(index).get("weight_map")
    if not isinstance(named, dict) or not named or not all(isinstance(file, str) for file in named.values()):
        raise CheckpointError(
            f"{index}: `weight_map` does not say which file each tensor is in: {FETCH_AGAIN}, or save the model again "
            "with `save_pretrained`"
        )
    for tensor, file in named.items():
        place = PurePosixPath(file.replace("\\", "/"))  # a name of Windows has other separators
        if place.is_absolute() or ".." in place.parts or ":" in file or place.suffix != ".safetensors":
            raise CheckpointError(
                f"{index}: '{tensor}' is said to be in '{file}', which is no safetensors file of this folder: "
                f"{FETCH_AGAIN}, or save the model again with `save_pretrained`"
            )
    return named


def fetched_sources(record: Path) -> list[dict[str, Any]]:
    """What `fetch_model` wrote of each source: repository, revision, commit and files.

    Raises CheckpointError for a file that it did not write.
    """
    sources = read_object(record).get("sources")
    whole = isinstance(sources, list) and all(isinstance(source, dict) and "files" in source for source in sources)
    if not whole or not sources:
        raise CheckpointError(
            f"{record}: not a record of a model that was fetched: give the folder of a checkpoint, or fetch the model "
            "again"
        )
    return cast(list[dict[str, Any]], sources)


def checkpoint_files(folder: str | Path) -> list[Path]:
    """The files of a checkpoint folder that a model and its tokenizer are read from, sorted by name."""
    folder = Path(folder)
    named = [folder / CONFIG, folder / GENERATION, folder / INDEX, *weight_files(folder)]
    return sorted({*(path for path in named if path.is_file()), *tokenizer_files(folder)})


def pickled_weights(names: Iterable[str]) -> list[str]:
    """Those of some file names that are weights to unpickle, sorted."""
    return sorted(name for name in names if name.endswith(PICKLED))


def corpus_files(corpus: Corpus) -> list[Path]:
    """The files of a corpus that lies in a folder, without hidden ones; the other sources have none there.

    Hidden are files and folders whose names begin with a dot: what editors, notebooks and file systems keep for
    themselves, copies of the documents among it. `datasets` leaves them out as well.
    """
    if corpus.path is None or corpus.source not in ("text", "dataset"):
        return []
    folder = Path(corpus.path)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [
        path
        for path in files
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and (corpus.source == "dataset" or path.suffix in (".txt", ".md"))
    ]
