"""The sections that analyses add to the study file, found through the list of analyses: nothing here names one.

The module `settings` of an analysis has

    SECTIONS                            its sections: by field of the study file, a type and pydantic's Field
    problems(study)                     what contradicts the rest of the study, as sentences that name the field
    length_problems(study, positions)   where it reads or writes text: what is too long for a model, whose positions
                                        stand by its name; a model that is not named has enough
    pair_statistics(study)              the statistics of pairs of heads that it reads, which extraction then computes
    folders(study)                      where it reads folders: the field that names each, and the folder

and all but SECTIONS may be left out.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headwise.study.study import Study


@cache
def analysis_modules(name: str) -> tuple[ModuleType, ...]:
    """The module of that name, such as `settings`, of each analysis that has one, in the order of the list."""
    analyses = import_module("headwise.analyses")
    file = Path(*name.split(".")).with_suffix(".py")
    return tuple(
        import_module(f"headwise.analyses.{analysis}.{name}")
        for analysis in analyses.ANALYSES
        if (Path(analyses.__path__[0]) / analysis / file).is_file()
    )


def section_fields() -> dict[str, Any]:
    """By field of the study file: type and default, as `pydantic.create_model` takes them."""
    return {field: declared for module in analysis_modules("settings") for field, declared in module.SECTIONS.items()}


def section_problems(study: "Study") -> list[str]:
    """Sentences about sections of analyses that contradict the rest of the study, each naming the field."""
    return [problem for function in _functions("problems") for problem in function(study)]


def length_problems(study: "Study", positions: Mapping[str, int]) -> list[str]:
    """Sentences about texts of analyses that are longer than the positions of a model, by its name; a model that is not
    named has enough."""
    return [problem for function in _functions("length_problems") for problem in function(study, positions)]


def folders(study: "Study") -> list[tuple[str, str]]:
    """The fields that name folders which analyses read, and the folders."""
    return [named for function in _functions("folders") for named in function(study)]


def pair_statistics(study: "Study") -> list[str]:
    """The statistics of pairs of heads that analyses read: extraction computes no others."""
    return list(dict.fromkeys(name for function in _functions("pair_statistics") for name in function(study)))


def _functions(name: str) -> Iterator[Any]:
    return (getattr(module, name) for module in analysis_modules("settings") if hasattr(module, name))
