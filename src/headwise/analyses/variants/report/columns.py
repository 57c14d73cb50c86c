"""The tables about variants of the extraction."""

from headwise.tables.row import Column

_CHOICE = (
    Column("variant", str, "Name of the variant in the study file"),
    Column("reference", str, "What it is compared with: another variant, or study, the study's own extraction"),
    Column("choices", str, "Fields of the study file in which variant and reference differ; none: in no field"),
)
_ESTIMATE = (
    Column("estimator", str, "Estimator of specialization"),
    Column("sink", str, "kept: all keys; dropped: key 0 removed and rows renormalised"),
)

COLUMNS: dict[str, tuple[Column, ...]] = {
    "variants": (
        Column("model", str, "Name of the model in the study file"),
        Column("family", str, "Unit of replication across models: a base and its descendants"),
        Column("base", str, "Base model that it descends from; null for a base", True),
        Column("method", str, "How it was aligned; null for a base", True),
        Column("seed", int, "Refit of a model that the study trains; else the protocol's seed"),
        *_CHOICE,
        Column("padding", str, "none, left, right, or tokenizer: the side that the tokenizer names"),
        Column("pad_to", int, "Tokens of a padded prompt; null: not padded, as in the three that follow", True),
        Column("pad_token", str, "tokenizer: its pad token, else its end token; eos, bos, unknown: those", True),
        Column("averaging", str, "masked: real tokens; unmasked: pads as well; leading: the first positions", True),
        Column("position_ids", str, "mask: the first real token is at 0; model: the model counts itself", True),
        Column("template", str, "raw, chat, or chat_or_raw: raw where the tokenizer has no chat template"),
        Column("first_token", str, "What raw text begins with: tokenizer (its own tokens), none, or bos"),
        Column("special_tokens", str, "twice: added by the tokenizer to what the chat template has written"),
        Column("dtype", str, "Number format of the forward pass"),
        *_ESTIMATE,
        Column("value", float, "Value of the estimator under the variant", True),
        Column("reference_value", float, "Value under the reference, on the same prompts", True),
        Column("difference", float, "value − reference_value", True),
        Column("largest_layer_difference", float, "Difference of the layer in which it is largest", True),
        Column("prompts", int, "Prompts measured"),
        Column("reason", str, "Why a value is undefined", True),
    ),
    "confounds": (
        *_CHOICE,
        *_ESTIMATE,
        Column("measured", int, "Models, each seed counted, in which variant and reference are defined"),
        Column("mean_difference", float, "Mean over them of value − reference value", True),
        Column("mean_absolute_difference", float, "Mean over them of its absolute value", True),
        Column("largest_absolute_difference", float, "Largest of them", True),
        Column("largest_model", str, "Model with the largest", True),
        Column("tolerance", float, "Where padding alone differs and must change nothing: what rounding explains", True),
        Column("spread_between_models", float, "Standard deviation of the reference value over base models", True),
        Column("alignment_effect", float, "Mean over aligned models of the study's absolute change", True),
        Column("shift_over_alignment", float, "mean_absolute_difference / alignment_effect", True),
        Column("shift_over_spread", float, "mean_absolute_difference / spread_between_models", True),
        Column(
            "alignment_effect_under_reference",
            float,
            "Mean over measured pairs of aligned − base, both under the reference",
            True,
        ),
        Column("alignment_effect_under_variant", float, "The same, both under the variant", True),
        Column("pairs", int, "Pairs of base and aligned model measured, each seed counted"),
        Column("reason", str, "Why something is undefined", True),
    ),
}
