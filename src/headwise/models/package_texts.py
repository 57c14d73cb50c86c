"""The documentation of scientific Python packages, as a corpus that is the same wherever their pinned versions are.

Everything is read from source files by `ast`; no package is imported. Read are docstrings in files that the wheel of
every platform holds alike, and cleaned here, since `inspect.cleandoc` differs between versions of Python.
"""

import ast
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

from headwise.models.docstrings import docstrings, module_name
from headwise.runtime.progress import track

# What headwise itself installs and documents at length: versions as constraints.txt pins them, licences as the packages
# state them.
PACKAGES = {
    "networkx": ("3.6.1", "BSD-3-Clause"),
    "numpy": ("2.4.6", "BSD-3-Clause"),
    "pandas": ("3.1.1", "BSD-3-Clause"),
    "scikit-learn": ("1.9.1", "BSD-3-Clause"),
    "scipy": ("1.17.1", "BSD-3-Clause"),
    "statsmodels": ("0.15.0", "BSD-3-Clause"),
}
# Folders of tests, of code under other licences, and of what is installed for some versions of Python alone.
SKIPPED_FOLDERS = frozenset({"_external", "_vendored", "array_api_compat", "array_api_extra", "distutils", "externals"})
TEST_FOLDERS = frozenset({"test", "tests", "testing", "_testing"})
# Files that a build writes, other ones on each system.
GENERATED = frozenset(
    {"__config__.py", "_distributor_init.py", "_version.py", "_version_meson.py", "conftest.py", "version.py"}
)
# A line of so many characters that stands twice is repeated text; shorter ones are headings and names.
TELLING_LINE = 30


def package_texts(names: Sequence[str] | None = None) -> list[tuple[str, str, str]]:
    """(id, title, text) of each documented module of these packages, sorted by id; None: of all PACKAGES.

    A module's text is the docstrings of the module, its classes and its functions in the order of the source, each
    under the qualified name of what it documents. A paragraph with a line that an earlier one has is left out: what
    functions say alike would stand in training text and held-out text. Raises ModuleNotFoundError where a package is
    missing, FileNotFoundError where it keeps no list of its files.
    """
    files = [each for name in sorted(names or PACKAGES) for each in _module_files(_installed(name), name)]
    texts = []
    seen: set[str] = set()
    for identity, path in track(sorted(files), "reading docstrings", len(files)):
        module = identity.split("/")[1]
        sections = []
        for name, docstring in docstrings(_parse(path), module):
            paragraphs = list(_new_paragraphs(clean(docstring), seen))
            if paragraphs:
                sections.append("\n\n".join([name, *paragraphs]))
        if sections:
            texts.append((identity, module, "\n\n".join(sections)))
    return texts


def package_facts(names: Sequence[str] | None = None) -> dict[str, dict[str, str]]:
    """Version and licence of each package that the texts come from."""
    return {name: {"version": _installed(name).version, "licence": licence} for name, (_, licence) in _chosen(names)}


def other_versions(names: Sequence[str] | None = None) -> list[str]:
    """The packages whose version is not the pinned one, each as 'name version (pinned version)'."""
    installed = {name: _installed(name).version for name, _ in _chosen(names)}
    return [
        f"{name} {installed[name]} (pinned {pinned})"
        for name, (pinned, _) in _chosen(names)
        if installed[name] != pinned
    ]


def _chosen(names: Sequence[str] | None) -> list[tuple[str, tuple[str, str]]]:
    return [(name, PACKAGES[name]) for name in names or PACKAGES]


def _installed(name: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError:
        raise ModuleNotFoundError(
            f"corpus.source packages: {name} is not installed: "
            f"install it, as in: pip install {name}=={PACKAGES[name][0]}"
        ) from None


def _module_files(package: Distribution, name: str) -> Iterator[tuple[str, Path]]:
    """(id, path) of the modules of a package that are read."""
    if package.files is None:
        raise FileNotFoundError(
            f"corpus.source packages: {name} was installed without a list of its files: install it again with pip"
        )
    for file in package.files:
        if is_read(file):
            yield f"{name}/{module_name(file)}", Path(str(package.locate_file(file)))


def is_read(file: PurePosixPath) -> bool:
    """Whether a file of a wheel is a module whose docstrings are the same on every machine."""
    folders = set(file.parts[:-1])
    return (
        file.suffix == ".py"
        and ".." not in folders
        and file.name not in GENERATED
        and not folders & (SKIPPED_FOLDERS | TEST_FOLDERS)
    )


def _parse(path: Path) -> ast.Module:
    with warnings.catch_warnings():
        # Newer versions of Python complain of escapes that older ones let pass; the text is the same.
        warnings.simplefilter("ignore")
        return ast.parse(path.read_bytes())


def clean(docstring: str) -> str:
    """A docstring without the indentation of its source (PEP 257) and without spaces at the ends of lines."""
    first, *others = [line.rstrip() for line in docstring.expandtabs().splitlines()] or [""]
    margin = min((len(line) - len(line.lstrip(" ")) for line in others if line), default=0)
    return "\n".join([first.lstrip(), *(line[margin:] for line in others)]).strip("\n")


def _new_paragraphs(docstring: str, seen: set[str]) -> Iterator[str]:
    """The paragraphs none of whose telling lines is in `seen`, which receives them."""
    for paragraph in docstring.split("\n\n"):
        lines = {line.strip() for line in paragraph.splitlines() if len(line.strip()) >= TELLING_LINE}
        if paragraph.strip() and not lines & seen:
            seen |= lines
            yield paragraph.strip("\n")
