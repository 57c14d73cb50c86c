"""A control: something whose answer is known, asked of the software in use."""

from dataclasses import dataclass

PASS, FAIL, NOT_RUN = "pass", "fail", "not run"


@dataclass(frozen=True)
class Control:
    """One control and its outcome.

    control    what is asked, in words
    basis      what it was asked of: made-up attention, a model of the study, its results, or simulations
    expected   the known answer, in words
    found      the number that was found; None where the control was not run
    tolerance  how far `found` may lie from the known answer; None where that is a bound, or the control was not run
    outcome    pass, fail, or not run
    reason     why it was not run, or what the number is
    """

    control: str
    basis: str
    expected: str
    found: float | None
    tolerance: float | None
    outcome: str
    reason: str | None = None


def within(
    control: str, basis: str, expected: str, found: float, known: float, tolerance: float, reason: str | None = None
) -> Control:
    """A control that passes where the number found is within a tolerance of the known one."""
    passed = abs(found - known) <= tolerance
    return Control(control, basis, expected, found, tolerance, PASS if passed else FAIL, reason)


def above(control: str, basis: str, least: float, found: float, reason: str | None = None) -> Control:
    """A control that passes where the number found is above a bound."""
    return Control(control, basis, f"above {least:.3g}", found, None, PASS if found > least else FAIL, reason)


def not_run(control: str, expected: str, reason: str) -> Control:
    """A control that this study does not run, and why."""
    return Control(control, "–", expected, None, None, NOT_RUN, reason)
