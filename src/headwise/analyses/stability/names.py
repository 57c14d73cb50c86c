"""Values of the columns of the tables of stability, and what jobs with and without torch call the same things."""

PUBLISHED, CORRECTED = "published", "corrected"
TRAINED, RANDOM = "trained", "random"
# Analyses; those of one head, one layer or a whole model.
HEAD_STABILITY, PROMPT_LENGTH, CROSS_LAYER = "head_stability", "prompt_length", "cross_layer_stability"
COMMONNESS, DISTINCTNESS = "commonness", "distinctness"
RESIDUAL, IMPORTANCE, WEIGHT_NORM = "residual_stability", "importance", "weight_norm"
# Where the residual stream is read.
BEFORE, AFTER = "before_attention", "after_attention"
SITES = (BEFORE, AFTER)
# What a loss is measured on.
HELD_OUT, PROMPTS = "held_out", "prompts"
# What stands in place of an ablated head's output; VALUE_BIAS is as published.
ZERO, MEAN, VALUE_BIAS = "zero", "mean", "value_bias"
MATRICES = ("W_Q", "W_K", "W_V", "W_O", "W_in", "W_out")
