"""docs/architecture.md names what is there: every folder has its line, and every path leads somewhere."""

import re
from pathlib import Path

from headwise.analyses import ANALYSES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
MAP = PAGE.partition("## Where things are")[2].partition("\nImports point")[0]
# Folders that tools make, or that git keeps out.
UNNAMED = {"build"}


def test_every_path_leads_somewhere() -> None:
    named = set(re.findall(r"`([\w./-]+\.(?:py|smk|md))`", PAGE))
    assert len(named) > 20
    places = (ROOT, ROOT / "src/headwise", ROOT / "docs")
    assert [name for name in sorted(named) if not any((place / name).exists() for place in places)] == []


def test_every_folder_and_analysis_has_its_line() -> None:
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")} - UNNAMED
    assert {name for name in folders if f"`{name}/" not in MAP} == set()
    assert sorted(re.findall(r"`… (\w+)/`", MAP)) == sorted(ANALYSES)
