"""Perturbed models and recursive generation in the report."""

from headwise.report.part import Part
from headwise.report.robustness.charts import charts
from headwise.report.robustness.columns import COLUMNS
from headwise.report.robustness.findings import findings
from headwise.report.robustness.views import passages

PART = Part(
    name="robustness",
    title="Robustness: noise, duplicated heads, recursive generation",
    columns=COLUMNS,
    in_results=(
        "noise_sensitivity",
        "noise_contrasts",
        "key_value_duplication",
        "probe_discrimination",
        "probe_selection",
        "recursion_durations",
        "published_robustness",
    ),
    charts=charts,
    findings=findings,
    passages=passages,
)
