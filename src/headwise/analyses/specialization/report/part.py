"""Specialization in the report: values, what alignment changes, contrasts, and what the estimators really measure."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from headwise.analyses.declaration.undeclared import why_undeclared
from headwise.analyses.specialization.report import charts, control_charts, views
from headwise.analyses.specialization.report.findings import findings
from headwise.analyses.specialization.report.head_maps import head_maps_chart
from headwise.analyses.specialization.rows import TABLES
from headwise.attention.pair_statistics import PAIR_STATISTICS
from headwise.report.columns import Tables
from headwise.report.labels import amount, estimator_label, estimator_title, missing, p_value
from headwise.report.part import Chart, Part, Passage
from headwise.report.view import NAME, NUMBER, View, view
from headwise.study.study import Study


def _charts(study: Study) -> list[Chart]:
    primary = estimator_title(study.comparison.primary)
    coverage = f"{100 * (1 - study.comparison.level):g} %"
    pairwise = study.comparison.primary in PAIR_STATISTICS
    meaning = " Higher values: heads of a layer differ more from each other." if pairwise else ""
    margin = f"±{study.comparison.equivalence_margin:g}"
    return [
        Chart(
            "specialization",
            charts.specialization_chart,
            "How specialized the heads of each model are",
            f"{primary}, the primary estimator, with all keys kept. One symbol per refit; the bar is the "
            f"mean over refits.{meaning}",
        ),
        Chart(
            "change",
            charts.change_chart,
            "What alignment changes",
            f"Aligned model minus its base, refit by refit, with the {coverage} interval over prompts. "
            "White centre: the test within that refit is not significant after adjustment. Grey band: "
            f"{margin}, the largest change that is still called preserved. Prompts are the unit here: an "
            "interval says what holds for other prompts, not for other refits.",
        ),
        Chart(
            "layers",
            charts.layer_chart,
            "Where in the network heads differ",
            f"{primary} by layer. One symbol per refit; lines are means over refits.",
        ),
        Chart(
            "head_permutation",
            control_charts.head_permutation_chart,
            "What the estimators measure: heads shuffled within their layers",
            "Value of each model against its value when the heads of every layer are put in a random order "
            "(mean over orders; rules: one standard deviation). An estimator that compares heads within a "
            "layer gives no meaning to their numbers and lies on the line by construction; of these, only "
            "the primary estimator is shown. One that follows head numbers across layers lies within the "
            "spread of random orders when these numbers mean nothing: then it reflects how a quantity "
            "changes with depth, and differences between models that are smaller than the spread say "
            "nothing about heads.",
        ),
        Chart(
            "descriptors",
            control_charts.descriptor_chart,
            "What the heads of the base models do",
            "For each layer the head that scores highest and the median head, mean over refits. A high "
            "peak above a low median: few heads do this, and they do it clearly.",
        ),
        Chart(
            "head_maps",
            head_maps_chart,
            "Maps of heads: layer × head",
            "A cell per head of the chosen model and refit; blue below 0, orange above. Heads of two refits that have "
            "one number have nothing in common; those of an aligned model and its base descend from each other.",
        ),
    ]


def passages(study: Study, tables: Tables) -> Iterator[Passage]:
    """How sure the tests are, their tables, and what the estimators measure."""
    yield from _how_sure(study, tables)
    yield from _tests(study, tables)
    yield from _estimators(study, tables)


def _how_sure(study: Study, tables: Tables) -> Iterator[Passage]:
    """What was declared, and what a design can show."""
    attainable = attainable_view(tables)
    if not attainable.rows:
        return
    primary, undeclared = estimator_label(study.comparison.primary), why_undeclared(tables["declaration"])
    if undeclared:
        declared = (
            f"No test counts as declared in advance ({undeclared}): all are exploratory, adjusted by Benjamini and "
            f"Hochberg's method. The primary estimator of the study file is the {primary}."
        )
    else:
        declared = (
            f"One estimator, the {primary}, was declared primary before anything was computed. Its tests of whole "
            "models within one refit and its contrasts between models, with all keys kept, are confirmatory as far as "
            "the study file declares them, and adjusted together, as one set, by Holm's method. Everything else is "
            "exploratory, adjusted by Benjamini and Hochberg's method."
        )
    yield Passage(
        "How sure this is",
        (
            f"{declared} The level is {study.comparison.level:g} throughout, and a change is called preserved when an "
            f"equivalence test shows it to be smaller than {study.comparison.equivalence_margin:g}.",
            "What a test can say depends on what is counted. Prompts as the unit: the statement is about one set of "
            "weights, on other prompts. Refits: about other trainings of the same recipe. Families: about other "
            "recipes. A permutation test of few units cannot give a small p whatever the data, so every p stands "
            "beside the smallest one that its design can give; where that is above the level, the verdict is "
            "“undecidable”, never “no effect”. Intervals over few refits or families are Student’s t: they assume "
            "normal deviations, which the tests do not, and the two may disagree. A direction is named only where the "
            "test and the whole interval show it.",
        ),
        [(attainable, "Smallest p that each design can give")],
    )


def attainable_view(tables: Tables) -> View:
    """Per kind of unit: how many there are, and the smallest p that they can give."""
    design = ["unit", "n", "n_reference"]
    comparisons, contrasts = tables["comparisons"], tables["contrasts"]
    within = comparisons[comparisons["level"] == "model"]
    columns = [*design, "p_attainable"]
    tests = pd.concat([within.reindex(columns=columns).astype({"n_reference": "Int64"}), contrasts[columns]])
    tests = tests.sort_values("p_attainable", ascending=False, kind="stable").dropna(subset="p_attainable")
    return view(
        tests.drop_duplicates(design)[::-1],
        [
            ("Unit", lambda row: row["unit"], NAME),
            ("n", _units, NUMBER),
            ("Smallest attainable p", lambda row: p_value(row["p_attainable"]), NUMBER),
        ],
    )


def _units(row: Mapping[str, Any]) -> str:
    return str(row["n"]) if missing(row["n_reference"]) else f"{row['n']} + {row['n_reference']}"


def _tests(study: Study, tables: Tables) -> Iterator[Passage]:
    """Comparisons with bases and contrasts between models, those declared in advance first."""
    primary = estimator_label(study.comparison.primary)
    comparisons, contrasts = views.comparisons_view, views.contrasts_view
    shown = (
        (
            comparisons(study, tables, confirmatory=True),
            "Declared in advance: alignment against base",
            f"Change of the {primary} within each refit, all keys kept; unit: prompt",
        ),
        (
            contrasts(study, tables, confirmatory=True),
            "Declared in advance: contrasts between models",
            f"Contrasts of the {primary}, all keys kept; units: refits and families",
        ),
        (
            comparisons(study, tables, confirmatory=False),
            "Exploratory comparisons of whole models",
            "All other comparisons of whole models; layers are in tables/comparisons.csv",
        ),
        (contrasts(study, tables, confirmatory=False), "Exploratory contrasts", "All other contrasts"),
    )
    for position, (table, heading, caption) in enumerate(shown):
        if table.rows:
            declared = position < 2
            heading = heading if declared else f"{heading} ({amount(len(table.rows), 'row')})"
            yield Passage(heading, (), [(table, caption)])
    if not any(table.rows for table, _, _ in shown):
        yield Passage("Tests", ("This study tests nothing: it has no aligned model and no second base.",))


def _estimators(study: Study, tables: Tables) -> Iterator[Passage]:
    """What heads do, how estimators are defined, and how they behave."""
    yield Passage(
        "Heads of the base models",
        (),
        [(views.descriptors_view(tables), "Mean over heads and refits (in brackets: the highest single head)")],
    )
    yield Passage("Estimators", (), [(views.estimators_view(tables), "Definitions")])
    yield Passage(
        "Heads shuffled within their layers",
        (
            "An estimator that compares the heads of a layer with each other must not care how they are numbered: its "
            "change is 0. One that follows head numbers across layers gives a meaning to them. Where its value is like "
            "that of a random order, there is no such meaning: what it reflects is a profile over depth, and the "
            "deviation over orders is the size below which differences between models say nothing about heads.",
        ),
        [
            (
                views.head_permutation_view(tables),
                "Absolute change of the value when the heads of each layer are put in a random order",
            )
        ],
    )
    agreement = views.agreement_view(tables)
    if agreement.rows:
        primary = estimator_label(study.comparison.primary)
        caption = (
            f"Rank correlation over models (each refit counts) with the {primary}, all keys kept; and how many changes "
            "under alignment have its sign"
        )
        yield Passage("Agreement with the primary estimator", (), [(agreement, caption)])


PART = Part(
    name="specialization",
    title="Specialization",
    tables=TABLES,
    charts=_charts,
    findings=findings,
    passages=passages,
)
