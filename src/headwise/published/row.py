"""One row of a re-analysis."""

from dataclasses import dataclass, fields, replace
from math import isfinite

from headwise.published.items import Place
from headwise.statistics.result import Result, joined

# Printed and recomputed values that differ by less, relative to their scale, are the same: rounding of the last digits.
ROUNDING = 1e-9
MATRIX_MISSING = "the file holds no matrix of entropies: nothing to recompute from"


@dataclass(frozen=True)
class Row:
    """One row of a re-analysis.

    kind          one of the kinds of `page.KINDS`
    file, place   where the printed value stands: file, and keys that lead to it
    model         that it is about, as far as the file says; for changes the aligned one
    seed          as written
    quantity      what was computed, in words
    printed       as released; None where the file does not print it
    value         recomputed, in the units of `quantity`; None where something is missing
    low, high     ends of its interval
    p             of a test that was made again
    p_attainable  smallest p that the design can give
    n             units
    method        in words
    agreement     yes, no: printed and recomputed value are the same but for rounding; "not printed", "not recomputed"
    times         how often it is printed
    verdict       ours, of a claim
    remark        what is missing, or must be read with care
    """

    kind: str
    file: str
    place: str
    model: str | None
    seed: str | None
    quantity: str
    printed: float | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_attainable: float | None = None
    n: int | None = None
    method: str = ""
    agreement: str = ""
    times: int | None = None
    verdict: str | None = None
    remark: str | None = None


def row(place: Place, kind: str, quantity: str, *, scale: float = 1.0, **values: object) -> Row:
    """A row about a place, with its agreement filled in, and without numbers that are not finite: a remark says which.

    scale  of the quantity, for what counts as rounding; that of an index is 1
    """
    found = Row(kind, place.file, str(place), place.model, place.seed, quantity, **values)  # type: ignore[arg-type]  # fields of a row, by name
    beyond = [each.name for each in fields(found) if _not_finite(getattr(found, each.name))]
    if beyond:
        remark = joined(found.remark, f"not finite: {', '.join(beyond)}")
        found = replace(found, remark=remark, **dict.fromkeys(beyond))  # type: ignore[arg-type]  # numbers, all of which may be None
    if found.agreement:
        return found
    if found.printed is None or found.value is None:
        return replace(found, agreement="not printed" if found.printed is None else "not recomputed")
    same = abs(found.printed - found.value) <= ROUNDING * max(scale, abs(found.printed))
    return replace(found, agreement="yes" if same else "no")


def _not_finite(value: object) -> bool:
    return isinstance(value, float) and not isfinite(value)


def of_result(
    place: Place, kind: str, result: Result, printed: float | None = None, scale: float = 1.0, remark: str | None = None
) -> Row:
    """A row that shows a result of the statistics layer, with a remark beside its own reason."""
    return row(
        place,
        kind,
        result.name,
        scale=scale,
        printed=printed,
        value=result.estimate,
        low=result.low,
        high=result.high,
        p=result.p,
        p_attainable=result.p_attainable,
        n=result.n,
        method=result.method,
        remark=joined(result.reason, remark),
    )


def figure(value: float | None, digits: int = 5) -> str:
    """A number with that many digits and a typographic minus; a dash where there is none."""
    if value is None:
        return "–"
    whole = 10**digits <= abs(value) < 1e15
    shown = f"{value:,.0f}" if whole else f"{value:.{digits}g}"
    return shown.replace("-", "−")


def rounds_to(value: float, printed: float) -> bool:
    """Whether a value is the printed one to the decimals that it is printed with."""
    decimals = len(text.split(".")[1]) if "." in (text := repr(float(printed))) and not text.endswith(".0") else 0
    return "e" not in text and abs(value - printed) <= 0.5 * 10.0**-decimals * (1 + 1e-9)
