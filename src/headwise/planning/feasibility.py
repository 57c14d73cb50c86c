"""What can be known from files before anything is measured: whether checkpoints are whole, and prompts fit into models.

Reads JSON, headers of weights and tokenizers; imported by the Snakefile, so nothing heavy is imported here.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from headwise.models.checks import check_checkpoint, stated_positions
from headwise.models.encoding import encode
from headwise.models.headers import CheckpointError
from headwise.models.limits import Limits
from headwise.models.vocabulary import encode_from_files, read_encoder
from headwise.runtime.json_files import read_json, write_json
from headwise.study.extraction import Extraction
from headwise.study.models import AnyModel, FolderModel, HubModel, TrainedModel
from headwise.study.prompts import EncodedPrompt, Prompt, read_prompts
from headwise.study.section import StudyError
from headwise.study.sections import length_problems
from headwise.study.study import Study

# In a study's results, once its prompts are known to fit into the models that it trains.
CHECKED = "lengths.json"


def check_study(study: Study, prompts: Sequence[Prompt], root: Path, source: str) -> None:
    """Refuse a study one of whose models, as far as it is there, cannot be measured on these prompts.

    prompts  the study's; empty where they are still to be downloaded
    root     where relative paths start, and results/ lies
    source   the study file, for errors

    A model that is trained here is checked once its tokenizer is there; one of a hub once it is fetched. Raises
    StudyError with one line per problem.
    """
    problems = []
    positions: dict[str, int] = {}
    for number, model in enumerate(study.models):
        field = f"{source}: models.{number} ('{model.name}')"
        for folder in dict.fromkeys(_folders(study, model, root)):
            try:
                check_folder(folder, prompts, study.extraction_of(model), study.loading_of(model).trust_remote_code)
                if (most := stated_positions(folder)) is not None:
                    positions[model.name] = most
            except ValueError as error:  # all that a checkpoint, its tokenizer or its template is refused by
                problems.append(f"{field}: {error}")
    results = root / "results" / study.name
    # Not with a tokenizer that is about to be trained anew.
    if (results / CHECKED).is_file() and read_json(results / CHECKED) == _learned_from(study):
        try:
            check_trained(study, prompts, results / "tokenizer")
        except ValueError as error:
            problems.append(f"{source}: {error}")
    problems += [f"{source}: {problem}" for problem in length_problems(study, positions)]
    if problems:
        raise StudyError("\n".join(problems))


def check_folder(
    folder: Path, prompts: Sequence[Prompt], extraction: Extraction, own_code: bool = False
) -> list[EncodedPrompt] | None:
    """Refuse a checkpoint folder that cannot be measured on these prompts; the prompts as it reads them, if files say.

    Raises CheckpointError, PromptError, and EncodingError or ChatTemplateError for a tokenizer that does not fit.
    """
    check_checkpoint(folder, own_code)
    return encode_from_files(folder, prompts, extraction)


def check_pair(base: Path, aligned: Path, prompts: Sequence[Prompt], extraction: Extraction) -> None:
    """Refuse two checkpoints that cannot be compared on these prompts, before either is measured.

    Raises as `check_folder` does, and CheckpointError where a prompt becomes other tokens for one than for the other.
    """
    read = [check_folder(folder, prompts, extraction) for folder in (base, aligned)]
    if read[0] is None or read[1] is None:
        return
    for one, other in zip(*read, strict=True):
        if one.token_ids != other.token_ids:
            raise CheckpointError(
                f"{base} and {aligned} cannot be compared: prompt '{one.id}' becomes other tokens for one than for the "
                f"other ({len(one.token_ids)} and {len(other.token_ids)}): give both the same tokenizer and template"
            )


def check_trained(study: Study, prompts: Sequence[Prompt], tokenizer: Path) -> None:
    """Refuse prompts that do not fit into the models that are trained here, in tokens of the tokenizer in that folder.

    Raises PromptError.
    """
    trained = [model for model in study.models if isinstance(model, TrainedModel)]
    encoder = read_encoder(tokenizer)
    assert encoder is not None, "tokenizers that are trained here are read from tokenizer.json"
    encode(
        prompts, encoder, study.extraction, Limits(None, min(study.decoder_of(model).positions for model in trained))
    )


def check_lengths(study: Study, prompts: Sequence[Path], tokenizer: Path, checked: Path) -> None:
    """`check_trained`, and a file that says which tokenizer it was that the prompts fit with. Raises PromptError.

    prompts  the prompt file first; none: the one that the study names
    """
    check_trained(study, read_prompts(prompts[0] if prompts else Path(study.prompts.path)), tokenizer)
    write_json(_learned_from(study), checked)


def _learned_from(study: Study) -> dict[str, Any]:
    """What a study's tokenizer follows from."""
    return {"corpus": study.corpus.model_dump(mode="json"), "tokenizer": study.tokenizer.model_dump(mode="json")}


def _folders(study: Study, model: AnyModel, root: Path) -> Iterator[Path]:
    """Where a model that was made elsewhere lies, at each of its seeds: on disk, or in the cache if it is fetched."""
    for seed in study.seeds_of(model):
        if isinstance(model, FolderModel):
            yield root / model.place("path", seed)
        elif isinstance(model, HubModel):
            fetched = root / "results" / study.name / "models" / model.name / f"seed{seed}.json"
            if fetched.is_file():
                from headwise.models.hub import FetchError, fetched_folder  # takes longer than the rest together

                # What a finished study was made of may have left the cache since; who needs it is told then.
                with suppress(FetchError):
                    yield fetched_folder(fetched)
