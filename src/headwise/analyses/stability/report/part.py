"""Stability of heads across refits in the report."""

from headwise.analyses.stability.quantities import StabilityQuantity
from headwise.analyses.stability.report.charts import charts
from headwise.analyses.stability.report.findings import findings
from headwise.analyses.stability.report.views import passages
from headwise.analyses.stability.rows import MappedHead, Origin, StabilityRow
from headwise.report.part import Part

PART = Part(
    name="stability",
    title="How stable heads are across refits",
    tables=(StabilityRow, Origin, MappedHead, StabilityQuantity),
    charts=charts,
    findings=findings,
    passages=passages,
)
