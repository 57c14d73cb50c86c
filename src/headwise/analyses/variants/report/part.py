"""Variants of the extraction in the report."""

from headwise.analyses.variants.report.charts import charts
from headwise.analyses.variants.report.columns import COLUMNS
from headwise.analyses.variants.report.findings import findings
from headwise.analyses.variants.report.views import passages
from headwise.report.part import Part

PART = Part(
    name="variants",
    title="What the extraction itself moves",
    columns=COLUMNS,
    in_results=("confounds",),
    charts=charts,
    findings=findings,
    passages=passages,
)
