"""The public interface for Python: what the commands do, as functions that return data frames. All else is private.

    import headwise
    headwise.compare("path/to/base", "path/to/aligned")

A checkpoint is a folder in the layout of transformers; prompts are a file, .jsonl or .txt, by default the set that
ships, where the current folder lies in a checkout. Errors are ValueErrors whose message says what to do.
"""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd

    from headwise.study.extraction import Extraction

SHIPPED_PROMPTS = Path("prompts") / "headwise-120.jsonl"

PathLike = str | Path
Dtype = Literal["float32", "bfloat16", "float16"]
Template = Literal["raw", "chat"]
FirstToken = Literal["tokenizer", "none", "bos"]


def compare(
    base: PathLike,
    aligned: PathLike,
    prompts: PathLike | None = None,
    *,
    estimators: Sequence[str] = (),
    primary: str = "hellinger",
    dtype: Dtype = "float32",
    template: Template = "raw",
    first_token: FirstToken = "tokenizer",
    max_tokens: int = 128,
    output: PathLike | None = None,
) -> "pd.DataFrame":
    """Compare how specialized the heads of two checkpoints are, over prompts.

    estimators  names; none: all. primary: the one whose test is confirmatory
    output      folder that keeps statistics and features; None: they are not kept

    Returns a row per estimator and treatment of the first key: base_value, aligned_value, delta_absolute, its interval,
    p and the smallest p attainable; docs/data-formats.md, table comparisons.
    """
    from headwise.analyses.specialization.settings import Specialization, known_estimators
    from headwise.study.comparison import Comparison

    file = prompt_file(prompts)
    extraction = _extraction("statistics", dtype, template, first_token, max_tokens)
    chosen = Specialization.model_validate({"estimators": list(estimators) or known_estimators()})
    import pandas as pd

    from headwise.pair import compare_checkpoints

    with ExitStack() as stack:
        folder = Path(output or stack.enter_context(tempfile.TemporaryDirectory(prefix="headwise-")))
        comparison = Comparison.model_validate({"primary": primary})
        rows = compare_checkpoints(Path(base), Path(aligned), file, folder, extraction, chosen, comparison)
    return pd.DataFrame(rows)


def extract(
    checkpoint: PathLike,
    output: PathLike,
    prompts: PathLike | None = None,
    *,
    store: Literal["tensors", "statistics"] = "tensors",
    dtype: Dtype = "float32",
    template: Template = "raw",
    first_token: FirstToken = "tokenizer",
    max_tokens: int = 128,
) -> "pd.DataFrame":
    """Measure the attention of a checkpoint; write weights and statistics into the folder `output` as Parquet.

    Returns a row per layer and head with what it attends to (table descriptors).
    """
    file = prompt_file(prompts)
    extraction = _extraction(store, dtype, template, first_token, max_tokens)
    from headwise.pair import measure_checkpoint
    from headwise.runtime.parquet import read_table

    measure_checkpoint(Path(checkpoint), file, Path(output), extraction)
    return read_table(Path(output) / "descriptors.parquet")


def look(
    checkpoint: PathLike,
    text: str,
    layer: int,
    head: int,
    *,
    dtype: Dtype = "float32",
    template: Template = "raw",
    first_token: FirstToken = "tokenizer",
    max_tokens: int = 128,
) -> "pd.DataFrame":
    """The attention of one head over the tokens of a text.

    Returns a row per query and key that the query may attend to: query, key (positions from 0), query_token, key_token
    (their text), weight (0 to 1; those of a query sum to 1).
    """
    extraction = _extraction("tensors", dtype, template, first_token, max_tokens)
    from headwise.attention.look import head_on_text

    return head_on_text(Path(checkpoint), text, layer, head, extraction)


def stability(
    refits: Sequence[PathLike],
    prompts: PathLike | None = None,
    *,
    dtype: Dtype = "float32",
    template: Template = "raw",
    first_token: FirstToken = "tokenizer",
    max_tokens: int = 128,
) -> "pd.DataFrame":
    """Match the heads of refits of one architecture, by where they look and by what they write.

    Returns a row per measure and layer, and for the whole model (layer null): value, the mean similarity of matched
    heads over all pairs of refits; chance, what they reach on different texts; chance_corrected with its interval over
    refits (three refits at least); docs/stability.md.
    """
    from headwise.pair import match_refits

    extraction = _extraction("tensors", dtype, template, first_token, max_tokens)
    return match_refits([Path(refit) for refit in refits], prompt_file(prompts), extraction)


def noise(
    checkpoint: PathLike,
    text: PathLike,
    *,
    sites: Sequence[str] = ("attention_output", "keys", "values"),
    sigmas: Sequence[float] = (0.1, 0.3, 1.0),
    draws: int = 20,
    excerpts: int = 8,
    tokens: int = 64,
    dtype: Dtype = "float32",
    first_token: FirstToken = "tokenizer",
) -> "pd.DataFrame":
    """How much a language model loses on a text under Gaussian noise in its activations.

    text              file of plain text that the model was not trained on
    sites             attention_output, residual, attention_logits, keys, values
    sigmas            standard deviations, in units of the RMS of each layer's clean activations
    excerpts, tokens  of the text, evenly spread, and how long each is

    Returns a row per site and sigma: delta_nll_nats, the rise of the loss per token, with Student's interval over the
    draws.
    """
    from headwise.analyses.noise.settings import Noise

    settings = Noise.model_validate(
        {
            "sites": list(sites),
            "absolute": [],
            "relative": list(sigmas),
            "draws": draws,
            "excerpts": excerpts,
            "tokens": tokens,
            "specialization": {"sites": []},
        }
    )
    extraction = _extraction("statistics", dtype, "raw", first_token, max(2, tokens))
    from headwise.pair import response_to_noise

    return response_to_noise(Path(checkpoint), Path(text), extraction, settings)


def findings(results: PathLike) -> "pd.DataFrame":
    """What a study found: a row per sentence of its report, with estimate, interval, p and units.

    results  folder results/NAME of a study that has run, or its results.json
    """
    import pandas as pd

    return pd.DataFrame(read_results(Path(results))["findings"])


def read_results(results: Path) -> Mapping[str, Any]:
    """results.json of a study that has run. Raises ValueError where there is none, or something else."""
    from headwise.runtime.json_files import read_json

    file = results / "results.json" if results.is_dir() else results
    if not file.is_file():
        raise ValueError(f"{file}: there are no results here yet: run the study (snakemake --cores all) first.")
    found = read_json(file)
    if not isinstance(found, dict) or not {"study", "findings"} <= found.keys():
        raise ValueError(f"{file}: this is no results.json of a study: give results/NAME, or run the study again.")
    return found


def prompt_file(path: PathLike | None) -> Path:
    """The prompt file given, which can be read; by default the set that ships, which has its digest.

    Raises ValueError where there is neither.
    """
    from headwise.study.data import Prompts
    from headwise.study.prompts import load_verified, read_prompts

    if path is not None:
        read_prompts(Path(path))
        return Path(path)
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / SHIPPED_PROMPTS).is_file():
            load_verified(Prompts.model_validate({"path": str(SHIPPED_PROMPTS)}), folder)
            return folder / SHIPPED_PROMPTS
    raise ValueError(
        "no prompt set: this is no checkout of headwise, so give one with --prompts FILE "
        "(.jsonl with id, domain and text on each line, or .txt with lines '1. text')."
    )


def _extraction(store: str, dtype: str, template: str, first_token: str, max_tokens: int) -> "Extraction":
    from headwise.study.extraction import Extraction

    given = {"store": store, "dtype": dtype, "template": template, "first_token": first_token, "max_tokens": max_tokens}
    return Extraction.model_validate(given)
