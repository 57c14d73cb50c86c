"""Which library files a script depends on, read from its source without running it; and a record of what they hold.

Imported by the Snakefile: standard library only.
"""

import ast
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from headwise.runtime.provenance import file_digest

PACKAGE = Path(__file__).parents[1]
# Modules that load others by their names, which stand in a list, and those that they may load.
BY_NAME = {
    "study/sections.py": ("analyses/__init__.py", "analyses/*/settings.py"),
    "report/parts.py": ("analyses/__init__.py", "analyses/*/report/part.py", "published/report/part.py"),
}
# Where statements hold statements.
STATEMENTS = ("body", "orelse", "handlers", "finalbody", "cases")


def import_closure(path: Path, package: Path = PACKAGE) -> list[Path]:
    """The files of `package` that a Python file imports, directly or through others, sorted.

    Absolute and relative imports count, at the top or inside functions, the `__init__.py` of every package on the way,
    and what the modules of BY_NAME load; imports for type checking alone do not, nor other modules that are loaded by
    name at run time. Files are read once per process. Raises SyntaxError for a file that is no Python.
    """
    closure: set[Path] = set()
    waiting = [path]
    while waiting:
        found = _imported_files(waiting.pop(), package)
        waiting += found - closure
        closure |= found
    return sorted(closure)


def write_record(path: Path, files: Iterable[Path]) -> None:
    """Write the SHA-256 of each file as `sha256sum` does: one input for Snakemake, instead of all of them.

    A record that says the same stays as it is, with its time. The first one gets the time of the newest file: where
    results are there and Snakemake's records of them are lost, it compares times.
    """
    files = list(files)
    content = "".join(f"{_digest(file)}  {_place(file)}\n" for file in files)
    first = not path.is_file()
    if not first and path.read_text(encoding="utf-8") == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not `atomic`: a dry run may write the same record at the same time.
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(content, encoding="utf-8")
    if first:
        newest = max(file.stat().st_mtime_ns for file in files)
        os.utime(partial, ns=(newest, newest))
    os.replace(partial, path)


_digest = cache(file_digest)


def _place(file: Path) -> str:
    """A file of the library or a script, by a name that is the same in every checkout."""
    return (file.relative_to(PACKAGE.parent) if file.is_relative_to(PACKAGE) else Path(*file.parts[-2:])).as_posix()


@cache
def _imported_files(path: Path, package: Path) -> frozenset[Path]:
    """The files of `package` that one file imports itself."""
    files: set[Path] = set()
    for module in _imported_modules(path, package):
        parts = module.split(".")
        if parts[0] != package.name:
            continue
        # `import a.b` runs a/__init__.py before a/b.py. A last part that is no file is a name within a.
        for depth in range(len(parts)):
            place = package.joinpath(*parts[1 : depth + 1])
            files.update(file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file())
    return frozenset(files)


def _imported_modules(path: Path, package: Path) -> Iterator[str]:
    """Absolute names of what a file imports; `from a import b` yields a.b, module or not."""
    if path.is_relative_to(package):
        for pattern in BY_NAME.get(path.relative_to(package).as_posix(), ()):
            for found in package.glob(pattern):
                yield ".".join(found.relative_to(package.parent).with_suffix("").parts)
    tree = ast.parse(path.read_bytes(), filename=str(path))
    for node in _executed_imports(tree.body):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
            continue
        origin = node.module or ""
        if node.level:
            folder = path.parents[node.level - 1].relative_to(package.parent)
            origin = ".".join([*folder.parts, *filter(None, [origin])])
        yield from (f"{origin}.{alias.name}" for alias in node.names)


def _executed_imports(nodes: Iterable[ast.AST]) -> Iterator[ast.Import | ast.ImportFrom]:
    # Through statements alone, which imports are: expressions are most of a file.
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            yield from _executed_imports(node.orelse)
        else:
            for field in STATEMENTS:
                yield from _executed_imports(getattr(node, field, ()))
