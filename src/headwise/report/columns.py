"""Every column of every table: type, meaning, unit. Tables, results.json and its schema follow this list."""

from collections.abc import Mapping

import pandas as pd

from headwise.tables.row import Column

Tables = Mapping[str, pd.DataFrame]

ROUNDING = 1e-9  # values of an estimator that differ by less are equal but for rounding

IDENTITY = ["model", "family", "base", "method", "seed"]
_IDENTITY = (
    Column("model", str, "Name of the model in the study file"),
    Column("family", str, "Unit of replication across models: a base and its descendants"),
    Column("base", str, "Base model that it descends from; null for a base", True),
    Column("method", str, "How it was aligned; null for a base", True),
    Column("seed", int, "Refit of a model that the study trains; else the protocol's seed"),
)
_ESTIMATE = (
    Column("estimator", str, "Estimator of specialization"),
    Column("sink", str, "kept: all keys; dropped: key 0 removed and rows renormalised"),
)
_VERDICT = (
    Column("role", str, "confirmatory: declared before anything was computed; exploratory: all others"),
    Column("p_adjusted", float, "p adjusted for the number of tests", True),
    Column("p_adjusted_attainable", float, "Adjusted p if every test reached the smallest p of its design", True),
    Column("adjustment", str, "Method of adjustment, and over how many tests", True),
    Column("verdict", str, "What the test says at the level of the study"),
)
_TEST = (
    Column("ci_low", float, "Lower end of the confidence interval", True),
    Column("ci_high", float, "Upper end of the confidence interval", True),
    Column("p", float, "Two-sided p of one test, before adjustment", True),
    Column("p_attainable", float, "The smallest p that this design can give", True),
    Column("n", int, "Number of units"),
)

COLUMNS: dict[str, tuple[Column, ...]] = {
    "models": (
        *_IDENTITY,
        Column(
            "source",
            str,
            "train: from scratch by the study; align: from a base by the study; folder: from disk",
        ),
        Column("attention", str, "multi-head, grouped-query, multi-query or multi-head latent", True),
        Column("layers", int, "Attention layers", True),
        Column("hidden", int, "Width of the residual stream", True),
        Column("heads", int, "Attention heads per layer", True),
        Column("key_value_heads", int, "Heads that hold keys and values", True),
        Column("key_value_ratio", float, "key_value_heads / heads", True),
        Column("head_width", int, "Width of one head", True),
        Column("positions", str, "How positions are coded", True),
        Column("crowding", float, "heads / key_value_heads × heads / head_width (D'Elia 2026)", True),
        Column("parameters", int, "Weights, tied ones counted once", True),
        Column("window_tokens", int, "Smallest sliding window, in tokens; null: none", True),
        Column("window_layers", int, "Layers with a sliding window", True),
        Column("longest_prompt_tokens", int, "Tokens of the longest prompt, as this model reads it", True),
        Column("window_layers_acting", int, "Layers whose window hides any key from any query of that prompt", True),
        Column("steps", int, "Training steps from scratch", True),
        Column(
            "held_out_loss_nats",
            float,
            "Mean loss per token on held-out text after training from scratch",
            True,
        ),
        Column("unigram_entropy_nats", float, "Loss on held-out text of token frequencies alone", True),
        Column("corpus_loss_nats_before", float, "Loss per token on held-out text before alignment", True),
        Column("corpus_loss_nats_after", float, "Loss per token on held-out text after alignment", True),
        Column("response_loss_nats_before", float, "Loss per token of held-out responses before alignment", True),
        Column("response_loss_nats_after", float, "Loss per token of held-out responses after alignment", True),
        Column(
            "preference_accuracy_before",
            float,
            "Share of held-out pairs ranked as preferred, before alignment",
            True,
        ),
        Column(
            "preference_accuracy_after",
            float,
            "Share of held-out pairs ranked as preferred, after alignment",
            True,
        ),
        Column("reward_accuracy", float, "DPO: share of held-out pairs with a positive reward margin", True),
        Column("reward_margin_nats", float, "DPO: mean reward margin on held-out pairs", True),
        Column("seed_changes", str, "What the seed changed", True),
        Column("dtype", str, "Number format of the measurement", True),
        Column("template", str, "raw, or chat: prompts in the model's chat template", True),
        Column("first_token", str, "What raw text begins with: tokenizer (its own tokens), none, or bos", True),
        Column("weights_digest", str, "SHA-256 of the weights", True),
        Column("tokenizer_digest", str, "SHA-256 of the tokenizer", True),
        Column("corpus_digest", str, "SHA-256 of the corpus", True),
        Column("repeats_seed", int, "Earlier seed of this model with the same weights", True),
    ),
    "training": (
        *_IDENTITY,
        Column("step", int, "Steps of the optimiser taken"),
        Column("split", str, "train: the batch of that step; held_out: documents never trained on"),
        Column("loss_nats", float, "Mean loss; per token, for DPO per pair"),
        Column("learning_rate", float, "Learning rate of that step", True),
        Column("accuracy", float, "DPO: share of pairs whose chosen response is the likelier", True),
    ),
    "estimators": (
        Column("estimator", str, "Name"),
        Column("role", str, "primary: the one that confirmatory tests use; secondary: all others"),
        Column("definition", str, "Formula", True),
        Column("source", str, "Where the definition comes from", True),
        Column("low", float, "Smallest possible value; null: unbounded", True),
        Column("high", float, "Largest possible value; null: unbounded", True),
    ),
    "specialization": (
        *_IDENTITY,
        *_ESTIMATE,
        Column("scope", str, "model, layer, or the name of a companion of the estimator"),
        Column("layer", int, "Layer, counted from 0; null for values of the whole model", True),
        Column("value", float, "Value of the estimator; null where it is undefined", True),
        Column("reason", str, "Why the value is undefined", True),
    ),
    "checks": (
        *_IDENTITY,
        *_ESTIMATE,
        Column("check", str, "head_permutation: heads shuffled within layers; without_layer: one layer left out"),
        Column("layer", int, "The layer left out", True),
        Column("value", float, "Value of the whole model, unchanged", True),
        Column("checked_value", float, "Value after the manipulation; mean over random orders", True),
        Column("change", float, "checked_value − value", True),
        Column("deviation", float, "Standard deviation over random orders of heads", True),
        Column("largest_change", float, "Largest absolute change of any random order of heads", True),
        Column("reason", str, "Why the value is undefined", True),
    ),
    "descriptors": (
        *_IDENTITY,
        Column("layer", int, "Layer, counted from 0"),
        Column("head", int, "Head, counted from 0"),
        Column("previous_token", float, "Mean attention to the previous token, 0…1", True),
        Column("self_attention", float, "Mean attention to the token itself, 0…1", True),
        Column("first_token", float, "Mean attention to the first token, 0…1", True),
        Column("distance_tokens", float, "Mean distance between query and key, in tokens", True),
        Column("effective_keys", float, "exp of the row entropy: effective number of keys", True),
        Column("induction", float, "Attention to what followed last time, on repeated random tokens, 0…1", True),
        Column(
            "rows_left_out",
            int,
            "Query rows after the first that have nothing left where key 0 is removed, all prompts",
        ),
        Column("left_out_share", float, "Their share of all query rows after the first, 0…1", True),
    ),
    "comparisons": (
        Column("base", str, "Base model"),
        Column("aligned", str, "Aligned descendant"),
        Column("family", str, "Unit of replication across models"),
        Column("method", str, "How it was aligned", True),
        Column("scope", str, "refit: within one refit, unit prompt; refits: over refits, unit refit"),
        Column("seed", int, "Refit; null over refits", True),
        *_ESTIMATE,
        Column("level", str, "model, or layer"),
        Column("layer", int, "Layer, counted from 0", True),
        Column("base_value", float, "Mean of the base over the units", True),
        Column("aligned_value", float, "Mean of the aligned model over the units", True),
        Column("delta_absolute", float, "aligned_value − base_value", True),
        Column("delta_relative", float, "delta_absolute / base_value", True),
        *_TEST,
        Column("unit", str, "What is counted: prompt or refit"),
        Column("test", str, "Name of the test", True),
        Column(
            "p_domains", float, "p when whole prompt domains are swapped: if prompts of a domain move together", True
        ),
        Column("p_domains_attainable", float, "The smallest that p_domains can be", True),
        Column("p_equivalence", float, "p of the equivalence test, before adjustment", True),
        Column("equivalence_margin", float, "Largest change called preserved", True),
        Column("p_equivalence_adjusted", float, "p_equivalence adjusted for the number of tests", True),
        *_VERDICT,
        Column("reason", str, "Why something is undefined", True),
    ),
    "contrasts": (
        Column(
            "kind",
            str,
            "architecture: bases; architecture_by_seed: bases, paired by seed; alignment_difference: changes; "
            "alignment_pooled: mean change; alignment_random_effects: mean change, families weighted by their errors; "
            "alignment_without_family: mean change of the other families",
        ),
        *_ESTIMATE,
        Column("method", str, "How the models were aligned; null between bases", True),
        Column("group", str, "Model in question, or family left out"),
        Column("reference", str, "Model or family that it is compared with", True),
        Column("estimate", float, "group − reference; for alignment_pooled the mean change over families", True),
        *_TEST,
        Column("n_reference", int, "Number of units of the reference", True),
        Column("unit", str, "What is counted: refit, seed or family"),
        Column("test", str, "Name of the test", True),
        Column("tau", float, "Standard deviation of true changes between families", True),
        Column("prediction_low", float, "Lower end of the interval for the change of a further family", True),
        Column("prediction_high", float, "Upper end of the interval for the change of a further family", True),
        *_VERDICT,
        Column("reason", str, "Why something is undefined", True),
    ),
    "agreement": (
        *_ESTIMATE,
        Column("models_compared", int, "Models with both values; each refit counts"),
        Column("rank_correlation", float, "Spearman's rank correlation with the primary estimator", True),
        Column("changes_compared", int, "Changes under alignment within one refit that both have"),
        Column("same_direction", int, "How many of these changes have the same sign"),
        Column("reason", str, "Why the correlation is undefined", True),
    ),
}


def sign(change: float) -> int:
    """The sign of a change of an estimator; 0 for one that is 0 but for rounding."""
    return 0 if abs(change) <= ROUNDING else 1 if change > 0 else -1


def counted(rows: pd.DataFrame, models: pd.DataFrame) -> pd.DataFrame:
    """The rows, each of a model and seed, without seeds that the table of models says to repeat an earlier one."""
    repeats = models.loc[models["repeats_seed"].notna(), ["model", "seed"]]
    keys = pd.MultiIndex.from_frame(rows[["model", "seed"]])
    return rows[~keys.isin(pd.MultiIndex.from_frame(repeats))]
