"""Names for people: what the report calls estimators, models, methods and descriptors."""

from collections import Counter
from collections.abc import Iterable, Mapping
from math import isclose
from typing import Any

import pandas as pd

from headwise.report.columns import ROUNDING, Tables
from headwise.study.models import AlignedModel
from headwise.study.name_consistency import UNALIGNED, UNNAMED
from headwise.study.study import Study

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
LEFT_OUT = "Rows with nothing beside the first token (share)"
METHODS = {"sft": "SFT", "dpo": "DPO"}
BASE = UNALIGNED
LONGEST_LABEL = 48  # characters
MINUS = "−"
DAGGER = "†"
LARGEST_PERCENT = 1000
DIGITS_OF_LEVELS = 2  # significant: .05, .01, .025
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
    """How an aligned model was made."""
    return UNNAMED if missing(method) else METHODS.get(str(method), plain(str(method)))


def arm_label(method: object, dose: object, placebo: bool = False) -> str:
    """A method, whether it is the placebo of it, and the dose where it is not 1; models made elsewhere have none."""
    label = method_label(method) + (" placebo" if placebo else "")
    return label if missing(dose) or dose == 1 else f"{label} × {dose}"


def arm_labels(study: Study) -> dict[str, str]:
    """Labels of the arms that a study makes, by what its tables call each."""
    made = [model for model in study.models if isinstance(model, AlignedModel)]
    return {model.arm: arm_label(model.method, model.dose, model.placebo) for model in made}


def same(values: "pd.Series[Any]", value: Any) -> "pd.Series[bool]":
    """Which values are this one exactly, or empty where it is empty."""
    return values.isna() if missing(value) else values.eq(value).fillna(False).astype(bool)


def short_labels(names: Iterable[str]) -> dict[str, str]:
    """A label for each name, no two the same: without underscores, a long one without its middle.

    Names keep their underscores where two would be one without, and as much of their middle as tells them apart.
    """
    names = list(dict.fromkeys(names))
    labels = {name: plain(name) for name in names}
    if len(set(labels.values())) < len(names):
        labels = {name: name for name in names}
    for length in range(LONGEST_LABEL, max(map(len, labels.values()), default=0)):
        cut = {name: _without_middle(label, length) for name, label in labels.items()}
        if len(set(cut.values())) == len(names):
            return cut
    return labels


def labels_of_methods(study: Study, tables: Tables) -> dict[str | None, str]:
    """Labels of all methods that a study's tables name."""
    columns = [tables[name]["method"] for name in ("models", "comparisons", "contrasts")]
    return method_labels([None, *(method for column in columns for method in column)], arm_labels(study))


def _without_middle(text: str, length: int) -> str:
    """The text with an ellipsis for its middle, if it is longer than that."""
    head = length // 2
    return text if len(text) <= length else f"{text[:head]}…{text[len(text) - (length - head - 1) :]}"


def method_labels(methods: Iterable[object], arms: Mapping[str, str]) -> dict[str | None, str]:
    """A label for each method of alignment, None for one without name; those of `arms` are given. Methods that would
    share one, or be called as bases are, add their names: no two labels are the same."""
    names = list(dict.fromkeys(None if missing(method) else str(method) for method in methods))
    labels = {name: arms.get(str(name)) or method_label(name) for name in names}
    shared = Counter([*labels.values(), BASE])
    return {name: f"{label} ({name})" if name and shared[label] > 1 else label for name, label in labels.items()}


def missing(value: object) -> bool:
    """Whether a cell of a table is empty."""
    return bool(pd.isna(value))  # type: ignore[call-overload]  # a scalar, of any kind


def cell(value: object) -> str:
    """A cell as it is; a dash where it is empty."""
    return "–" if missing(value) else str(value)


def number(value: object, digits: int = 3) -> str:
    """A number with a typographic minus; a dash where there is none.

    One that would be rounded to 0 keeps its first digit, so that 0 stands for 0 alone (and for rounding), without sign.
    """
    return _rounded(value, digits, "")


def up_to_one(value: object, digits: int = 2) -> str:
    """A correlation or a share, of which 1 is the limit: only 1 is written as 1; others have the digits that takes."""
    if missing(value):
        return "–"
    size = abs(float(str(value)))
    while round(size, digits) == 1 and abs(size - 1) > ROUNDING:
        digits += 1
    return number(value, digits)


def signed(value: object, digits: int = 4) -> str:
    """A change, always with its sign, but for 0; rounded as by `number`."""
    return _rounded(value, digits, "+")


def _rounded(value: object, digits: int, sign: str) -> str:
    if missing(value):
        return "–"
    size = float(str(value))
    text = f"{size:{sign}.{digits}f}"
    if float(text) == 0:
        text = f"{0:.{digits}f}" if abs(size) <= ROUNDING else f"{size:{sign}.1g}"
    return text.replace("-", MINUS)


def percent(value: object) -> str:
    """A relative change in per cent, with its sign; beyond LARGEST_PERCENT only that, since its base is then near 0."""
    if missing(value):
        return "–"
    size = 100 * float(str(value))
    if abs(size) > LARGEST_PERCENT:
        return f"> +{LARGEST_PERCENT:,} %" if size > 0 else f"< {MINUS}{LARGEST_PERCENT:,} %"
    return f"{signed(size, 1)} %"


def share(value: object, digits: int = 0) -> str:
    """A share in per cent; one that would be rounded to none or to all of them is "< 1 %" or "> 99 %"."""
    if missing(value):
        return "–"
    size, step = 100 * float(str(value)), 10.0**-digits
    if 0 < size < step / 2:
        return f"< {step:.{digits}f} %"
    if 100 - step / 2 <= size < 100:
        return f"> {100 - step:.{digits}f} %"
    return f"{size:.{digits}f} %"


def relative_change(row: Mapping[str, Any]) -> str:
    """The relative change of a comparison in per cent; a dash where its base is 0 but for rounding."""
    zero = missing(row["base_value"]) or abs(float(row["base_value"])) <= ROUNDING
    return "–" if zero else percent(row["delta_relative"])


def p_value(p: object) -> str:
    """A p-value with three significant digits; "< 0.0001" below that; a dash where there is none.

    One that would become a round number, as levels are, has as many digits as tell it from that: .04999 is not .05.
    """
    if missing(p):
        return "–"
    value = float(str(p))
    if value < 1e-4:
        return "< 0.0001"
    for digits in range(3, 10):
        text = f"{value:.{digits}g}"
        if len(text.replace(".", "").strip("0")) > DIGITS_OF_LEVELS or isclose(float(text), value, rel_tol=ROUNDING):
            break
    return text


def marked_p(row: Mapping[str, Any]) -> str:
    """The p-value of a row, with a dagger where its test does not keep what it promises."""
    return p_value(row["p"]) + (f" {DAGGER}" if row.get("out_of_band") else "")


def ends(low: object, high: object, digits: int) -> str:
    """An interval of what has no sign; a dash where there is none."""
    return "–" if missing(low) else f"{number(low, digits)} to {number(high, digits)}"


def interval(low: object, high: object, digits: int = 4) -> str:
    """A confidence interval of what has a sign; a dash where there is none."""
    return "–" if missing(low) or missing(high) else f"{signed(low, digits)} to {signed(high, digits)}"


def amount(count: int, singular: str, plural: str | None = None) -> str:
    """A count with its noun."""
    return f"{count} {singular if count == 1 else plural or singular + 's'}"
