"""Variants of the extraction in the report."""

from headwise.analyses.variants.report.charts import charts
from headwise.analyses.variants.report.findings import findings
from headwise.analyses.variants.report.views import passages
from headwise.analyses.variants.rows import TABLES
from headwise.report.part import Part

PART = Part(
    name="variants",
    title="What the extraction itself moves",
    tables=TABLES,
    charts=charts,
    findings=findings,
    passages=passages,
)
