"""The section about controls: questions with a known answer that need data or models of their own."""

from typing import ClassVar

from pydantic import Field

from headwise.study.section import Place, Section


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
