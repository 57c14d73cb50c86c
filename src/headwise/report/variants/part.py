"""Variants of the extraction in the report."""

from headwise.report.part import Part
from headwise.report.variants.charts import charts
from headwise.report.variants.columns import COLUMNS
from headwise.report.variants.findings import findings
from headwise.report.variants.views import passages

PART = Part(
    name="variants",
    title="What the extraction itself moves",
    columns=COLUMNS,
    in_results=("confounds",),
    charts=charts,
    findings=findings,
    passages=passages,
)
