"""What a study found, in sentences computed from its tables, each with the numbers behind it.

Nothing is claimed beyond a test's verdict, and every p stands beside the smallest that its design can give.
"""

from headwise.report import parts
from headwise.report.columns import Tables
from headwise.report.finding import Finding
from headwise.study.study import Study

QUESTION = "question"


def findings(study: Study, tables: Tables) -> list[Finding]:
    """All findings of a study, in the order of the page. Works for any study, also of one model at one seed."""
    found = [_remarked(finding, tables) for part in parts.PARTS for finding in part.findings(study, tables)]
    if not any(finding.topic == QUESTION for finding in found):
        return found
    # The answers are the first screen of a study that asks; what checks show stands beside them.
    first = (QUESTION, "check")
    return [each if each.topic in first else each.model_copy(update={"headline": False}) for each in found]


def _remarked(finding: Finding, tables: Tables) -> Finding:
    """The finding, with what parts have to say of the models that it is about."""
    remarks = [remark for part in parts.PARTS if (remark := part.remark(tables, finding)) is not None]
    return finding.model_copy(update={"sentence": " ".join([finding.sentence, *remarks])}) if remarks else finding
