"""The documentation that every Python carries, as a corpus: language topics and docstrings.

Everything is read from source files by `ast`; no module is imported, so nothing runs and nothing can fail to import.
"""

import ast
import inspect
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from headwise.models.docstrings import docstrings, module_name
from headwise.runtime.progress import track

# Folders that hold no documentation for users: test suites, bundled applications, tables of character codes,
# and the topics themselves, which are read separately.
SKIPPED = frozenset(
    {
        "encodings",
        "ensurepip",
        "idlelib",
        "lib2to3",
        "pydoc_data",
        "test",
        "tests",
        "turtledemo",
        "__phello__",
    }
)


def standard_library_texts() -> list[tuple[str, str, str]]:
    """(id, title, text) of each topic of `help()` and of each documented module of the running Python.

    A module's text is the docstrings of the module, its classes and its functions in the order of the source,
    each under the qualified name of what it documents. A docstring that stands in several places is kept
    where it comes first. Raises FileNotFoundError where this Python was installed without the sources.
    """
    folder = Path(sysconfig.get_paths()["stdlib"])
    files = list(_module_files(folder))
    topics = folder / "pydoc_data" / "topics.py"
    if not files or not topics.is_file():
        raise FileNotFoundError(
            f"corpus.source standard_library: this Python keeps no documentation sources under {folder}: "
            "use a Python with its standard library as files, or set corpus.source to text"
        )
    seen: set[str] = set()
    texts = [(f"topic/{name}", name, text) for name, text in _topics(topics)]
    for path in track(files, "reading docstrings", len(files)):
        module = module_name(path.relative_to(folder))
        sections = []
        for name, written in docstrings(ast.parse(path.read_bytes()), module):
            docstring = inspect.cleandoc(written)
            if docstring and docstring not in seen:
                seen.add(docstring)
                sections.append(f"{name}\n\n{docstring}")
        if sections:
            texts.append((f"module/{module}", module, "\n\n".join(sections)))
    return texts


def _module_files(folder: Path) -> Iterator[Path]:
    """Source files of the standard library alone: third-party packages may be installed inside its folder."""
    for name in sorted(sys.stdlib_module_names - SKIPPED):
        if (folder / f"{name}.py").is_file():
            yield folder / f"{name}.py"
        for path in sorted((folder / name).rglob("*.py")):
            if not SKIPPED.intersection(path.relative_to(folder).parts):
                yield path


def _topics(path: Path) -> list[tuple[str, str]]:
    """The dictionary `topics` that `help()` reads, without running the module."""
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "topics":
            return [(name, inspect.cleandoc(text)) for name, text in sorted(ast.literal_eval(node.value).items())]
    raise ValueError(f"{path}: no dictionary 'topics': set corpus.source to text on this version of Python")
