"""The section about controls: questions with a known answer that need data or models of their own."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from headwise.study.section import Place, Section

if TYPE_CHECKING:
    from headwise.study.study import Study


class Controls(Section):
    """Controls that not every study runs; all others need nothing but the code and the study's own results."""

    truth_values: ClassVar[frozenset[str]] = frozenset({"learned_circuit"})

    learned_circuit: bool = Field(
        True,
        description="Train two small models on random tokens that repeat, and look for the heads that are known to "
        "form: some 20 s on one core",
    )
    released_results: Place | None = Field(
        None, description="Folder with released result files, whose printed indices are computed again"
    )


SECTIONS = {"controls": (Controls, Controls())}


def folders(study: "Study") -> list[tuple[str, str]]:
    """The folder with released result files, where the study names one."""
    released = study.section(Controls).released_results
    return [("controls.released_results", released)] if released else []
