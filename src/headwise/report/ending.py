"""What a run says at its end: the answers in three lines at most, where the page is, how long it took.

Imported by the Snakefile: nothing heavy.
"""

from collections.abc import Iterator
from pathlib import Path

from headwise.runtime.json_files import read_json
from headwise.runtime.run_log import duration

# The answers of each line, as the table of answers has them.
LINES = (("yes",), ("no", "equivalent to nothing"), ("undecided",))


def ending(results: Path, page: str, seconds: float) -> Iterator[str]:
    """The lines.

    results  results.json of the study, whose questions stand in the order of the study file
    page     path of the report
    seconds  that the run took
    """
    answers = read_json(results)["answers"]
    for alike in LINES:
        found = {
            answer: [row["title"] or row["question"] for row in answers if row["answer"] == answer] for answer in alike
        }
        if said := [f"{answer.capitalize()}: {' '.join(asked)}" for answer, asked in found.items() if asked]:
            yield "  ".join(said)
    if not answers:
        yield "The study asks no questions."
    yield f"{page} has the rest; it took {duration(seconds)}."
