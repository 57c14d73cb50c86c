"""What the page says about noise, duplicated heads and the probe: passages with tables for people."""

from collections.abc import Iterator
from functools import partial

from headwise.analyses.noise.report.findings import REGION, ratio_words
from headwise.analyses.noise.rows import KeyValueDuplication, Kind, NoiseContrast, ProbeDiscrimination
from headwise.report.columns import Tables
from headwise.report.labels import ends, estimator_title, marked_p, missing, number, p_value, plain, up_to_one
from headwise.report.part import Passage
from headwise.report.view import NAME, NUMBER, TEXT, Row, View, view
from headwise.statistics.ratio_verdict import RatioVerdict
from headwise.study.study import Study


def passages(study: Study, tables: Tables) -> Iterator[Passage]:
    """A passage per experiment that the study has run."""
    if len(tables[NoiseContrast.table]):
        yield Passage(
            "Noise",
            [
                "Gaussian noise is added inside the models while they read held-out text; the outcome is the change of "
                "the loss per token, summarised by the area under it. Doses are absolute, or relative to the size of "
                "each layer's clean activations: models whose activations differ in size get different doses at the "
                "same absolute σ.",
                "Ratios are of geometric means over refits with Welch's interval. Three refits against three cannot "
                "reach a two-sided p below 0.1.",
            ],
            [(_contrasts(tables), "Sensitivity against the reference, noise in all layers")],
        )
    if len(tables[KeyValueDuplication.table]):
        yield Passage(
            "Duplicated key and value heads",
            [
                "Each query head gets its own copy of the key and value head that it reads. The model then has no "
                "shared heads and computes the same function. If sharing amplified noise, it would now respond less."
            ],
            [(_duplication(tables), "Largest differences from the model as made")],
        )
    if len(tables[ProbeDiscrimination.table]):
        yield Passage(
            "The perturbation probe",
            [
                "Response of each estimator to one dose that the study declares. The area is the chance that a model "
                "of the first group responds more than one of the second."
            ],
            [(_discrimination(tables), "What responses tell apart")],
        )


def _contrasts(tables: Tables) -> View:
    rows = tables[NoiseContrast.table]
    return view(
        rows[rows["region"].eq(REGION)],
        [
            ("Model", lambda row: plain(row["group"]), NAME),
            ("Against", _reference, NAME),
            ("Site", lambda row: plain(row["site"]), NAME),
            ("σ", lambda row: row["scale"], NAME),
            ("Ratio", ratio_words, TEXT),
            ("Ratio of means", partial(ratio_or_unbounded, "ratio_of_means"), NUMBER),
            ("Median of ratios", partial(ratio_or_unbounded, "median_of_ratios"), NUMBER),
        ],
    )


def ratio_or_unbounded(column: str, row: Row) -> str:
    """A ratio; one whose denominator cannot be told from 0 says that it has no bounds."""
    text = number(row[column], 3)
    return f"{text} (unbounded)" if row["verdict"] == RatioVerdict.UNBOUNDED and not missing(row[column]) else text


def _reference(row: Row) -> str:
    return "itself as made" if row["kind"] == Kind.DUPLICATION else plain(row["reference"])


def _duplication(tables: Tables) -> View:
    columns = {
        "Logits": "largest_logit_difference",
        "Attention": "largest_attention_difference",
        "Change of the loss": "largest_delta_nll_difference",
        "Estimators": "largest_specialization_difference",
    }
    return view(
        tables[KeyValueDuplication.table],
        [
            ("Model", lambda row: plain(row["model"]), NAME),
            ("Refit", lambda row: str(row["seed"]), NUMBER),
            *((head, partial(_power, column), NUMBER) for head, column in columns.items()),
        ],
    )


def _power(column: str, row: Row) -> str:
    return "–" if missing(row[column]) else f"{row[column]:.1e}"


def _discrimination(tables: Tables) -> View:
    return view(
        tables[ProbeDiscrimination.table],
        [
            ("Estimator", lambda row: estimator_title(row["estimator"]), NAME),
            ("Task", lambda row: row["task"], NAME),
            ("ROC area", lambda row: up_to_one(row["area"]), NUMBER),
            ("Interval", lambda row: ends(row["ci_low"], row["ci_high"], 2), NUMBER),
            ("p", marked_p, NUMBER),
            ("Smallest p", lambda row: p_value(row["p_attainable"]), NUMBER),
            ("Models", lambda row: f"{row['n']} + {row['n_reference']}", NUMBER),
        ],
    )
