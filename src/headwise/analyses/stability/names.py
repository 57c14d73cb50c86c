"""What the columns of the tables of stability may hold, for jobs with and without torch."""

from enum import StrEnum


class Version(StrEnum):
    """Whose estimator a number comes from."""

    PUBLISHED = "published"
    CORRECTED = "corrected"


class Weights(StrEnum):
    """Whether models are trained; those with random weights are the control."""

    TRAINED = "trained"
    RANDOM = "random"


class Pairing(StrEnum):
    """What two heads are compared on."""

    SAME = "same prompt"
    OTHER = "other prompt"


class Analysis(StrEnum):
    """What a number of a group of refits, or of two groups, is about; docs/stability.md defines each."""

    HEAD_STABILITY = "head_stability"
    PROMPT_LENGTH = "prompt_length"
    CROSS_LAYER = "cross_layer_stability"
    COMMONNESS = "commonness"
    DISTINCTNESS = "distinctness"
    DEPTH_GAP = "depth_gap"
    LEAST_STABLE_POSITION = "least_stable_position"
    INNER_DIP = "inner_dip"
    DEPTH_CORRELATION = "stability_depth_correlation"
    DISTINCTNESS_CORRELATION = "stability_distinctness_correlation"
    RESIDUAL = "residual_stability"
    IMPORTANCE = "importance"
    IMPORTANCE_CORRELATION = "importance_correlation"
    IMPORTANCE_TREND = "importance_trend"
    WEIGHT_NORM = "weight_norm"
    WEIGHT_NORM_CORRELATION = "weight_norm_correlation"
    NEIGHBOURS = "head_map_neighbours"
    WEIGHT_DECAY = "weight_decay_change"
    PARITY = "loss_parity"
    NORM_CHANGE = "weight_norm_change"
    DEPTH_CONTRAST = "depth_contrast"


class Measure(StrEnum):
    """How two heads, streams or models are compared, or what is measured of one."""

    COSINE = "cosine"
    WITHOUT_BOS = "cosine_without_bos"
    ROW_CENTRED = "cosine_row_centred"
    WRITES = "writes_cka"
    ABLATION_PROFILE = "ablation_profile"
    RBF_BIASED = "rbf_biased"
    RBF_DEBIASED = "rbf_debiased"
    LINEAR_DEBIASED = "linear_debiased"
    ZERO_ABLATION = "zero_ablation"
    MEAN_ABLATION = "mean_ablation"
    VALUE_BIAS_ABLATION = "value_bias_ablation"
    FROBENIUS = "frobenius"
    RELATIVE_NORM = "relative"
    LOSS = "loss_nats"
    PERPLEXITY = "perplexity"
    DISTANCES = "distances_of_prompts"


class Replacement(StrEnum):
    """What stands in place of an ablated head's output; its value bias is as published."""

    ZERO = "zero"
    MEAN = "mean"
    VALUE_BIAS = "value_bias"


class TakenFrom(StrEnum):
    """Where the residual stream is read, a matrix of a layer, or the text that a loss is measured on."""

    BEFORE = "before_attention"
    AFTER = "after_attention"
    W_Q = "W_Q"
    W_K = "W_K"
    W_V = "W_V"
    W_O = "W_O"
    W_IN = "W_in"
    W_OUT = "W_out"
    HELD_OUT = "held_out"
    PROMPTS = "prompts"


PUBLISHED, CORRECTED = Version.PUBLISHED, Version.CORRECTED
TRAINED, RANDOM = Weights.TRAINED, Weights.RANDOM
BEFORE, AFTER, HELD_OUT, PROMPTS = TakenFrom.BEFORE, TakenFrom.AFTER, TakenFrom.HELD_OUT, TakenFrom.PROMPTS
SITES = (BEFORE, AFTER)
MATRICES = (TakenFrom.W_Q, TakenFrom.W_K, TakenFrom.W_V, TakenFrom.W_O, TakenFrom.W_IN, TakenFrom.W_OUT)
# What the ablation with each replacement is called.
ABLATION = {
    Replacement.ZERO: Measure.ZERO_ABLATION,
    Replacement.MEAN: Measure.MEAN_ABLATION,
    Replacement.VALUE_BIAS: Measure.VALUE_BIAS_ABLATION,
}
