"""A control: something whose answer is known, asked of the software in use."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from headwise.tables.row import Row, column


class Outcome(StrEnum):
    """What came of a control."""

    PASS = "pass"
    FAIL = "fail"
    NOT_RUN = "not run"


@dataclass(frozen=True, kw_only=True)
class Control(Row):
    """One control and its outcome."""

    table: ClassVar[str] = "controls"
    in_results: ClassVar[bool] = True
    control: str = column("What is asked")
    basis: str = column(
        "What it was asked of: written attention, a model of the study, its results, or simulations", heading="Asked of"
    )
    expected: str = column("The known answer", heading="Known answer")
    found: float | None = column("What was found", default=None)
    tolerance: float | None = column(
        "How far it may lie from the known answer; empty where that is a bound, or the control was not run",
        default=None,
    )
    outcome: Outcome = column("pass, fail, or not run")
    reason: str | None = column("Why it was not run, or what the number is", heading="Remark", default=None)


def passing(passed: bool) -> Outcome:
    """The outcome of a control that was run."""
    return Outcome.PASS if passed else Outcome.FAIL


def within(
    control: str, basis: str, expected: str, found: float, known: float, tolerance: float, reason: str | None = None
) -> Control:
    """A control that passes where the number found is within a tolerance of the known one."""
    return Control(
        control=control,
        basis=basis,
        expected=expected,
        found=found,
        tolerance=tolerance,
        outcome=passing(abs(found - known) <= tolerance),
        reason=reason,
    )


def above(control: str, basis: str, least: float, found: float, reason: str | None = None) -> Control:
    """A control that passes where the number found is above a bound."""
    expected = f"above {least:.3g}"
    return Control(
        control=control, basis=basis, expected=expected, found=found, outcome=passing(found > least), reason=reason
    )


def not_run(control: str, expected: str, reason: str) -> Control:
    """A control that this study does not run, and why."""
    return Control(control=control, basis="–", expected=expected, outcome=Outcome.NOT_RUN, reason=reason)
