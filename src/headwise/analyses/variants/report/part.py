"""Variants of the extraction in the report."""

from headwise.analyses.variants.report.charts import charts
from headwise.analyses.variants.report.confounded import confounded_pairs
from headwise.analyses.variants.report.findings import findings
from headwise.analyses.variants.report.views import passages
from headwise.analyses.variants.rows import TABLES
from headwise.report.columns import Tables
from headwise.report.labels import amount
from headwise.report.part import Light, Part


def light(tables: Tables) -> Light | None:
    """Pairs that were not measured alike."""
    pairs = confounded_pairs(tables)
    return Light(False, f"{amount(len(pairs), 'pair')} confounded") if pairs else None


PART = Part(
    name="variants",
    title="What the extraction itself moves",
    tables=TABLES,
    charts=charts,
    findings=findings,
    light=light,
    passages=passages,
)
