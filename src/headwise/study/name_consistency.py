"""Names of a study that would become one: one label on the page, or one file where case makes no difference."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headwise.study.study import Study

# What the report calls a model that is not aligned.
UNALIGNED = "base"
# And one that descends from another by a method that the study does not name.
UNNAMED = "unnamed alignment"


def name_problems(study: "Study") -> list[str]:
    """Sentences about names that would collide, each naming the field; empty where all is well.

    Names count as written. Those that differ only in case are refused: the page writes `sft` as SFT, and on many a disk
    the files of `A` are those of `a`.
    """
    methods = [study.method_of(model) for model in study.models]
    problems = [
        *alike("models", "names", (model.name for model in study.models)),
        *alike("models", "families", (model.family for model in study.models if model.family)),
        *alike("models", "methods", (method for method in methods if method)),
    ]
    problems += [
        f"models.{position} ('{model.name}').method: '{method}' is what the report calls models that are not aligned: "
        "name the method otherwise"
        for position, (model, method) in enumerate(zip(study.models, methods, strict=True))
        if method and method.casefold() == UNALIGNED
    ]
    return problems


def alike(section: str, fields: str, names: Iterable[str]) -> list[str]:
    """Sentences about names of a section that differ only in case."""
    first: dict[str, str] = {}
    problems = []
    for name in dict.fromkeys(names):
        other = first.setdefault(name.casefold(), name)
        if other != name:
            problems.append(
                f"{section}: the {fields} '{other}' and '{name}' differ only in upper and lower case, and would be one "
                "label or one file: write them alike if they are one, else change one"
            )
    return problems
