"""Docstrings of source files, read by `ast`: nothing is imported, so nothing runs and nothing can fail to import."""

import ast
from collections.abc import Iterator
from pathlib import PurePath


def docstrings(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    """(qualified name, docstring as it stands) of a module, class or function and of all that it defines."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        docstring = ast.get_docstring(node, clean=False)
        if docstring:
            yield name, docstring
    for child in ast.iter_child_nodes(node):
        yield from docstrings(child, f"{name}.{child.name}" if hasattr(child, "name") else name)


def module_name(path: PurePath) -> str:
    """The dotted name of the module in a file, whose path is relative to the folder that Python looks in."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")
