"""The last lines of a run."""

import json
from pathlib import Path

from headwise.report.ending import ending


def said(tmp_path: Path, *answers: tuple[str, str, str]) -> list[str]:
    rows = [{"question": name, "title": title, "answer": answer} for name, title, answer in answers]
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"answers": rows}))
    return list(ending(path, "results/s/report.html", 824.0))


def test_answers_take_three_lines_at_most(tmp_path: Path) -> None:
    assert said(
        tmp_path,
        ("dpo", "Does DPO matter?", "equivalent to nothing"),
        ("noise", "", "undecided"),
        ("sharing", "Is sharing worse?", "yes"),
        ("agreement", "Do refits agree?", "yes"),
        ("fall", "Does it fall?", "no"),
    ) == [
        "Yes: Is sharing worse? Do refits agree?",
        "No: Does it fall?  Equivalent to nothing: Does DPO matter?",
        "Undecided: noise",
        "results/s/report.html has the rest; it took 14 min.",
    ]


def test_a_study_without_questions_says_so(tmp_path: Path) -> None:
    assert said(tmp_path)[0] == "The study asks no questions."
