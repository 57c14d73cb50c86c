"""Names for people: what the report calls estimators, models, methods and descriptors."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

ESTIMATORS = {
    "hellinger": "Hellinger distance between heads",
    "js_divergence": "Jensen–Shannon divergence between heads",
    "pattern_correlation": "decorrelation of attention patterns",
    "output_cka": "dissimilarity of head outputs (CKA)",
    "entropy_profile": "entropy profile (published index)",
    "normalized_entropy": "sharpness of the last layer (1 − entropy)",
}
DESCRIPTORS = {
    "previous_token": "Attention to the previous token (share)",
    "self_attention": "Attention to the token itself (share)",
    "first_token": "Attention to the first token (share)",
    "distance_tokens": "Mean distance (tokens)",
    "effective_keys": "Effective number of keys",
    "induction": "Induction score on repeated tokens (share)",
}
METHODS = {"sft": "SFT", "dpo": "DPO"}
BASE = "base"
MINUS = "−"
DAGGER = "†"
OUT_OF_BAND = "the test is out of its calibration band"


def plain(name: str) -> str:
    """A name without underscores."""
    return name.replace("_", " ")


def estimator_label(name: str) -> str:
    """What a sentence calls an estimator; one that it does not know keeps its name, without underscores."""
    return ESTIMATORS.get(name, plain(name))


def estimator_title(name: str) -> str:
    """The estimator's label as a title or at the beginning of a sentence."""
    return titled(estimator_label(name))


def titled(text: str) -> str:
    """The text with a capital at its beginning, the rest as it is."""
    return text[:1].upper() + text[1:]


def sink_label(sink: str) -> str:
    """How key 0 was treated."""
    return {"kept": "all keys", "dropped": "first key removed"}.get(sink, plain(sink))


def method_label(method: object) -> str:
    """How a model was aligned; "base" where it was not."""
    return BASE if missing(method) else METHODS.get(str(method), plain(str(method)))


def missing(value: object) -> bool:
    """Whether a cell of a table is empty."""
    return bool(pd.isna(value))  # type: ignore[call-overload]  # a scalar, of any kind


def number(value: object, digits: int = 3) -> str:
    """A number with a typographic minus; a dash where there is none."""
    return "–" if missing(value) else f"{float(str(value)):.{digits}f}".replace("-", MINUS)


def signed(value: object, digits: int = 4) -> str:
    """A change, always with its sign."""
    return "–" if missing(value) else f"{float(str(value)):+.{digits}f}".replace("-", MINUS)


def percent(value: object) -> str:
    """A relative change in per cent, with its sign."""
    return "–" if missing(value) else f"{100 * float(str(value)):+.1f} %".replace("-", MINUS)


def p_value(p: object) -> str:
    """A p-value with three significant digits; "< 0.0001" below that; a dash where there is none."""
    if missing(p):
        return "–"
    value = float(str(p))
    return "< 0.0001" if value < 1e-4 else f"{value:.3g}"


def marked_p(row: Mapping[str, Any]) -> str:
    """The p-value of a row, with a dagger where its test does not keep what it promises."""
    said = f"{row.get('reason')} {row.get('verdict')}"
    return p_value(row["p"]) + (f" {DAGGER}" if OUT_OF_BAND in said else "")


def interval(low: object, high: object, digits: int = 4) -> str:
    """A confidence interval; a dash where there is none."""
    return "–" if missing(low) or missing(high) else f"{signed(low, digits)} to {signed(high, digits)}"


def amount(count: int, singular: str, plural: str | None = None) -> str:
    """A count with its noun."""
    return f"{count} {singular if count == 1 else plural or singular + 's'}"
