"""What a study found, in sentences computed from its tables, each with the numbers behind it.

Nothing is claimed beyond a test's verdict, and every p stands beside the smallest that its design can give.
"""

from headwise.report import parts
from headwise.report.columns import Tables
from headwise.report.finding import Finding
from headwise.statistics.result import joined
from headwise.study.study import Study

QUESTION, CHECK = "question", "check"


def findings(study: Study, tables: Tables) -> list[Finding]:
    """All findings of a study, in the order of the page. Works for any study, also of one model at one seed."""
    found = [
        finding.model_copy(update={"part": part.name, "remark": _remark(finding, tables)})
        for part in parts.PARTS
        for finding in part.findings(study, tables)
    ]
    # The answers are the first screen of a study that asks; what checks say, lights say there.
    asks = any(finding.topic == QUESTION for finding in found)
    kept = [(finding, finding.topic == QUESTION if asks else finding.topic != CHECK) for finding in found]
    return [each.model_copy(update={"headline": each.headline and first}) for each, first in kept]


def _remark(finding: Finding, tables: Tables) -> str | None:
    """What parts have to say of the models that a finding is about."""
    return joined(*(part.remark(tables, finding) for part in parts.PARTS))
