"""What rules tell the jobs that make, fetch and convert models.

Imported by the Snakefile: nothing heavy is imported here.
"""

from typing import Any

from headwise.study.data import Corpus
from headwise.study.jobs import model_metadata
from headwise.study.models import AlignedModel, LoadedModel, TrainedModel
from headwise.study.study import Study


def corpus_arguments(study: Study) -> dict[str, Any]:
    """Of rule build_corpus."""
    return {"settings": study.corpus.model_dump()}


def grammar_arguments(study: Study) -> dict[str, Any]:
    """Of rule build_grammar: synthetic text, split as the corpus is."""
    shares = {"held_out": study.corpus.held_out, "validation": study.corpus.validation}
    return {"settings": Corpus(source="grammar", **shares).model_dump()}


def tokenizer_arguments(study: Study) -> dict[str, Any]:
    """Of rule train_tokenizer."""
    return {"settings": study.tokenizer.model_dump()}


def lengths_arguments(study: Study) -> dict[str, Any]:
    """Of rule check_lengths."""
    return {"study": study.model_dump(mode="json")}


def training_arguments(study: Study, name: str, seed: int) -> dict[str, Any]:
    """Of rule train_model."""
    model = study.model(name)
    assert isinstance(model, TrainedModel), f"rule train_model makes no {model.source}"
    return {
        "decoder": study.decoder_of(model).model_dump(),
        "training": study.training_of(model).model_dump(),
        "metadata": model_metadata(study, name, seed),
    }


def alignment_arguments(study: Study, name: str, seed: int) -> dict[str, Any]:
    """Of rule align_model."""
    model = study.model(name)
    assert isinstance(model, AlignedModel), f"rule align_model makes no {model.source}"
    return {
        "method": model.method,
        "placebo": model.placebo,
        **({"coin": model.coin} if model.coin > 1 else {}),
        "settings": study.settings_of(model).model_dump(),
        "metadata": model_metadata(study, name, seed),
    }


def fetching_arguments(study: Study, name: str, seed: int) -> dict[str, Any]:
    """Of rule fetch_model."""
    model = study.model(name)
    assert isinstance(model, LoadedModel), f"rule fetch_model fetches no {model.source}"
    return {"downloads": [download.model_dump() for download in model.downloads(seed)]}


def conversion_arguments(study: Study, name: str, seed: int) -> dict[str, Any]:
    """Of rule convert_model: the model without what it is only measured with."""
    model = study.model(name)
    return {
        "model": model.model_dump(exclude=set(LoadedModel.measured_with)),
        "metadata": model_metadata(study, name, seed),
    }
