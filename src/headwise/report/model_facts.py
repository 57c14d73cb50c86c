"""One row per model and refit: what it is, how it was made, how well it models text."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from headwise.models.windows import windows_act
from headwise.runtime.parquet import table_of
from headwise.study.models import AlignedModel, Model
from headwise.study.study import Study

ARCHITECTURE = (
    "attention",
    "layers",
    "hidden",
    "heads",
    "key_value_heads",
    "key_value_ratio",
    "head_width",
    "positions",
    "crowding",
    "parameters",
)
TRAINING = ("steps", "held_out_loss_nats", "unigram_entropy_nats")
ALIGNMENT = ("corpus_loss_nats", "response_loss_nats", "preference_accuracy")
REWARD = ("reward_accuracy", "reward_margin_nats")
MEASUREMENT = (
    "seed_changes",
    "dtype",
    "template",
    "first_token",
    "weights_digest",
    "tokenizer_digest",
    "corpus_digest",
)


def models_table(
    study: Study,
    facts: Sequence[Mapping[str, Any]],
    measured: Sequence[tuple[Path, Mapping[str, Any]]],
    repeats: Mapping[tuple[str, int], int],
) -> pd.DataFrame:
    """One row per measured model and seed, in the order of the study.

    `facts` are those of the models that the study made (facts.json); `measured` the summaries' paths and
    metadata. Of a model that the study did not make the table holds what its measurement recorded; the rest
    is null. `repeats` says which seeds have the weights of an earlier seed.
    """
    made = {(each["model"]["model"], each["model"]["seed"]): each for each in facts}
    recorded = {(metadata["model"], metadata["seed"]): metadata for _, metadata in measured}
    rows = []
    for model in study.models:
        for seed in study.seeds_of(model):
            if (model.name, seed) not in recorded:
                continue
            metadata = recorded[model.name, seed]
            known = made.get((model.name, seed), {})
            architecture = {**metadata, **(metadata.get("architecture") or {}), **known.get("architecture", {})}
            rows.append(
                {
                    "model": model.name,
                    "family": study.family_of(model),
                    "base": getattr(model, "base", None),
                    "method": study.method_of(model),
                    "seed": seed,
                    "source": model.source,
                    **_arm(model),
                    **{key: architecture.get(key) for key in ARCHITECTURE},
                    "layers": len(architecture.get("attention_layers", ())) or architecture.get("layers"),
                    **_windows(architecture.get("windows"), metadata.get("longest_prompt_tokens")),
                    **{key: known.get("training", {}).get(key) for key in TRAINING},
                    **_alignment(known.get("alignment", {})),
                    **{key: {**known, **metadata}.get(key) for key in MEASUREMENT},
                    "repeats_seed": repeats.get((model.name, seed)),
                }
            )
    return table_of(rows)


def _arm(model: Model) -> dict[str, Any]:
    """How the study itself aligned a model; all null where it did not."""
    made = model if isinstance(model, AlignedModel) else None
    return {
        "alignment": made.method if made else None,
        "placebo": made.placebo if made else None,
        "dose": made.dose if made else None,
        "coin": made.coin if made and made.placebo and made.method == "dpo" else None,
    }


def _windows(windows: Sequence[int | None] | None, longest: int | None) -> dict[str, Any]:
    """What windows a model has, and whether they can act on the longest prompt; null where that is not known."""
    there = [window for window in windows or [] if window is not None]
    acting = None if windows is None or longest is None else sum(windows_act(windows, longest))
    return {
        "window_tokens": min(there, default=None),
        "window_layers": None if windows is None else len(there),
        "longest_prompt_tokens": longest,
        "window_layers_acting": acting,
    }


def _alignment(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What alignment did on held-out text; all null for a model that was not aligned here."""
    before, after = facts.get("before", {}), facts.get("after", {})
    pairs = {
        f"{key}_{when}": values.get(key) for key in ALIGNMENT for when, values in (("before", before), ("after", after))
    }
    return {**pairs, **{key: after.get(key) for key in REWARD}}
