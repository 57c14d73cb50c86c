"""What every section of a study file shares: strictness, types of its fields, and the error of a bad one."""

import reprlib
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

# Files are named by names, with a seed and an ending or two added, and file systems take 255 bytes.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
# The largest whole number that floating-point numbers, and so readers of JSON in JavaScript, tell from its neighbours.
LARGEST = 2**53 - 1
SHOWN = 60  # characters of a value in a message
Whole = Annotated[int, Field(le=LARGEST)]
Positive = Annotated[Whole, Field(ge=1)]
Seed = Annotated[Whole, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]


def _nameable(path: str) -> str:
    if "\0" in path:
        raise ValueError("no name of a file holds a NUL character: remove it")
    return path


# A file or folder. An empty one would be the folder that Snakemake runs in.
Place = Annotated[str, Field(min_length=1), AfterValidator(_nameable)]


def _once(values: list[Any]) -> list[Any]:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value} is listed twice: remove one")
    return values


# Of a list, whose entries must differ.
ONCE = AfterValidator(_once)


class StudyError(ValueError):
    """A study file that cannot be run; the message names file, field and remedy, one problem per line."""


def shown(value: Any) -> str:
    """A value in a message, cut where it is long: aliases of YAML make a few lines a value of billions of entries."""
    short = reprlib.Repr()
    short.maxlevel = 2
    short.maxstring = short.maxother = SHOWN
    try:
        text = short.repr(value)
    except ValueError:  # Python writes no number of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 2 * SHOWN else f"{text[: 2 * SHOWN]}…"


def without_truth_values(section: Any, but: frozenset[str] = frozenset()) -> Any:
    """YAML reads `yes` as true, which would pass for 1. No field of a study takes a truth value, `but` those named."""
    for key, value in section.items() if isinstance(section, Mapping) else ():
        if key not in but and any(isinstance(each, bool) for each in (value if isinstance(value, list) else [value])):
            raise ValueError(f"'{key}' has a truth value (yes, no, true, false): write a number or a quoted text")
    return section


class Section(BaseModel):
    """A section of the study file. Unknown keys are errors: a misspelt option must not be ignored."""

    truth_values: ClassVar[frozenset[str]] = frozenset()
    former: ClassVar[Mapping[str, str]] = {}
    """Fields that there were once, and what to write now."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _numbers_and_text(cls, section: Any) -> Any:
        return without_truth_values(section, cls.truth_values)

    @model_validator(mode="before")
    @classmethod
    def _fields_of_today(cls, section: Any) -> Any:
        for name in section if isinstance(section, Mapping) else ():
            if name in cls.former:
                raise ValueError(f"{name}: {cls.former[name]}")
        return section
