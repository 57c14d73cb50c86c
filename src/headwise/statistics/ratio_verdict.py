"""What is known of a ratio, as tables name it. Imported by the Snakefile: nothing heavy is imported here."""

from enum import StrEnum


class RatioVerdict(StrEnum):
    """A number; without bounds, since nothing tells the denominator from 0; or undefined."""

    RATIO = "ratio"
    UNBOUNDED = "unbounded"
    UNDEFINED = "undefined"

    @classmethod
    def of(cls, ratio: float | None, why_unbounded: str | None) -> "RatioVerdict":
        """Of a ratio, None where it is undefined, and the reason why it has no bounds, None where it has."""
        if why_unbounded:
            return cls.UNBOUNDED
        return cls.UNDEFINED if ratio is None else cls.RATIO
