"""An aligned model against its base, refit by refit and over refits, from their features."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwise.analyses.specialization.change import Change, changes_in_refit, changes_over_refits
from headwise.analyses.specialization.evaluate import Features, read_features
from headwise.analyses.specialization.registry import estimator
from headwise.runtime.parquet import read_metadata, write_table
from headwise.runtime.progress import track
from headwise.statistics.generators import generator_for
from headwise.statistics.result import joined
from headwise.study.comparison import Comparison
from headwise.study.prompts import read_prompts

if TYPE_CHECKING:
    import pyarrow

READ_AS = ("template", "first_token")  # what decides which tokens a prompt becomes
CONFOUNDERS = (*READ_AS, "dtype")  # what may differ, but is then a second factor


@dataclass(frozen=True, eq=False)
class Refit:
    """What was measured on a base model and on its aligned descendant from the same refit.

    features   by (estimator, sink): of the base, and of the aligned model
    weights    digests of the two models' weights
    confounds  what else differs between the two measurements, as sentences
    """

    seed: int
    features: dict[tuple[str, str], tuple[Features, Features]]
    weights: tuple[str, str]
    confounds: tuple[str, ...]
    metadata: Mapping[str, Any]


def compare_pair(
    base: Sequence[Path],
    aligned: Sequence[Path],
    seeds: Sequence[int],
    prompts: Path,
    table: Path,
    *,
    names: Mapping[str, Any],
    settings: Comparison,
) -> None:
    """Compare an aligned model with its base in every refit and over refits; write one row per test.

    base, aligned  features.parquet of each refit, in the order of `seeds`
    prompts        prompts.jsonl, for the domains of the prompts
    names          base, aligned, family and method, for the columns of these names
    settings       primary estimator, margin, level and resamples

    A refit whose weights are those of an earlier one measures nothing new: it gets its rows, but does not
    count as a refit. Raises ValueError, naming both models, where the two models were measured on different
    prompts, with different tokenizers, layers or heads, or by different estimators.
    """
    domains = {prompt.id: prompt.domain for prompt in read_prompts(prompts)}
    pair = f"{names['base']} and {names['aligned']}"
    refits = [read_refit(*files, pair) for files in zip(base, aligned, seeds, strict=True)]
    identity = ("comparison", names["base"], names["aligned"])
    tasks = [(refit, *key) for refit in refits for key in refit.features]
    changes: list[Change] = []
    for refit, name, sink in track(tasks, f"{names['aligned']} against {names['base']}", len(tasks)):
        features = refit.features[name, sink]
        changes += changes_in_refit(
            estimator(name),
            sink,
            refit.seed,
            *features,
            _domains_of(features[0].prompts, domains, prompts),
            settings,
            generator_for(*identity, refit.seed, name, sink),
            joined(*refit.confounds),
        )

    first_with: dict[tuple[str, str], int] = {}
    for refit in refits:
        first_with.setdefault(refit.weights, refit.seed)
    counted = list(first_with.values())
    repeated = ", ".join(str(refit.seed) for refit in refits if refit.seed not in counted)
    remark = joined(
        *(confound for refit in refits for confound in refit.confounds),
        f"same weights as an earlier seed, not counted: seed {repeated}" if repeated else None,
    )
    changes += changes_over_refits(changes, counted, settings, generator_for(*identity, "refits"), remark)
    shared = {key: refits[0].metadata.get(key) for key in ("study", "prompts_digest", "tokens_digest", "corpus_digest")}
    weights = {str(refit.seed): dict(zip(("base", "aligned"), refit.weights, strict=True)) for refit in refits}
    write_table(_table(changes, names), table, {**shared, **names, "weights_digests": weights, "refits": counted})


def read_refit(base: Path, aligned: Path, seed: int, pair: str) -> Refit:
    """Features of both models of one refit. Raises ValueError, naming `pair` and seed, if they do not compare."""
    metadata, aligned_metadata = read_metadata(base), read_metadata(aligned)

    def refuse(problem: str) -> ValueError:
        return ValueError(f"{pair}, seed {seed}, cannot be compared: {problem}")

    digests = metadata.get("prompts_digest"), aligned_metadata.get("prompts_digest")
    if digests[0] != digests[1]:
        raise refuse(f"their prompts_digest is {digests[0]} and {digests[1]}. Measure both on the same prompts.")
    ours, theirs = read_features(base), read_features(aligned)
    if list(ours) != list(theirs):
        raise refuse("they hold different estimators. Evaluate both models again.")
    for key, first in ours.items():
        second = theirs[key]
        if unshared := sorted(set(first.prompts) ^ set(second.prompts)):
            raise refuse(f"prompt '{unshared[0]}' is in one of them only. Extract both models again.")
        if first.prompts != second.prompts:
            raise refuse("their prompts are in different orders. Extract both models again.")
        if first.layers != second.layers or first.values.shape != second.values.shape:
            raise refuse("the models differ in layers or heads. Correct the base in the study file.")
    confounds = [field for field in CONFOUNDERS if metadata.get(field) != aligned_metadata.get(field)]
    if metadata["tokens_digest"] != aligned_metadata["tokens_digest"] and not set(READ_AS) & set(confounds):
        counts = zip(
            next(iter(ours.values())).prompts,
            metadata["tokens_per_prompt"],
            aligned_metadata["tokens_per_prompt"],
            strict=True,
        )
        differing = [f" (prompt '{prompt}': {one} and {other})" for prompt, one, other in counts if one != other]
        raise refuse(f"their prompts became different tokens{''.join(differing[:1])}. Give both models one tokenizer.")
    return Refit(
        seed=seed,
        features={key: (ours[key], theirs[key]) for key in ours},
        weights=(metadata["weights_digest"], aligned_metadata["weights_digest"]),
        confounds=tuple(f"{field.replace('_', ' ')}s differ: confounded" for field in confounds),
        metadata=metadata,
    )


def _domains_of(ids: Sequence[str], domains: Mapping[str, str], prompts: Path) -> list[str]:
    for prompt in ids:
        if prompt not in domains:
            raise ValueError(f"{prompts} has no prompt '{prompt}', which was measured: extract the models again")
    return [domains[prompt] for prompt in ids]


def _table(changes: Sequence[Change], names: Mapping[str, Any]) -> "pyarrow.Table":
    import pyarrow

    text, number = pyarrow.string(), pyarrow.float64()
    types = {"seed": pyarrow.int64(), "layer": pyarrow.int16(), "n": pyarrow.int64()}
    types |= dict.fromkeys(("scope", "estimator", "sink", "level", "unit", "test", "reason"), text)
    columns = [(name, text) for name in ("base", "aligned", "family", "method")]
    columns += [(field.name, types.get(field.name, number)) for field in fields(Change)]
    rows = [{**names, **asdict(change)} for change in changes]
    return pyarrow.Table.from_pylist(rows, schema=pyarrow.schema(columns))
