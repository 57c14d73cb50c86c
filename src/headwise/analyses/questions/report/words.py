"""Questions and answers in words: what was asked, a sentence that answers it, the numbers behind it."""

from collections.abc import Iterator, Mapping
from math import exp
from typing import Any

from headwise.analyses.noise.settings import Site
from headwise.analyses.questions.rows import Estimand
from headwise.analyses.questions.settings import TESTED, Ask, Claim
from headwise.report.finding import units
from headwise.report.labels import (
    amount,
    arm_label,
    arm_labels,
    cell,
    estimator_label,
    interval,
    marked_p,
    method_label,
    missing,
    number,
    p_value,
    plain,
    share,
    signed,
    titled,
)
from headwise.report.rows import Answer
from headwise.study.study import Study

Row = Mapping[str, Any]
VERBS = {Claim.DIFFERS: "differ", Claim.RISES: "rise", Claim.FALLS: "fall"}
SITES = {
    Site.ATTENTION_OUTPUT: "noise after the output projections",
    Site.RESIDUAL: "noise in the residual stream",
    Site.ATTENTION_LOGITS: "noise in attention logits",
    Site.KEYS: "noise in keys",
    Site.VALUES: "noise in values",
}
# Where the sign of the estimate decides: words below 0 and above.
SIDES = {
    Ask.EFFECT: ("lowers", "raises"),
    Ask.EFFECT_DIFFERENCE: ("lower", "higher"),
    Ask.ARCHITECTURE: ("lower", "higher"),
    Ask.CHANGE: ("lowers", "raises"),
    Ask.NOISE: ("less", "more"),
    Ask.SHARING: ("milder", "worse"),
    Ask.AGREEMENT: ("less", "more"),
}


def question_words(study: Study, row: Row) -> str:
    """The question, as the study has it or from its fields."""
    if row["title"]:
        return str(row["title"])
    index = estimator_label(study.comparison.primary)
    claim = {Claim.DIFFERS: "change", Claim.RISES: "raise", Claim.FALLS: "lower"}[Claim(row["claim"])]
    group, reference = plain(row["group"] or ""), plain(row["reference"] or "")
    method = _arm(study, row)
    return {
        Ask.EFFECT: f"Does {method} {claim} the {index} beyond its placebo?",
        Ask.EFFECT_DIFFERENCE: f"Does {method} {claim} the {index} of {group} more than that of {reference}?",
        Ask.ARCHITECTURE: f"Does the {index} of {group} {VERBS[Claim(row['claim'])]} against {reference}?",
        Ask.CHANGE: f"Does the {index} {VERBS[Claim(row['claim'])]} under {method}, over families?",
        Ask.NOISE: f"Is {group} more or less sensitive to noise than {reference}?",
        Ask.SHARING: f"Does sharing {row['site']} make {group} more sensitive to noise in them?",
        Ask.AGREEMENT: f"Do refits of {group} agree above chance?",
    }[Ask(row["ask"])]


def _arm(study: Study, row: Row) -> str:
    """The arm or method that a question is about."""
    if missing(row["dose"]):
        return arm_labels(study).get(row["method"]) or method_label(row["method"])
    return arm_label(row["method"], row["dose"])


def answer_sentence(study: Study, row: Row) -> str:
    """The answer as one sentence, of 25 words at most. A direction is named where test and interval both show it."""
    ask, answer = Ask(row["ask"]), Answer(row["answer"])
    index = f"the {estimator_label(study.comparison.primary)}"
    arm = _arm(study, row)
    group, reference = plain(row["group"] or ""), plain(row["reference"] or "")
    noise = "" if missing(row["site"]) else SITES[row["site"]]
    if answer == Answer.UNDECIDED:
        return {
            Ask.EFFECT: f"{arm} may or may not change {index} beyond its placebo.",
            Ask.EFFECT_DIFFERENCE: f"{arm} may or may not change {group} otherwise than {reference}.",
            Ask.ARCHITECTURE: f"{titled(group)} may or may not differ from {reference} in {index}.",
            Ask.CHANGE: f"{arm} may or may not change {index} over families.",
            Ask.NOISE: f"{titled(group)} may or may not differ from {reference} in its response to {noise}.",
            Ask.SHARING: f"Sharing {row['site']} may or may not change what {noise} does to {group}.",
            Ask.AGREEMENT: f"Refits of {group} may or may not agree above chance on where heads look.",
        }[ask]
    if answer == Answer.EQUIVALENT:
        within = f"within ±{row['margin']:g}"
        return {
            Ask.EFFECT: f"{arm} changes {index} as its placebo does, {within}.",
            Ask.EFFECT_DIFFERENCE: f"{arm} changes {group} as it changes {reference}, {within}.",
            Ask.ARCHITECTURE: f"{titled(group)} and {reference} are alike in {index}, {within}.",
            Ask.CHANGE: f"{arm} leaves {index} as it is, {within}.",
            Ask.NOISE: f"{titled(group)} and {reference} respond alike to {noise}, ln of the ratio {within}.",
            Ask.SHARING: f"Sharing {row['site']} leaves {noise} as it is in {group}, ln of the ratio {within}.",
            Ask.AGREEMENT: f"Refits of {group} agree as chance does on where heads look, {within}.",
        }[ask]
    side = SIDES[ask][row["estimate"] > 0]
    return {
        Ask.EFFECT: f"{arm} {side} {index} beyond its placebo.",
        Ask.EFFECT_DIFFERENCE: f"What {arm} does to {index} is {side} in {group} than in {reference}.",
        Ask.ARCHITECTURE: f"{titled(index)} is {side} in {group} than in {reference}.",
        Ask.CHANGE: f"{arm} {side} {index}, over families.",
        Ask.NOISE: f"{titled(group)} is {side} sensitive than {reference} to {noise}.",
        Ask.SHARING: f"Sharing {row['site']} makes {noise} {side} in {group}.",
        Ask.AGREEMENT: f"Refits of {group} agree {side} than chance on where heads look.",
    }[ask]


def found_words(row: Row) -> str:
    """The estimate with its interval, in the units that people read."""
    if missing(row["estimate"]):
        return "undefined"
    if row["estimand"] == Estimand.LOG_RATIO:
        middle = f"{number(exp(row['estimate']), 2)} times"
        return (
            middle
            if missing(row["ci_low"])
            else f"{middle} ({number(exp(row['ci_low']), 2)} to {number(exp(row['ci_high']), 2)})"
        )
    if row["estimand"] == Estimand.AGREEMENT:
        span = "" if missing(row["ci_low"]) else f" ({number(row['ci_low'], 2)} to {number(row['ci_high'], 2)})"
        return f"{number(row['estimate'], 2)}{span} of what chance leaves"
    span = "" if missing(row["ci_low"]) else f" ({interval(row['ci_low'], row['ci_high'])})"
    return f"{signed(row['estimate'])}{span}"


def answer_words(row: Row) -> str:
    """The answer, with the margin of an equivalence, or what an undecided question would need."""
    if row["answer"] == Answer.EQUIVALENT:
        return f"{row['answer']} (within ±{row['margin']:g})"
    if row["answer"] == Answer.UNDECIDED and not missing(row["units_needed"]):
        return f"{row['answer']} (about {row['units_needed']} {row['unit']}s would decide)"
    return str(row["answer"])


def beside_words(row: Row) -> str:
    """What is there without what is asked."""
    if missing(row["alone"]):
        return ""
    if row["estimand"] == Estimand.AGREEMENT:
        return f"chance {number(row['alone'], 2)}"
    return f"placebo alone {signed(row['alone'])}"


def numbers_words(row: Row) -> str:
    """The numbers behind an answer, in one line."""
    return ", ".join(filter(None, (found_words(row), beside_words(row), units(row))))


def how_to_read(study: Study, row: Row) -> Iterator[str]:
    """What the estimate is, and what the answers mean: three sentences at most."""
    ask = Ask(row["ask"])
    yield {
        Ask.EFFECT: "What alignment does is the change of the arm less that of its placebo, which takes the same steps "
        "without what the arm teaches, refit by refit.",
        Ask.EFFECT_DIFFERENCE: "Compared is what alignment does beyond its placebo, between refits of two bases.",
        Ask.ARCHITECTURE: "Compared are refits of two bases, before alignment.",
        Ask.CHANGE: "Averaged is the change of aligned models from their bases, over families; no placebo stands "
        "beside it.",
        Ask.NOISE: "Compared is the area under the change of the loss against the noise, between refits of two models.",
        Ask.SHARING: "Compared is one draw of noise per shared head with one per query head, in models of the same "
        "function.",
        Ask.AGREEMENT: "Chance is what matched heads reach on different prompts: a head that looks at fixed positions "
        "whatever it reads counts as chance.",
    }[ask]
    whole = f"the whole interval lies on the claimed side of {'1' if row['estimand'] == Estimand.LOG_RATIO else '0'}"
    yield (
        f"Yes: the test, adjusted over {amount(row['tests'], 'declared test')} (Holm), rejects at "
        f"{study.comparison.level:g} and {whole}."
        if ask in TESTED
        else f"Yes: {whole}; no test is made, since refits share what is compared."
    )
    if not missing(row["margin"]):
        yield f"Equivalent to nothing: two one-sided tests show that it lies within the declared ±{row['margin']:g}."


def cells(study: Study, row: Row) -> list[tuple[str, str]]:
    """All numbers behind an answer: headings and cells; what there is not is left out."""
    coverage = f"{100 * (1 - study.comparison.level):g} %"
    found = [
        (f"Found ({coverage} interval)", found_words(row)),
        ("Without what is asked", beside_words(row)),
        ("Interval for equivalence", interval(row["within_low"], row["within_high"])),
        ("Units", units(row)),
        ("p", marked_p(row)),
        ("Smallest attainable p", p_value(row["p_attainable"])),
        ("Adjusted p", p_value(row["p_adjusted"])),
        ("Would decide", "" if missing(row["units_needed"]) else f"about {amount(row['units_needed'], row['unit'])}"),
        ("Power at what was found", share(row["power"])),
        ("Power at what was published", share(row["power_published"])),
        ("Declared in advance", "yes" if row["confirmatory"] else ""),
        ("How", cell(row["test"])),
        ("Remark", cell(row["reason"])),
    ]
    return [(heading, text) for heading, text in found if text not in ("", "–")]
