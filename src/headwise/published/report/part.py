"""What two papers published, beside what this study found."""

from collections.abc import Iterator

import pandas as pd

from headwise.published.perturbations import PublishedPerturbation, beside_ours
from headwise.published.report import claims, perturbations
from headwise.published.stability import StabilityClaim, judged_claims
from headwise.report.columns import Tables
from headwise.report.finding import Finding
from headwise.report.part import Part, Passage
from headwise.study.study import Study

# The part of the page that it stands before.
BEFORE = "calibration"


def derived(study: Study, tables: Tables) -> dict[str, pd.DataFrame]:
    """Published numbers beside ours, and published claims with their verdicts."""
    return beside_ours(study, tables) | judged_claims(study, tables)


def findings(study: Study, tables: Tables) -> Iterator[Finding]:
    """What becomes of published numbers and claims."""
    yield from perturbations.ratio_finding(tables[PublishedPerturbation.table], study.comparison.level)
    yield from claims.claim_findings(tables[StabilityClaim.table])


def passages(study: Study, tables: Tables) -> Iterator[Passage]:
    """Published numbers with their sources, and claims with their verdicts."""
    if len(rows := tables[PublishedPerturbation.table]):
        yield perturbations.passage(rows)
    if len(rows := tables[StabilityClaim.table]):
        yield claims.passage(rows)


PART = Part(
    name="published",
    title="What was published",
    tables=(PublishedPerturbation, StabilityClaim),
    derived=derived,
    findings=findings,
    passages=passages,
)
