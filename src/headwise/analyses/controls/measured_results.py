"""Controls on results of the study: a model compared with itself, and heads in random orders."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from headwise.analyses.controls.control import Control, within
from headwise.analyses.specialization.change import changes_in_refit
from headwise.analyses.specialization.evaluate import read_features
from headwise.analyses.specialization.registry import estimator
from headwise.runtime.parquet import read_arrow
from headwise.statistics.generators import generator_for
from headwise.study.comparison import Comparison
from headwise.study.prompts import read_prompts

FEW_RESAMPLES = 99
ROUNDING = 1e-12


def itself(features: Path, prompts: Path, name: str, settings: Comparison) -> Control:
    """The largest absolute change of any estimator, at any level, of a model against itself."""
    domains = {prompt.id: prompt.domain for prompt in read_prompts(prompts)}
    quick = settings.model_copy(update={"resamples": FEW_RESAMPLES})
    changes = [
        change
        for (each, sink), own in read_features(features).items()
        for change in changes_in_refit(
            estimator(each), sink, 0, own, own, [domains[prompt] for prompt in own.prompts], quick,
            generator_for("controls", each, sink),
        )
    ]  # fmt: skip
    largest = max((abs(change.delta_absolute) for change in changes if change.delta_absolute is not None), default=0.0)
    return within("a model against itself", f"results of {name}", "a change of 0, exactly", largest, 0.0, 0.0)


def head_orders(summaries: Sequence[Path], names: Sequence[str]) -> Iterator[Control]:
    """Largest change of any model's value when heads change places, for estimators that compare heads of a layer."""
    import pyarrow.compute

    field = pyarrow.compute.field
    for name in names:
        if not estimator(name).per_layer:
            continue
        chosen = (field("estimator") == name) & (field("scope") == "head_permutation_largest_change")
        values = [
            value
            for path in summaries
            for value in read_arrow(path, ["estimator", "scope", "value"], chosen)["value"].to_pylist()
            if value is not None
        ]
        if values:
            yield within(
                f"heads shuffled within layers, {name}", f"results of {len(summaries)} models", "no change",
                max(values), 0.0, ROUNDING,
            )  # fmt: skip
