"""Stability of heads across refits in the report."""

from headwise.report.part import Part
from headwise.report.stability.charts import charts
from headwise.report.stability.columns import COLUMNS
from headwise.report.stability.findings import findings
from headwise.report.stability.views import passages

PART = Part(
    name="stability",
    title="How stable heads are across refits",
    columns=COLUMNS,
    in_results=("stability_claims",),
    charts=charts,
    findings=findings,
    passages=passages,
)
