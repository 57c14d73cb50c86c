"""Imports of the package: one way along the declared order of packages, without circles, light where Snakemake looks.

The order is that of the list in docs/architecture.md. Imports for type checking alone do not count.
"""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
# They take seconds, and on a cluster every job parses the Snakefile.
HEAVY = {"torch", "transformers", "pandas", "scipy"}

Import = tuple[str, bool]  # module, and whether it is imported as soon as the importing one is


def module_files() -> dict[str, Path]:
    """The file of each module of the package, by the module's name."""
    files = {}
    for path in sorted((SOURCE / "headwise").rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


FILES = module_files()


def imports(tree: ast.AST, at_once: bool = True) -> Iterator[Import]:
    """What a file imports, absolutely."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, at_once) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports would not be seen here"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield (submodule if submodule in FILES else str(node.module)), at_once
        else:
            yield from imports(node, at_once and not isinstance(node, ast.FunctionDef))


IMPORTS = {name: set(imports(ast.parse(path.read_text(encoding="utf-8")))) for name, path in FILES.items()}


def order() -> list[str]:
    """Packages and modules right below headwise, low to high."""
    rows = re.findall(r"^\| (`src/headwise/.*?) \|", (ROOT / "docs/architecture.md").read_text("utf-8"), re.MULTILINE)
    return [name for row in rows for name in re.findall(r"(\w+)(?:/|\.py)`", row)]


def package(module: str) -> str:
    return module.split(".")[1]


def test_every_package_stands_in_the_declared_order() -> None:
    assert sorted(order()) == sorted({package(name) for name in FILES if "." in name})


@pytest.mark.parametrize("low", order())
def test_no_module_imports_from_a_later_package(low: str) -> None:
    later = order()[order().index(low) + 1 :]
    against = {
        name
        for name in FILES
        if "." in name and package(name) == low
        for imported, _ in IMPORTS[name]
        if imported in FILES and "." in imported and package(imported) in later
    }
    assert not against


def test_no_two_modules_import_each_other() -> None:
    """Through others neither, nor inside functions."""
    try:
        TopologicalSorter(
            {name: {each for each, _ in found if each in FILES} for name, found in IMPORTS.items()}
        ).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_what_the_snakefile_imports_is_light() -> None:
    parsed = "\n".join(
        path.read_text("utf-8") for path in (ROOT / "Snakefile", *(ROOT / "workflow/rules").glob("*.smk"))
    )
    wanted = {
        f"{module}.{name}" if f"{module}.{name}" in FILES else module
        for module, names in re.findall(r"^from (headwise[\w.]*) import \(?([\w,\s]+)", parsed, re.MULTILINE)
        for name in re.findall(r"\w+", names)
    }
    assert "headwise.study.parse" in wanted
    seen: set[str] = set()
    heavy = set()
    while wanted:
        name = wanted.pop()
        seen.add(name)
        found = {each for each, at_once in IMPORTS[name] if at_once}
        heavy |= {f"{name} imports {each}" for each in found if each.split(".")[0] in HEAVY}
        wanted |= {each for each in found if each in FILES} - seen
    assert not heavy
