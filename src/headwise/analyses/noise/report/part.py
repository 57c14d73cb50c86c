"""Perturbed models in the report."""

from headwise.analyses.noise.report.charts import charts
from headwise.analyses.noise.report.findings import findings
from headwise.analyses.noise.report.views import passages
from headwise.analyses.noise.rows import TABLES
from headwise.report.part import Part

PART = Part(
    name="noise",
    title="Robustness: noise and duplicated heads",
    tables=TABLES,
    charts=charts,
    findings=findings,
    passages=passages,
)
