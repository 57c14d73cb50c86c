"""The text that models are trained on: gathered, split into train and held-out documents, and written."""

import hashlib
import json
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from huggingface_hub.errors import HTTPError

from headwise.models.files import corpus_files
from headwise.models.grammar import grammar_texts
from headwise.models.near_copies import ALIKE, HeldOut
from headwise.models.package_texts import other_versions, package_facts, package_texts
from headwise.models.standard_library import standard_library_texts
from headwise.runtime.atomic import atomic
from headwise.runtime.json_files import write_json
from headwise.runtime.progress import track
from headwise.runtime.provenance import file_digest
from headwise.study.data import Corpus

Split = Literal["train", "held_out", "validation"]
# A vocabulary cannot be learned from less; a page or two of text.
MINIMUM_CHARACTERS = 5_000
BYTE_ORDER_MARK = "\ufeff"


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
    twice are kept once. `facts` receives source, path, configuration, revision, python version, and version and licence
    of each package (null where the source has none), the SHA-256 of `documents`, and documents and characters per
    split. The hash of its id says which split a document is in: this does not depend on the order of documents,
    nor on which others there are, and held-out documents are the same whatever the share of validation. A near
    copy of a held-out document is left out of the other splits, so that held-out text stays as it is, and a near copy
    of a validation document out of training. `left_out` counts documents without
    text, repeated ones and near copies;
    `held_out_in_training` is the share of the spans of held-out text, about ten words each, that stand in training
    documents all the same.

    Raises CorpusError where there is no text, too little of it, a split without documents, or a file or row that is not
    text, where half of the held-out text stands in the training text, and where `settings.sha256` is another digest.
    """
    sources = {
        "standard_library": _standard_library,
        "packages": _packages,
        "text": _text_files,
        "dataset": _dataset,
        "grammar": _grammar,
    }
    texts = sources[settings.source](settings)
    splits: tuple[Split, ...] = ("train", "held_out", "validation") if settings.validation else ("train", "held_out")
    left_out = {"empty": 0, "repeated": 0, "near_copies": 0}
    documents.parent.mkdir(parents=True, exist_ok=True)
    # Not in memory: a data set may be larger.
    with TemporaryDirectory(prefix=".gathered-", dir=documents.parent) as folder, atomic(documents) as temporary:
        gathered = Path(folder) / documents.name
        lengths = _write(_documents(texts, settings, left_out), gathered, splits)
        _refuse_too_little(lengths, settings)
        near_copies, seen = _overlap(gathered, splits, lengths)
        left_out["near_copies"] = len(near_copies)
        lengths = _write((each for each in _read(gathered) if each.id not in near_copies), temporary, splits)
        _refuse_too_little(lengths, settings)
        digest = file_digest(temporary)
        _refuse_another(settings, digest)
    summary: dict[str, Any] = {
        "source": settings.source,
        "path": settings.path,
        "configuration": settings.configuration,
        "revision": settings.revision,
        "python": platform.python_version() if settings.source == "standard_library" else None,
        "packages": package_facts(settings.packages) if settings.source == "packages" else None,
        "digest": digest,
        "documents": {split: len(characters) for split, characters in lengths.items()},
        "characters": {split: sum(characters) for split, characters in lengths.items()},
        "left_out": left_out,
        "held_out_in_training": seen,
    }
    write_json(summary, facts)


def read_documents(path: Path, split: Split) -> list[Document]:
    """The documents of one split, in the order of the file. Raises CorpusError where there are none."""
    chosen = [document for document in _read(path) if document.split == split]
    if not chosen:
        raise CorpusError(f"{path}: no document is in the split '{split}': build the corpus again with more documents")
    return chosen


def _read(path: Path) -> Iterator[Document]:
    with open(path, encoding="utf-8") as stream:
        yield from (Document(**json.loads(line)) for line in stream)


def _write(documents: Iterable[Document], path: Path, splits: Sequence[Split]) -> dict[Split, list[int]]:
    """Write documents as JSON Lines; returns how many characters each has, per split."""
    lengths: dict[Split, list[int]] = {split: [] for split in splits}
    with open(path, "w", encoding="utf-8", newline="\n") as stream:
        for document in documents:
            lengths[document.split].append(len(document.text))
            stream.write(json.dumps(asdict(document), ensure_ascii=False) + "\n")
    return lengths


def _overlap(path: Path, splits: Sequence[Split], lengths: Mapping[Split, Sequence[int]]) -> tuple[set[str], float]:
    """Ids of documents that are near copies of held-out ones, and of training documents that are near copies of
    validation ones; share of held-out text in the training documents that are left.

    Raises CorpusError where that share is half or more.
    """
    near_copies, seen, most = _copies(path, "held_out", [split for split in splits if split != "held_out"], lengths)
    if seen >= ALIKE:
        raise CorpusError(
            f"corpus: {seen:.0%} of the held-out text stands in training documents as well, most of it in '{most}': "
            "remove documents that repeat the text of others, such as a whole book beside its chapters"
        )
    if "validation" in splits:
        near_copies |= _copies(path, "validation", ["train"], lengths)[0]
    return near_copies, seen


def _copies(
    path: Path, kept: Split, others: Sequence[Split], lengths: Mapping[Split, Sequence[int]]
) -> tuple[set[str], float, str]:
    """Ids of documents of the other splits that are near copies of those of the split that is kept; what
    `HeldOut.seen_in_training` says of the rest."""
    texts = ((document.id, document.text) for document in _read(path) if document.split == kept)
    longest = max(length for split in others for length in lengths[split])
    held_out = HeldOut(texts, max(sum(lengths[kept]), longest))
    rest = (document for document in _read(path) if document.split in others)
    near_copies = {document.id for document in rest if held_out.is_near_copy(document.text)}
    return near_copies, *held_out.seen_in_training()


def _refuse_too_little(lengths: Mapping[Split, Sequence[int]], settings: Corpus) -> None:
    documents, characters = sum(map(len, lengths.values())), sum(map(sum, lengths.values()))
    if characters < MINIMUM_CHARACTERS:
        raise CorpusError(
            f"corpus: {documents} documents hold {characters:,} characters, "
            f"and training needs {MINIMUM_CHARACTERS:,}: add text to the corpus"
        )
    for split, counted in lengths.items():
        if not counted:
            field = "validation" if split == "validation" else "held_out"
            raise CorpusError(
                f"corpus: no document of {documents} fell into the split '{split}' "
                f"at corpus.{field} {getattr(settings, field)}: add documents, or change corpus.{field}"
            )


def _refuse_another(settings: Corpus, digest: str) -> None:
    """Raise CorpusError where the study names a corpus that is not the one built."""
    if settings.sha256 in (None, digest):
        return
    remedy = "restore the text that the digest is of"
    if settings.source == "packages":
        others = ", ".join(other_versions(settings.packages)) or "none"
        remedy = f"install the versions that constraints.txt pins (other ones here: {others})"
    raise CorpusError(
        f"corpus.sha256: expected {settings.sha256}, built {digest}: {remedy}, "
        "or set corpus.sha256 to the digest that was built"
    )


def _documents(texts: Iterable[tuple[str, str, str]], settings: Corpus, left_out: dict[str, int]) -> Iterator[Document]:
    """Documents in their order, without empty and repeated ones, which `left_out` counts."""
    # Digests instead of texts: a data set may be larger than memory.
    seen: set[bytes] = set()
    for identity, title, text in texts:
        text = text.removeprefix(BYTE_ORDER_MARK)
        try:
            digest = hashlib.sha256(text.encode()).digest()
            split = _split(identity, settings)
        except UnicodeEncodeError as error:
            raise CorpusError(
                f"corpus: document {identity!a} has {error.object[error.start]!a} in its name or text, which "
                "UTF-8 cannot hold: rename or convert it"
            ) from None
        if not text.strip():
            left_out["empty"] += 1
        elif digest in seen:
            left_out["repeated"] += 1
        else:
            seen.add(digest)
            yield Document(identity, title, text, split)


def _split(identity: str, settings: Corpus) -> Split:
    """The split that an id decides, by where its hash lies as a number in [0, 1): held out, validation, train."""
    number = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big") / 2**64
    if number < settings.held_out:
        return "held_out"
    return "validation" if number < settings.held_out + settings.validation else "train"


def _standard_library(settings: Corpus) -> list[tuple[str, str, str]]:
    return sorted(standard_library_texts())


def _packages(settings: Corpus) -> list[tuple[str, str, str]]:
    return package_texts(settings.packages)


def _grammar(settings: Corpus) -> Iterable[tuple[str, str, str]]:
    return grammar_texts()


def _text_files(settings: Corpus) -> list[tuple[str, str, str]]:
    folder = Path(str(settings.path))
    if not folder.is_dir():
        raise CorpusError(f"corpus.path: there is no folder {folder}: correct the path")
    files = corpus_files(settings)
    if not files:
        raise CorpusError(
            f"corpus.path: {folder} holds no .txt or .md file that is not hidden: add some, or correct the path"
        )
    return sorted((path.relative_to(folder).as_posix(), path.stem, _read_text(path)) for path in files)


def _read_text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}): convert it") from None
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}): make it readable, or remove it") from None
    if "\0" in text:
        raise CorpusError(f"{path}: not UTF-8 text but UTF-16 or no text (it holds the byte 0): convert or remove it")
    return text


def _dataset(settings: Corpus) -> Iterator[tuple[str, str, str]]:
    """Rows of a data set in their order, one at a time; those without text are left out."""
    try:
        import datasets
    except ModuleNotFoundError:
        raise CorpusError(
            "corpus.source dataset needs the library `datasets`: install headwise with the extra 'dataset', "
            "as in: pip install 'headwise[dataset]'"
        ) from None
    where = f"data set {settings.path}"
    on_disk = Path(str(settings.path)).is_dir()
    try:
        rows = datasets.load_dataset(
            settings.path,
            settings.configuration,
            split=settings.split,
            revision=None if on_disk else settings.revision,
            streaming=True,
        )
        if settings.rows is not None:
            rows = rows.take(settings.rows)
        for number, row in enumerate(track(rows, f"rows of {where}", settings.rows)):
            if settings.column not in row:
                raise CorpusError(
                    f"corpus.column: {where} has no column '{settings.column}': choose from {', '.join(row)}"
                )
            text = row[settings.column]
            if text is None:
                continue
            if not isinstance(text, str):
                raise CorpusError(
                    f"corpus.column: '{settings.column}' of {where} holds {type(text).__name__} in row {number}, not "
                    "text: choose another column"
                )
            yield f"row/{number:09d}", f"row {number}", text
    except CorpusError:
        raise
    # No network and no such data set are OSErrors, an unknown split or configuration is a ValueError, and a data set
    # that would run code of its own a RuntimeError.
    except (OSError, ValueError, RuntimeError, HTTPError) as error:
        offline = (
            "; where there is no network, fetch it elsewhere with `hf download --repo-type dataset "
            f"{settings.path} --local-dir FOLDER` and set corpus.path to that folder"
        )
        raise CorpusError(
            f"corpus: {where} cannot be read ({' '.join(str(error).split())}): correct path, configuration, split or "
            "revision" + ("" if on_disk else offline)
        ) from error
