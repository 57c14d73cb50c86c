"""What rules tell the jobs that gather, draw and write the report.

Imported by the Snakefile: nothing heavy is imported here.
"""

from pathlib import Path
from typing import Any

from headwise.runtime.json_files import read_json
from headwise.study.study import Study


def page_files() -> list[Path]:
    """What the page is made of besides Python."""
    return [path for path in sorted(Path(__file__).parent.iterdir()) if path.suffix in (".css", ".js", ".jinja")]


def report_arguments(study: Study) -> dict[str, Any]:
    """Of rules aggregate and write_report."""
    return {"study": study.model_dump(mode="json")}


def figure_arguments(study: Study) -> dict[str, Any]:
    """Of rule draw_figures; no figure has the title."""
    return {"study": study.model_dump(mode="json", exclude={"title"})}


def captions(folder: str) -> dict[str, str]:
    """By name, the captions of the figures in a folder, as the page has them; none before they are drawn."""
    listed = Path(folder) / "figures.json"
    return {each["name"]: each["caption"] for each in read_json(listed)} if listed.is_file() else {}
