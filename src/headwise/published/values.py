"""Single values of a released file, read strictly: what is no number, count or name is refused with the reason."""

import hashlib
import re
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

# Whole numbers up to here are exact as floats, and as numbers of a page.
EXACT = 2**53
NOT_FINITE = "a value that is not finite"
LONGEST_NAME = 200
# Ends of a name that is too long to be shown.
KEPT = 60
SEED_IN_KEY = re.compile("[0-9]{1,100}")


class UnusableError(ValueError):
    """Something in a released file cannot be used; the text says why, and what to write instead."""


@dataclass(frozen=True)
class Damaged:
    """Stands in place of a value that cannot be read, with the reason."""

    reason: str


def described(value: Any) -> str:
    """What kind of value it is, in words, with the value where it is short."""
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    if isinstance(value, str):
        return f'the text "{shown(value)}"'
    if isinstance(value, int | float):
        return f"the number {value}" if abs(value) < inf else NOT_FINITE
    if isinstance(value, Damaged):
        return value.reason
    return "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else "nothing"


def number(value: Any) -> float:
    """A finite number. Raises UnusableError for text, truth values, and what is not finite or beyond floats."""
    if isinstance(value, Damaged):
        raise UnusableError(value.reason)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnusableError(f"{described(value)}, where a number belongs")
    try:
        found = float(value)
    except OverflowError:
        raise UnusableError(f"a whole number of {len(str(value))} digits is beyond the range of floats") from None
    if not isfinite(found):
        raise UnusableError(f"{NOT_FINITE}, where a number belongs")
    return found


def count(value: Any) -> int:
    """A number of units, 1 or more and exact as a float. Raises UnusableError."""
    found = number(value)
    if not (1 <= found <= EXACT and found == int(found)):
        raise UnusableError(f"{described(value)}, where a number of units belongs")
    return int(found)


def probability(value: Any) -> float:
    """A p-value. Raises UnusableError outside 0…1."""
    found = number(value)
    if not 0 <= found <= 1:
        raise UnusableError(f"{found:g} is no probability: it lies outside 0 to 1")
    return found


def truth(value: Any) -> bool:
    """A truth value. Raises UnusableError for numbers and text."""
    if isinstance(value, bool):
        return value
    raise UnusableError(
        value.reason if isinstance(value, Damaged) else f"{described(value)}, where true or false belongs"
    )


def name(value: Any) -> str:
    """A name, as `shown`. Raises UnusableError for what is no text."""
    if isinstance(value, str):
        return shown(value)
    raise UnusableError(value.reason if isinstance(value, Damaged) else f"{described(value)}, where a name belongs")


def seed(value: Any) -> str:
    """A seed as written: it names a run, and a float would lose the last digits of a large one.

    Raises UnusableError for truth values, lists and objects, and for numbers that are not whole.
    """
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    found = number(value)
    if found != int(found) or abs(found) > EXACT:
        raise UnusableError(f"{found!r} is no seed: write a whole number, without a point or an exponent")
    return str(int(found))


def shown(text: str) -> str:
    """A stranger's text for tables and pages: one line, no character that cannot be seen or written, never ambiguous.

    Such characters and backslashes are escaped. What is longer than LONGEST_NAME keeps its ends, and gets its length
    and the beginning of its SHA-256, so that two names never become one.
    """
    plain = "".join(
        letter if letter.isprintable() and letter != "\\" else letter.encode("unicode_escape").decode()
        for letter in text[: LONGEST_NAME + 1]
    )
    if len(text) <= LONGEST_NAME:
        return plain
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{shown(text[:KEPT])} … {shown(text[-KEPT:])} ({len(text):,} characters, SHA-256 {digest[:16]})"
