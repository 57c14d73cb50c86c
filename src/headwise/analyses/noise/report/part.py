"""Perturbed models in the report."""

from headwise.analyses.noise.report.charts import charts
from headwise.analyses.noise.report.columns import COLUMNS
from headwise.analyses.noise.report.findings import findings
from headwise.analyses.noise.report.views import passages
from headwise.report.part import Part

PART = Part(
    name="noise",
    title="Robustness: noise and duplicated heads",
    columns=COLUMNS,
    in_results=(
        "noise_sensitivity",
        "noise_contrasts",
        "key_value_duplication",
        "probe_discrimination",
        "probe_selection",
    ),
    charts=charts,
    findings=findings,
    passages=passages,
)
