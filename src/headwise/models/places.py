"""Where the files of a study lie, as its rules name them: results, checkpoints, and what a checkpoint is made from.

Imported by the Snakefile: nothing heavy is imported here.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from snakemake.io import contains_wildcard

from headwise.models.files import checkpoint_files, tokenizer_files
from headwise.study.models import (
    AlignedModel,
    AnyModel,
    FolderModel,
    LoadedModel,
    Model,
    TrainedModel,
    TransformerLensModel,
)
from headwise.study.section import StudyError
from headwise.study.study import Study

# Of a folder of results, what earlier versions wrote in places that no rule reads now.
FORMER_PLACES = ("comparison", "contrasts.parquet", "robustness")


def check_places(study: Study) -> None:
    """Refuse a folder of results of an earlier version. Raises StudyError."""
    folder = Path("results", study.name)
    if found := [place for place in FORMER_PLACES if (folder / place).exists()]:
        raise StudyError(
            f"{folder}: an earlier version wrote {', '.join(found)}, which no rule reads now: move them as "
            "docs/data-formats.md says, or move the whole folder away"
        )


def results(study: Study, path: str) -> str:
    """A path below the folder of a study."""
    return f"results/{study.name}/{path}"


def per_seed(study: Study, models: Iterable[Model], pattern: str) -> list[str]:
    """Results for every model and each of its seeds, which the pattern has as `{model}` and `{seed}`."""
    return [
        results(study, pattern.format(model=model.name, seed=seed))
        for model in models
        for seed in study.seeds_of(model)
    ]


def from_sources(study: Study, *sources: str) -> list[AnyModel]:
    """The models of a study from these sources."""
    return [model for model in study.models if model.source in sources]


def checkpoint_of(study: Study, name: str, seed: int) -> str:
    """A model's checkpoint as `load_checkpoint` takes it: its folder, config.json in it, or what was fetched."""
    model = study.model(name)
    if isinstance(model, FolderModel):
        return os.path.join(model.place("path", seed), "config.json")
    place = results(study, f"models/{name}/seed{_kept_under(study, model, seed)}")
    return f"{place}.json" if model.source == "hub" else place


def base_checkpoint(study: Study, name: str, seed: int) -> str:
    """The checkpoint that an aligned model starts from."""
    model = study.model(name)
    assert isinstance(model, AlignedModel), f"rule align_model makes no {model.source}"
    return checkpoint_of(study, model.base, seed)


def files_of(study: Study, name: str, seed: int) -> list[str]:
    """The other files of a checkpoint on disk, so that what changes in it is noticed file by file.

    Raises StudyError for a file with braces in its name.
    """
    model = study.model(name)
    if not isinstance(model, FolderModel):
        return []
    files = without_braces(checkpoint_files(model.place("path", seed)))
    return [file for file in files if file != checkpoint_of(study, name, seed)]


def documents_of(study: Study, name: str, seed: int) -> str:
    """The text that a model is trained or aligned on, at any seed: a descendant's is that of its base."""
    model = study.model(name)
    trained = study.model(model.base) if isinstance(model, AlignedModel) else model
    assert isinstance(trained, TrainedModel), "a study with another base was refused"
    return results(study, f"{trained.data}/documents.jsonl")


def fetched_files(study: Study) -> list[str]:
    """What `fetch_model` writes for all models of a hub."""
    return [
        results(study, f"models/{model.name}/seed{_kept_under(study, model, seed)}.json")
        for model in study.models
        if isinstance(model, LoadedModel)
        for seed in study.seeds_of(model)
        if model.downloads(seed)
    ]


def unconverted_files(study: Study, name: str, seed: int) -> dict[str, str | list[str]]:
    """The files that a model of TransformerLens is converted from: on disk, and what says which were fetched.

    Raises StudyError for a file of the tokenizer with braces in its name.
    """
    model = study.model(name)
    assert isinstance(model, TransformerLensModel), f"rule convert_model converts no {model.source}"
    files: dict[str, str | list[str]] = {}
    if model.downloads(seed):
        files["fetched"] = results(study, f"models/{model.name}/seed{seed}.json")
    if model.repository is None:
        files["weights"] = model.place("weights", seed)
    if model.config is not None:
        files["config"] = model.config
    if model.tokenizer is not None:
        files["tokenizer"] = without_braces(tokenizer_files(model.tokenizer))
    return files


def without_braces(files: Iterable[str | Path]) -> list[str]:
    """The files of a checkpoint, whose names are few, and no one's choice. Raises StudyError where one has braces."""
    found = list(map(str, files))
    for file in found:
        if contains_wildcard(file):
            raise StudyError(f"{file}: Snakemake takes braces in this name for a wildcard: rename the file")
    return found


def _kept_under(study: Study, model: Model, seed: int) -> int:
    """The seed that a checkpoint is kept under; one without refits is kept once, whatever seeds it is measured at."""
    return seed if getattr(model, "has_refits", True) else study.seeds_of(model)[0]
