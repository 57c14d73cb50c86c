"""The procedures behind p-values and intervals, as tables name them; calibration tries each of them out."""

from enum import StrEnum


class Procedure(StrEnum):
    """A test or interval, and its units."""

    PROMPTS = "label swap over prompts"
    DOMAINS = "label swap over prompt domains"
    REFITS = "sign flip over refits"
    FAMILIES = "sign flip over families"
    TWO_SAMPLES = "two samples of refits"
    RANDOM_EFFECTS = "random effects over families"
    EQUIVALENCE = "equivalence over prompt domains"
    ROC_AREA = "ROC area"
    FACTOR = "share of a factor"
    CORRELATION = "correlation over layers"
    CONFIRMATORY_SET = "Holm over the confirmatory set"
    BY_LAYER = "Benjamini–Hochberg over layers"
    MEAN_TIMES = "difference of restricted mean times"
    FACTOR_ORDER = "order of the shares of factors"
    DOMAIN_INTERVAL = "interval over prompt domains"
    PERCENTILE = "percentile bootstrap over prompt domains"
    BCA = "BCa bootstrap over prompt domains"
    STUDENTISED = "studentised bootstrap over prompt domains"
    REFITS_INTERVAL = "Student's t over refits"
    FAMILIES_INTERVAL = "Student's t over families"
    TWO_SAMPLES_INTERVAL = "Welch's t over refits"
    FAMILY_PREDICTION = "prediction for a further family"
    PAIRS_INTERVAL = "mean over pairs of refits"
    PAIRS_DIFFERENCE = "difference of means over pairs of refits"
