"""A small corpus with its tokenizer, and settings of models that train in a second."""

from pathlib import Path

from tiny import write_text

from headwise.models.corpus import build_corpus
from headwise.models.tokenizer import train_tokenizer
from headwise.study.data import Corpus, Tokenizer
from headwise.study.training import Decoder, Training

VOCABULARY = 400
DECODER = {"layers": 2, "hidden": 32, "heads": 4, "head_width": 8, "feed_forward": 48, "positions": 64}
TRAINING = {"steps": 8, "batch": 4, "tokens": 32, "warmup": 2, "evaluate_every": 4, "learning_rate": 5e-3}


def write_corpus(folder: Path, documents: int = 40, validation: float = 0.0) -> Path:
    """Write generated text and the corpus made of it; return the file of documents."""
    write_text(folder / "text", documents)
    settings = Corpus(source="text", path=str(folder / "text"), held_out=0.2, validation=validation)
    build_corpus(settings, folder / "documents.jsonl", folder / "corpus.json")
    return folder / "documents.jsonl"


def write_tokenizer(folder: Path, documents: Path) -> Path:
    """Train a tokenizer on the documents; return its folder."""
    train_tokenizer(documents, Tokenizer(vocabulary=VOCABULARY), folder / "tokenizer")
    return folder / "tokenizer"


def decoder(**changes: int) -> Decoder:
    """The shape of the small decoder, with changes."""
    return Decoder(**{**DECODER, **changes})


def training(**changes: float) -> Training:
    """The short training, with changes."""
    return Training(**{**TRAINING, **changes})
