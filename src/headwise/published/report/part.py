"""What two papers published, beside what this study found."""

from collections.abc import Iterator

from headwise.published.perturbations import PublishedRobustness, beside_ours
from headwise.published.report import perturbations
from headwise.report.columns import Tables
from headwise.report.finding import Finding
from headwise.report.part import Part, Passage
from headwise.study.study import Study


def findings(study: Study, tables: Tables) -> Iterator[Finding]:
    """What becomes of published numbers."""
    yield from perturbations.ratio_finding(tables[PublishedRobustness.table], study.comparison.level)


def passages(study: Study, tables: Tables) -> Iterator[Passage]:
    """Published numbers with their sources."""
    rows = tables[PublishedRobustness.table]
    if len(rows):
        yield perturbations.passage(rows)


PART = Part(
    name="published",
    title="What was published",
    tables=(PublishedRobustness,),
    derived=beside_ours,
    findings=findings,
    passages=passages,
)
