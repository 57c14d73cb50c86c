"""Reading a study file: from YAML to a validated study, or to an error with one line per problem."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from headwise.study.merging import NO_MAPPING, merged
from headwise.study.models import FolderModel, TransformerLensModel
from headwise.study.problems import SOURCES, sentence
from headwise.study.section import StudyError
from headwise.study.sections import folders
from headwise.study.study import Study, study_model


def parse_study(content: Any, source: str) -> Study:
    """Validate the content of a study file.

    Raises StudyError whose message has one line per problem: file, path of the field, what is wrong, what to do.
    """
    if not isinstance(content, Mapping):
        raise StudyError(f"{source}: {NO_MAPPING}")
    try:
        return study_model().model_validate(content)
    except ValidationError as error:
        lines = []
        for detail in error.errors():
            # A discriminated union puts the tag into the location; it is no field of the file.
            parts = [
                part
                for position, part in enumerate(detail["loc"])
                if not (position == 2 and detail["loc"][0] == "models" and part in SOURCES)
            ]
            field = ".".join(map(str, parts))
            lines += [f"{source}: {field + ': ' if field else ''}{problem}" for problem in sentence(detail).split("\n")]
        raise StudyError("\n".join(lines)) from None


def load_study(*paths: str | Path, changes: Sequence[str] = ()) -> Study:
    """Read and validate a study that stands in one or several files, merged as Snakemake merges them.

    changes  sections or fields as Snakemake's `--config` takes them: "name=pilot", "training={batch: 64}"

    Raises StudyError, naming the file, as `parse_study` and `read_yaml` do.
    """
    content = merged(paths, changes)
    return parse_study(content, ", ".join(map(str, paths)))


def check_paths(study: Study, root: Path, source: str) -> None:
    """Refuse a study whose folders and files are not there, or whose data set could change.

    Relative paths start from `root`. Raises StudyError like `parse_study`.
    """
    needed, files = folders(study), []
    if study.corpus.source == "text":
        needed.append(("corpus.path", str(study.corpus.path)))
    pinned = study.corpus.source != "dataset" or study.corpus.revision or (root / str(study.corpus.path)).is_dir()
    for position, model in enumerate(study.models):
        field = f"models.{position} ('{model.name}')"
        seeds = study.seeds_of(model)
        if isinstance(model, FolderModel):
            paths = [model.place("path", seed) for seed in seeds]
            needed += [(f"{field}.path", path) for path in paths]
            files += [(f"{field}.path", f"{path}/config.json") for path in paths if (root / path).is_dir()]
        elif isinstance(model, TransformerLensModel):
            needed += [(f"{field}.tokenizer", model.tokenizer)] if model.tokenizer else []
            files += [(f"{field}.config", model.config)] if model.config else []
            files += [(f"{field}.weights", model.place("weights", seed)) for seed in seeds if not model.repository]
    problems = [("folder", *named) for named in needed if not (root / named[1]).is_dir()]
    problems += [("file", *named) for named in files if not (root / named[1]).is_file()]
    lines = [f"{source}: {field}: there is no {kind} {path}: correct the path" for kind, field, path in problems]
    if not pinned:
        lines.append(
            f"{source}: corpus.revision: '{study.corpus.path}' is no folder here, and a data set of the hub needs a "
            "pinned revision: add `revision:` with the 40 hexadecimal digits of a commit, or correct the path"
        )
    if lines:
        # What does not depend on the seed is named once.
        raise StudyError("\n".join(dict.fromkeys(lines)))


def study_schema() -> dict[str, Any]:
    """JSON Schema of the study file, for editors; published under workflow/schemas/."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **study_model().model_json_schema()}
