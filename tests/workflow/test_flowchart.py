"""The flowchart in docs/architecture.md is drawn from what Snakemake plans; where it is not, the failure shows it."""

import re
from collections.abc import Callable
from graphlib import TopologicalSorter
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Run = Callable[..., CompletedProcess[str]]
# Between them they have every rule: the controlled study and its calibration; text from a grammar, and released files;
# models that are fetched and measured as they are; models that are fetched and converted; placebos of one arm.
STUDIES = {
    "config/studies/controlled.yaml": ["calibration"],
    "benchmarks/pilot.yaml": ["--config", "controls={released_results: released}"],
    "config/studies/gpt2_refits.yaml": [],
    "config/studies/coins.yaml": [],
    "config/studies/bali2026.yaml": ["--config", "seeds=[1, 2]"],
}
# These only name files.
TARGETS = {"all", "fetch", "calibration"}


def steps(dag: str) -> set[tuple[str, str]]:
    """Which rule's files another rule starts from, of a DAG of jobs in the dot language.

    A job that reads what an earlier one made counts where no third job lies between the two.
    """
    rules = dict(re.findall(r'(\d+)\[label = "(\w+)', dag))
    sources: dict[str, set[str]] = {job: set() for job in rules}
    for source, job in re.findall(r"(\d+) -> (\d+)", dag):
        sources[job].add(source)
    earlier: dict[str, set[str]] = {}
    found = set()
    for job in TopologicalSorter(sources).static_order():
        between = set().union(*(earlier[source] for source in sources[job]))
        earlier[job] = between | sources[job]
        found |= {(rules[source], rules[job]) for source in sources[job] - between}
    return found


def flowchart(edges: set[tuple[str, str]]) -> str:
    """The rules in mermaid, one line for each that starts from others, in an order in which they could run."""
    sources: dict[str, list[str]] = {}
    for source, rule in sorted(edges):
        sources.setdefault(rule, []).append(source)
    order = [rule for rule in TopologicalSorter(sources).static_order() if rule in sources]
    lines = [f"    {' & '.join(sources[rule])} --> {rule}\n" for rule in order]
    return f"```mermaid\nflowchart TB\n{''.join(lines)}```\n"


@pytest.mark.slow
def test_the_flowchart_in_the_docs_is_what_snakemake_plans(root: Path, tmp_path: Path, snakemake: Run) -> None:
    for name in ("config", "prompts"):
        (tmp_path / name).symlink_to(root / name)
    (tmp_path / "released").mkdir()
    edges = set()
    for study, arguments in STUDIES.items():
        dag = snakemake(tmp_path, "all", *arguments, "--configfile", root / study, "--dag", "dot").stdout
        edges |= {(source, rule) for source, rule in steps(dag) if rule not in TARGETS}
    listed = set(re.findall(r"^(\w+) \(", snakemake(tmp_path, "--list-rules").stdout, re.MULTILINE))
    assert {rule for edge in edges for rule in edge} == listed - TARGETS
    docs = (root / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert flowchart(edges) in docs, f"docs/architecture.md needs this flowchart:\n{flowchart(edges)}"


def test_a_step_that_others_make_is_left_out() -> None:
    dag = '0[label = "c"]; 1[label = "b\\nmodel: x"]; 2[label = "a"]; 1 -> 0; 2 -> 0; 2 -> 1'
    assert steps(dag) == {("a", "b"), ("b", "c")}
    # Of jobs, not of rules: here one `c` reads what `a` made itself.
    assert ("a", "c") in steps(dag + '; 3[label = "c\\nmodel: y"]; 2 -> 3')
    assert flowchart(steps(dag)).splitlines()[2:4] == ["    a --> b", "    b --> c"]
