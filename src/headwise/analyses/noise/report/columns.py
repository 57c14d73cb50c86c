"""The tables about perturbed models."""

from headwise.tables.row import Column

_MODEL = (
    Column("model", str, "Name of the model in the study file"),
    Column("heads", str, "as made, or duplicated: each query head with its own copy of its key and value head"),
)
_CELL = (
    Column("site", str, "Where noise is added: attention_output, residual or attention_logits"),
    Column("scale", str, "Unit of σ: absolute, or relative to the RMS of each layer's clean activations"),
    Column("region", str, "Layers: all, or the early, middle or late third of the attention layers"),
)
_SIGMA = Column("sigma", float, "Standard deviation of the noise, in the unit that scale says")
_ENDS = (
    Column("ci_low", float, "Lower end of the confidence interval", True),
    Column("ci_high", float, "Upper end of the confidence interval", True),
)
_UNITS = (
    Column("n", int, "Number of units"),
    Column("unit", str, "What is counted: refit, or draw of the noise where all seeds have the same weights"),
)
_P = (
    Column("p", float, "Two-sided p of one test", True),
    Column("p_attainable", float, "The smallest p that this design can give", True),
)
_REASON = Column("reason", str, "Why something is undefined, or must be read with care", True)

COLUMNS: dict[str, tuple[Column, ...]] = {
    "noise_response": (
        *_MODEL,
        *_CELL,
        _SIGMA,
        Column("delta_nll_nats", float, "Mean change of the loss per token of held-out text", True),
        *_ENDS,
        *_UNITS,
        Column("undefined_draws", int, "Draws whose loss is not finite; with any, there is no mean"),
        _REASON,
    ),
    "noise_sensitivity": (
        *_MODEL,
        *_CELL,
        Column("area", float, "Mean area under the change of the loss against σ, from 0 to the largest dose", True),
        *_ENDS,
        *_UNITS,
        _REASON,
    ),
    "noise_contrasts": (
        Column("kind", str, "architecture: another base; duplication: the same model with duplicated heads"),
        Column("group", str, "Model in question"),
        Column("reference", str, "Model that it is compared with"),
        *_CELL,
        Column("verdict", str, "The ratio of means in words; unbounded where the reference cannot be told from 0"),
        Column("method", str, "How p and intervals were made"),
        Column("n", int, "Units of the group"),
        Column("n_reference", int, "Units of the reference"),
        Column("ratio_of_means", float, "Mean area over mean area", True),
        Column("median_of_ratios", float, "Median over seeds of the ratio of areas", True),
        Column("geometric_mean", float, "Ratio of geometric means of areas", True),
        Column("log_ratio", float, "ln of the ratio of means", True),
        Column("log_low", float, "Lower end of its interval", True),
        Column("log_high", float, "Upper end of its interval", True),
        Column("geometric_low", float, "Lower end of Welch's interval of the ratio of geometric means", True),
        Column("geometric_high", float, "Upper end of Welch's interval of the ratio of geometric means", True),
        *_P,
        _REASON,
    ),
    "noise_specialization": (
        *_MODEL,
        Column("seed", int, "Refit"),
        *_CELL,
        _SIGMA,
        Column("estimator", str, "Estimator of specialization, all keys kept"),
        Column("clean", float, "Its value without noise, on the prompts of this experiment", True),
        Column("value", float, "Its value under noise, mean over draws", True),
        Column("change_percent", float, "100 (value − clean) / |clean|", True),
        Column("draws", int, "Draws of the noise"),
        _REASON,
    ),
    "key_value_duplication": (
        Column("model", str, "Name of the model in the study file"),
        Column("seed", int, "Refit"),
        Column("largest_logit_difference", float, "Largest absolute difference of logits on an excerpt"),
        Column("largest_relative_logit_difference", float, "The same over the largest absolute logit"),
        Column("largest_attention_difference", float, "Largest absolute difference of attention weights"),
        Column("perplexity_ratio", float, "Perplexity on the excerpt with duplicated heads over that as made"),
        Column("largest_delta_nll_difference", float, "Largest difference of the change of the loss, any dose", True),
        Column("largest_delta_nll", float, "Largest absolute change of the loss at any dose, for comparison", True),
        Column("largest_specialization_difference", float, "Largest difference of any estimator at any dose", True),
    ),
    "generated_text": (
        *_MODEL,
        Column("seed", int, "Refit"),
        Column("draw", int, "Draw of the noise"),
        Column("slope", float, "Slope of mean perplexity on σ, as published", True),
        Column("perplexity_smallest_dose", float, "Mean perplexity of the text written at the smallest dose", True),
        Column("perplexity_largest_dose", float, "The same at the largest dose", True),
        Column("doses", int, "Doses"),
        _REASON,
    ),
    "probe": (
        Column("model", str, "Name of the model in the study file"),
        Column("seed", int, "Refit"),
        *_CELL,
        _SIGMA,
        Column("estimator", str, "Estimator of specialization, all keys kept"),
        Column("clean", float, "Its value without noise", True),
        Column("value", float, "Its value under noise, mean over draws", True),
        Column("change_percent", float, "100 (value − clean) / |clean|", True),
        Column("draws", int, "Draws of the noise"),
        _REASON,
        Column("base", str, "Base model that it descends from; null for a base", True),
        Column("reading", str, "What the published thresholds call the response", True),
    ),
    "probe_discrimination": (
        Column("estimator", str, "Estimator of specialization, all keys kept"),
        Column("task", str, "What the response is to tell apart"),
        Column("area", float, "ROC area: chance that the first group responds more; ½: nothing is told apart", True),
        *_ENDS,
        *_P,
        Column("n", int, "Models in the first group, each refit counted"),
        Column("n_reference", int, "Models in the second group, each refit counted", True),
        Column("test", str, "How p and the interval were made"),
        _REASON,
    ),
    "probe_selection": (
        Column("estimator", str, "Estimator of specialization, all keys kept"),
        Column("cells", int, "Doses and regions to choose from"),
        Column("units", int, "Refits of bases, split at random into two halves"),
        Column("splits", int, "Random splits"),
        Column("declared_rate", float, "Share of splits in which a cell fixed beforehand differs at the level"),
        Column("best_rate", float, "The same of the cell that differs most significantly in the expected direction"),
        Column("declared_percent", float, "Mean difference in the fixed cell, percentage points"),
        Column("best_percent", float, "Mean difference in the best cell, percentage points"),
        Column("level", float, "Level of each test"),
    ),
}
