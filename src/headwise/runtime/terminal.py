"""Output to terminals and pipes of any encoding: what that lacks is written otherwise, and never ends a command."""

import codecs
import sys
from io import TextIOWrapper

# A sign that is lost makes another number.
REPLACEMENTS = {"−": "-", "–": "-", "×": "x", "±": "+/-", "≥": ">=", "≤": "<=", "→": "->", "…": "..."}
HANDLER = "headwise"


def accept_every_character() -> None:
    """Let standard output write every character: one that its encoding lacks by REPLACEMENTS, else by its number.

    Numbers are written as JSON has them (\\u03c3, and two of them beyond \\uffff), so that what is JSON stays it. So
    are bytes of file names that are no UTF-8.
    """
    codecs.register_error(HANDLER, _replaced)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors=HANDLER)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(REPLACEMENTS.get(character) or _escaped(character) for character in lacking), error.end


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", errors="surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
