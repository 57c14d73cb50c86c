"""Small, plausible inputs of the report: what the jobs of a study leave behind, with random numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from headwise.analyses.declaration.rows import DeclaredField
from headwise.analyses.specialization.rows import TABLES
from headwise.analyses.specialization.summarize import summarize_specialization
from headwise.report import results, tables
from headwise.report.tables import Inputs
from headwise.runtime.json_files import write_json
from headwise.runtime.parquet import write_table
from headwise.study.parse import parse_study
from headwise.study.study import Study
from headwise.tables.files import write_rows

LAYERS, HEADS, PROMPTS = 4, 8, 120
ESTIMATORS = ["hellinger", "js_divergence", "entropy_profile", "normalized_entropy"]
LEVELS = {"hellinger": 0.32, "js_divergence": 0.38, "entropy_profile": 0.75, "normalized_entropy": 0.6}
ATTAINABLE_BY_REFITS = {1: 1.0, 2: 0.5, 3: 0.25, 4: 0.125, 5: 0.0625}


def example_study(
    bases: tuple[str, ...] = ("multi_head", "grouped_query", "sliding_window"),
    methods: tuple[str, ...] = ("sft", "dpo"),
    seeds: tuple[int, ...] = (1, 2, 3),
    **comparison: Any,
) -> Study:
    """A study with the named bases and an aligned descendant of each by each method."""
    models: list[dict[str, Any]] = [{"name": base, "source": "train"} for base in bases]
    models += [
        {"name": f"{base}-{method}", "source": "align", "base": base, "method": method}
        for base, method in product(bases, methods)
    ]
    content = {
        "name": "example",
        "title": "Alignment in small decoders",
        "seeds": list(seeds),
        "prompts": {"path": "prompts/example.jsonl"},
        "models": models,
        "specialization": {"estimators": ESTIMATORS},
        "comparison": comparison,
    }
    return parse_study(content, "example.yaml")


@dataclass(frozen=True)
class Measured:
    """What jobs that measure specialization leave behind, and finished tables of other analyses."""

    checkpoints: Sequence[Path]
    training: Sequence[Path]
    summaries: Sequence[Path]
    descriptors: Sequence[Path]
    comparisons: Sequence[Path]
    contrasts: Path
    prompts: Path
    analyses: Sequence[Path] = ()

    def finished(self, study: Study, folder: Path) -> Inputs:
        """What the report reads, with the tables of specialization finished in a folder, as its rule does."""
        declared = [path for path in self.analyses if path.stem == DeclaredField.table]
        declaration = declared[0] if declared else folder / "none.parquet"
        if not declared:
            write_rows(DeclaredField, [], declaration, {"study": study.name})
        outputs = {row.table: folder / f"{row.table}.parquet" for row in TABLES}
        summarize_specialization(
            study, self.summaries, self.descriptors, self.comparisons, self.contrasts, declaration, outputs
        )
        analyses = [*outputs.values(), *self.analyses]
        return Inputs(self.checkpoints, self.training, self.summaries, self.prompts, analyses)


def build_tables(study: Study, measured: Measured) -> dict[str, pd.DataFrame]:
    """All tables of the report."""
    with TemporaryDirectory() as folder:
        return tables.build_tables(study, measured.finished(study, Path(folder)))


def aggregate(study: Study, measured: Measured, **outputs: Path) -> None:
    """What rules summarize_specialization and aggregate do."""
    with TemporaryDirectory() as folder:
        results.aggregate(study, measured.finished(study, Path(folder)), **outputs)


def write_inputs(study: Study, folder: Path, generator: np.random.Generator) -> Measured:
    """Write inputs for every model and seed of the study."""
    paths: dict[str, list[Path]] = {
        "checkpoints": [],
        "training": [],
        "summaries": [],
        "descriptors": [],
        "comparisons": [],
    }
    values: dict[tuple[str, int], dict[str, float]] = {}
    for model in study.models:
        for seed in study.seeds_of(model):
            metadata = _metadata(study, model.name, seed)
            family = study.family_of(model)
            offset = 0.04 * [base.name for base in study.bases()].index(family)
            change = {None: 0.0, "sft": -0.03, "dpo": 0.004}[metadata["method"]]
            values[model.name, seed] = {
                name: LEVELS[name] + offset + change + generator.normal(0, 0.01) for name in ESTIMATORS
            }
            stem = f"{model.name}/seed{seed}"
            paths["checkpoints"].append(folder / "models" / stem)
            write_json(_facts(metadata, generator), paths["checkpoints"][-1] / "facts.json")
            for kind, table in (
                ("training", _training(metadata["method"], generator)),
                ("summaries", _summary(values[model.name, seed], generator)),
                ("descriptors", _descriptors(generator)),
            ):
                paths[kind].append(folder / kind / f"{stem}.parquet")
                write_table(table, paths[kind][-1], metadata)
    comparisons = []
    for model in study.descendants():
        comparisons.append(_comparison(study, model.name, values, generator))
        paths["comparisons"].append(folder / "comparison" / f"{model.name}.parquet")
        write_table(comparisons[-1], paths["comparisons"][-1], {"study": study.name, "refits": study.seeds_of(model)})
    contrasts = folder / "contrasts.parquet"
    write_table(_contrasts(study, values, generator), contrasts, {"study": study.name})
    prompts = folder / "prompts.json"
    domains = {"code": 40, "history": 80}
    write_json({"file": "example.jsonl", "sha256": "c" * 64, "count": PROMPTS, "domains": domains}, prompts)
    return Measured(**paths, contrasts=contrasts, prompts=prompts)


def _metadata(study: Study, name: str, seed: int) -> dict[str, Any]:
    model = study.model(name)
    described = {
        each: {"definition": f"formula of {each}", "source": "Author 2020, eq. 1", "low": 0.0, "high": 1.0}
        for each in ESTIMATORS
    }
    return {
        "study": study.name,
        "model": name,
        "family": study.family_of(model),
        "source": model.source,
        "base": getattr(model, "base", None),
        "method": getattr(model, "method", None),
        "seed": seed,
        "weights_digest": f"{abs(_number_of(name, seed)):064x}",
        "prompts_digest": "c" * 64,
        "dtype": "float32",
        "template": "raw",
        "first_token": "tokenizer",
        "longest_prompt_tokens": 40,
        "estimators": described,
    }


def _number_of(name: str, seed: int) -> int:
    """A number that differs between models and seeds, the same in every process."""
    return int.from_bytes(name.encode(), "big") * 1000 + seed & (1 << 250) - 1


def _facts(metadata: dict[str, Any], generator: np.random.Generator) -> dict[str, Any]:
    grouped, windowed = "grouped" in metadata["family"], "window" in metadata["family"]
    facts = {
        "model": metadata,
        "architecture": {
            "attention": "grouped-query" if grouped else "multi-head",
            "heads": HEADS,
            "key_value_heads": 2 if grouped else HEADS,
            "key_value_ratio": 0.25 if grouped else 1.0,
            "head_width": 16,
            "layers": LAYERS,
            "hidden": 64,
            "windows": [8 if windowed else None] * LAYERS,
            "positions": "rotary",
            "crowding": 2.0 if grouped else 0.5,
            "parameters": 412_736,
        },
        "corpus_digest": "d" * 64,
        "tokenizer_digest": "e" * 64,
        "weights_digest": metadata["weights_digest"],
    }
    if metadata["method"] is None:
        loss = 3.4 + float(generator.normal(0, 0.05))
        return facts | {"training": {"steps": 300, "held_out_loss_nats": loss, "unigram_entropy_nats": 5.6}}
    before = {"corpus_loss_nats": 3.4, "response_loss_nats": 3.9, "preference_accuracy": 0.55}
    after = {"corpus_loss_nats": 3.5, "response_loss_nats": 3.1, "preference_accuracy": 0.8}
    if metadata["method"] == "dpo":
        after |= {"reward_accuracy": 0.85, "reward_margin_nats": 0.4}
    return facts | {"alignment": {"method": metadata["method"], "before": before, "after": after}}


def _training(method: str | None, generator: np.random.Generator) -> pd.DataFrame:
    steps = np.arange(0, 301, 20) if method is None else np.arange(0, 41, 10)
    rows = []
    for split, step in product(("train", "held_out"), steps):
        start, end = (6.9, 3.4) if method is None else (0.69, 0.4) if method == "dpo" else (3.4, 2.6)
        loss = end + (start - end) * np.exp(-4 * step / steps[-1]) + generator.normal(0, 0.01)
        rows.append((int(step), split, float(loss), 1e-3, 0.7 if method == "dpo" else None))
    return pd.DataFrame(rows, columns=["step", "split", "loss_nats", "learning_rate", "accuracy"]).astype(
        {"accuracy": "float64"}
    )


def _summary(values: dict[str, float], generator: np.random.Generator) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for (estimator, value), sink in product(values.items(), ("kept", "dropped")):
        if estimator == "normalized_entropy" and sink == "dropped":
            continue
        value = value if sink == "kept" else 0.9 * value
        one_unit = estimator != "entropy_profile"
        shuffled = 0.0 if one_unit else 0.004
        own = {"estimator": estimator, "sink": sink}
        rows.append({**own, "scope": "model", "value": value})
        for layer in range(LAYERS):
            if one_unit:
                profile = value + 0.05 * np.sin(layer)
                rows.append({**own, "scope": "layer", "layer": layer, "value": profile})
            without = value + generator.normal(0, 0.01)
            rows.append({**own, "scope": "without_layer", "layer": layer, "value": without})
        rows.append({**own, "scope": "head_permutation", "value": value + shuffled, "deviation": shuffled})
        rows.append({**own, "scope": "head_permutation_largest_change", "value": 2 * shuffled})
        if estimator == "entropy_profile":
            rows.append({**own, "scope": "mean_head_correlation", "reason": "one layer has no correlation"})
    table = pd.DataFrame(rows, columns=["estimator", "sink", "scope", "layer", "value", "deviation", "reason"])
    return table.astype({"layer": "Int16", "value": "float64", "deviation": "float64", "reason": "string"})


def _descriptors(generator: np.random.Generator) -> pd.DataFrame:
    layer, head = np.indices((LAYERS, HEADS)).reshape(2, -1)
    share = generator.dirichlet((2, 2, 3, 9), len(layer))
    return pd.DataFrame(
        {
            "layer": layer.astype("int16"),
            "head": head.astype("int16"),
            "previous_token": share[:, 0],
            "self_attention": share[:, 1],
            "first_token": share[:, 2],
            "distance_tokens": 20 * share[:, 3],
            "effective_keys": 1 + 30 * share[:, 3],
            "induction": 0.1 * share[:, 0],
            "rows_left_out": head.astype("int64"),
            "left_out_share": head / 40,
        }
    )


def _comparison(
    study: Study, name: str, values: dict[tuple[str, int], dict[str, float]], generator: np.random.Generator
) -> pd.DataFrame:
    model = study.model(name)
    base, seeds = str(getattr(model, "base", "")), study.seeds_of(model)
    rows = []
    for estimator, sink, level in product(ESTIMATORS, ("kept", "dropped"), ("model", *range(LAYERS))):
        if (estimator == "entropy_profile" and level != "model") or (
            estimator == "normalized_entropy" and sink == "dropped"
        ):
            continue
        changes = {}
        for scope in [*seeds, "refits"]:
            if scope == "refits":
                before = float(np.mean([values[base, seed][estimator] for seed in seeds]))
                change = float(np.mean(list(changes.values())))
                half, n, p_attainable = 0.02, len(seeds), ATTAINABLE_BY_REFITS[len(seeds)]
                p: float | None = p_attainable if len(seeds) > 1 else None
            else:
                before = values[base, scope][estimator]
                change = values[name, scope][estimator] - before
                change += 0.0 if level == "model" else float(generator.normal(0, 0.02))
                changes[scope] = change
                half, n, p_attainable = 0.012, PROMPTS, 1e-4
                p = max(p_attainable, float(np.exp(-((change / 0.006) ** 2))))
            primary = estimator == study.comparison.primary
            margin = study.comparison.equivalence_margin
            rows.append(
                {
                    "base": base,
                    "aligned": name,
                    "family": study.family_of(model),
                    "method": getattr(model, "method", None),
                    "scope": "refits" if scope == "refits" else "refit",
                    "seed": None if scope == "refits" else scope,
                    "estimator": estimator,
                    "sink": sink,
                    "level": "model" if level == "model" else "layer",
                    "layer": None if level == "model" else level,
                    "base_value": before,
                    "aligned_value": before + change,
                    "delta_absolute": change,
                    "delta_relative": change / before,
                    "ci_low": change - half if p is not None else None,
                    "ci_high": change + half if p is not None else None,
                    "p": p,
                    "p_attainable": p_attainable if p is not None else None,
                    "n": n,
                    "unit": "refit" if scope == "refits" else "prompt",
                    "test": "sign flips",
                    "p_domains": max(1 / 32, p) if scope != "refits" and p is not None else None,
                    "p_domains_attainable": 1 / 32 if scope != "refits" and p is not None else None,
                    "p_equivalence": (0.001 if abs(change) + half < margin else 0.6) if primary else None,
                    "equivalence_margin": margin if primary else None,
                    "reason": None if p is not None else "one refit: nothing to flip",
                }
            )
    table = pd.DataFrame(rows)
    return table.astype(
        {
            **{"seed": "Int64", "layer": "Int16", "reason": "string"},
            **dict.fromkeys(("p", "p_attainable", "p_domains", "p_domains_attainable"), "float64"),
        }
    )


def _contrasts(
    study: Study, values: dict[tuple[str, int], dict[str, float]], generator: np.random.Generator
) -> pd.DataFrame:
    bases = [model.name for model in study.bases()]
    methods = sorted({str(getattr(model, "method", "")) for model in study.descendants()})
    rows = []
    for estimator, sink in product(ESTIMATORS, ("kept", "dropped")):
        own = {"estimator": estimator, "sink": sink}
        for base in bases[1:]:
            seeds = study.seeds_of(study.model(base))
            estimate = float(np.mean([values[base, s][estimator] - values[bases[0], s][estimator] for s in seeds]))
            of_refits = {"n": len(seeds), "n_reference": len(seeds), "unit": "refit", "reference": bases[0]}
            tested = {"p": 0.1, "p_attainable": 0.1} if len(seeds) == 3 else {"reason": "too few refits to test"}
            interval = {"ci_low": estimate - 0.03, "ci_high": estimate + 0.03} if len(seeds) > 1 else {}
            shared = {**own, **of_refits, **tested, **interval, "group": base}
            rows.append({**shared, "kind": "architecture", "estimate": estimate, "test": "permutation of labels"})
            for method in methods:
                effect = float(generator.normal(0, 0.01))
                interval = {"ci_low": effect - 0.03, "ci_high": effect + 0.03} if len(seeds) > 1 else {}
                rows.append(
                    {
                        **shared,
                        **interval,
                        "kind": "alignment_difference",
                        "method": method,
                        "estimate": effect,
                    }
                )
        for method in methods:
            effect = {"sft": -0.03}.get(method, 0.004)
            p = ATTAINABLE_BY_REFITS.get(len(bases), 0.01)
            rows.append(
                {
                    **own,
                    "kind": "alignment_pooled",
                    "method": method,
                    "group": "all families",
                    "estimate": effect,
                    "ci_low": effect - 0.02 if len(bases) > 1 else None,
                    "ci_high": effect + 0.02 if len(bases) > 1 else None,
                    "p": p if len(bases) > 1 else None,
                    "p_attainable": p if len(bases) > 1 else None,
                    "n": len(bases),
                    "unit": "family",
                    "test": "sign flips",
                    "reason": None if len(bases) > 1 else "one family: nothing to flip",
                }
            )
            if len(bases) < 2:
                continue
            shared = {**own, "method": method, "unit": "family", "ci_low": effect - 0.03, "ci_high": effect + 0.03}
            rows.append(
                {
                    **shared,
                    "kind": "alignment_random_effects",
                    "group": "all",
                    "estimate": effect,
                    "p": 0.2,
                    "p_attainable": 0.0,
                    "n": len(bases),
                    "test": "random effects",
                    "tau": 0.01,
                    "prediction_low": effect - 0.1 if len(bases) > 2 else None,
                    "prediction_high": effect + 0.1 if len(bases) > 2 else None,
                    "reason": None if len(bases) > 2 else "two families: no prediction interval",
                }
            )
            for position, base in enumerate(bases):
                without = {**shared, "kind": "alignment_without_family", "group": base, "test": "sign flips"}
                p = ATTAINABLE_BY_REFITS.get(len(bases) - 1, 0.01)
                rows.append(
                    {**without, "estimate": effect + 0.001 * position, "p": p, "p_attainable": p, "n": len(bases) - 1}
                )
    columns = [
        "kind",
        "estimator",
        "sink",
        "method",
        "group",
        "reference",
        "estimate",
        "ci_low",
        "ci_high",
        "p",
    ]
    columns += ["p_attainable", "n", "n_reference", "unit", "test", "tau", "prediction_low", "prediction_high"]
    columns += ["reason"]
    numbers = ("estimate", "ci_low", "ci_high", "p", "p_attainable", "tau", "prediction_low", "prediction_high")
    floats = {name: "float64" for name in numbers}
    return pd.DataFrame(rows, columns=columns).astype({**floats, "n": "Int64", "n_reference": "Int64"})
