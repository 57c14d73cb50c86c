"""The text that models are trained on: gathered, split into train and held-out documents, and written."""

import hashlib
import json
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from headwise.models.standard_library import standard_library_texts
from headwise.provenance import atomic, file_digest, write_json
from headwise.study.data import Corpus

Split = Literal["train", "held_out"]
SPLITS: tuple[Split, ...] = ("train", "held_out")
# A vocabulary cannot be learned from less; a page or two of text.
MINIMUM_CHARACTERS = 5_000


class CorpusError(ValueError):
    """Text that no model can be trained on; the message says what is missing and what to do."""


@dataclass(frozen=True)
class Document:
    """One document of the corpus; `id` is unique and decides the split."""

    id: str
    title: str
    text: str
    split: Split


def build_corpus(settings: Corpus, documents: Path, facts: Path) -> None:
    """Gather the corpus of a study.

    `documents` receives one JSON object per line (id, title, text, split), sorted by id; texts that occur
    twice are kept once. `facts` receives source, path, revision and python version (null where the source has
    none), the SHA-256 of `documents`, and documents and characters per split. A document is held out when the
    hash of its id says so: the split does not depend on the order of documents, nor on which others there are.

    Raises CorpusError where there is no text, too little of it, or a split without documents.
    """
    texts = {"standard_library": _standard_library, "text": _text_files, "dataset": _dataset}[settings.source](settings)
    corpus = _documents(texts, settings.held_out)
    counts = {split: [len(document.text) for document in corpus if document.split == split] for split in SPLITS}
    characters = sum(map(sum, counts.values()))
    if characters < MINIMUM_CHARACTERS:
        raise CorpusError(
            f"corpus: {len(corpus)} documents hold {characters:,} characters, "
            f"and training needs {MINIMUM_CHARACTERS:,}: add text to the corpus"
        )
    for split, lengths in counts.items():
        if not lengths:
            raise CorpusError(
                f"corpus: no document of {len(corpus)} fell into the split '{split}' "
                f"at corpus.held_out {settings.held_out}: add documents, or change corpus.held_out"
            )
    with atomic(documents) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as stream:
        for document in corpus:
            stream.write(json.dumps(asdict(document), ensure_ascii=False) + "\n")
    summary: dict[str, Any] = {
        "source": settings.source,
        "path": settings.path,
        "revision": settings.revision,
        "python": platform.python_version() if settings.source == "standard_library" else None,
        "digest": file_digest(documents),
        "documents": {split: len(lengths) for split, lengths in counts.items()},
        "characters": {split: sum(lengths) for split, lengths in counts.items()},
    }
    write_json(summary, facts)


def read_documents(path: Path, split: Split) -> list[Document]:
    """The documents of one split, in the order of the file. Raises CorpusError where there are none."""
    with open(path, encoding="utf-8") as stream:
        documents = [Document(**json.loads(line)) for line in stream]
    chosen = [document for document in documents if document.split == split]
    if not chosen:
        raise CorpusError(f"{path}: no document is in the split '{split}': build the corpus again with more documents")
    return chosen


def _documents(texts: Iterable[tuple[str, str, str]], held_out: float) -> list[Document]:
    """Non-empty documents sorted by id, without repeated texts: a text in both splits is not held out."""
    kept: dict[str, Document] = {}
    for identity, title, text in sorted(texts):
        if text.strip():
            kept.setdefault(text, Document(identity, title, text, _split(identity, held_out)))
    return list(kept.values())


def _split(identity: str, held_out: float) -> Split:
    """The split that an id decides: its hash as a number in [0, 1) lies below the share held out, or not."""
    number = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big") / 2**64
    return "held_out" if number < held_out else "train"


def _standard_library(settings: Corpus) -> list[tuple[str, str, str]]:
    return standard_library_texts()


def _text_files(settings: Corpus) -> list[tuple[str, str, str]]:
    folder = Path(str(settings.path))
    if not folder.is_dir():
        raise CorpusError(f"corpus.path: there is no folder {folder}: correct the path")
    files = [path for path in folder.rglob("*") if path.suffix in (".txt", ".md") and path.is_file()]
    if not files:
        raise CorpusError(f"corpus.path: {folder} holds no .txt or .md file: add some, or correct the path")
    texts = []
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise CorpusError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}): convert it") from None
        texts.append((path.relative_to(folder).as_posix(), path.stem, text))
    return texts


def _dataset(settings: Corpus) -> list[tuple[str, str, str]]:
    try:
        import datasets
    except ModuleNotFoundError:
        raise CorpusError(
            "corpus.source dataset needs the library `datasets`: install headwise with the extra 'dataset', "
            "as in: pip install 'headwise[dataset]'"
        ) from None
    rows = datasets.load_dataset(settings.path, split=settings.split, revision=settings.revision)
    if settings.column not in rows.column_names:
        raise CorpusError(
            f"corpus.column: data set {settings.path} has no column '{settings.column}': "
            f"choose from {', '.join(rows.column_names)}"
        )
    return [(f"row/{row:09d}", f"row {row}", text) for row, text in enumerate(rows[settings.column])]
