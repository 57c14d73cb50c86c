"""Import closures: of a small package written for the test, and against what Python really imports."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headwise.runtime.sources import PACKAGE, import_closure, write_record

FILES = {
    "__init__.py": "",
    "alone.py": "VALUE = 1\n",
    "plain.py": "import json\nimport pack.alone\n",
    "deep/__init__.py": "from .inner import f\n",
    "deep/inner.py": "from ..alone import VALUE\n\ndef f():\n    return VALUE\n",
    "deep/other.py": "from . import inner\nfrom .sub import leaf\n",
    "deep/sub/__init__.py": "",
    "deep/sub/leaf.py": "",
    "late.py": "def f():\n    from pack import alone\n    return alone\n",
    "typed.py": (
        "import typing\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from pack import plain\nelse:\n    import pack.alone\n"
        "if typing.TYPE_CHECKING:\n    import pack.late\n"
    ),
    "guarded.py": "try:\n    import pack.alone\nexcept Exception:\n    if 1:\n        import pack.late\n",
    "nested.py": (
        "class A:\n    async def f(self):\n        with self:\n            while 0:\n              import pack.alone\n"
        "try:\n    pass\nfinally:\n    match 1:\n        case 1:\n            import pack.late\n"
    ),
    "circle_a.py": "import pack.circle_b\n",
    "circle_b.py": "import pack.circle_a\n",
}
DEEP = {"__init__.py", "deep/__init__.py", "deep/inner.py", "alone.py"}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / "pack" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path / "pack"


@pytest.mark.parametrize(
    ("script", "files"),
    [
        ("import json, os.path\nfrom packed import alone\n", set()),
        ("import pack\n", {"__init__.py"}),
        ("from pack import alone\n", {"__init__.py", "alone.py"}),
        ("from pack.alone import VALUE\n", {"__init__.py", "alone.py"}),
        ("from pack.alone import *\n", {"__init__.py", "alone.py"}),
        ("import pack.plain as p\n", {"__init__.py", "plain.py", "alone.py"}),
        ("import pack.deep.inner\n", DEEP),
        ("from pack.deep import f\n", DEEP),
        ("import pack.deep.other\n", DEEP | {"deep/other.py", "deep/sub/__init__.py", "deep/sub/leaf.py"}),
        ("import pack.late\n", {"__init__.py", "late.py", "alone.py"}),
        ("import pack.typed\n", {"__init__.py", "typed.py", "alone.py"}),
        ("import pack.guarded\n", {"__init__.py", "guarded.py", "late.py", "alone.py"}),
        ("import pack.nested\n", {"__init__.py", "nested.py", "late.py", "alone.py"}),
        ("import pack.circle_a\n", {"__init__.py", "circle_a.py", "circle_b.py"}),
    ],
)
def test_closure_of_each_way_to_import(package: Path, script: str, files: set[str]) -> None:
    path = package.parent / "script.py"
    path.write_text(script)
    closure = import_closure(path, package)
    assert closure == sorted(package / name for name in files)


def test_a_file_that_is_no_python_is_named(package: Path) -> None:
    (package / "broken.py").write_text("def (\n")
    path = package.parent / "script.py"
    path.write_text("import pack.broken\n")
    with pytest.raises(SyntaxError) as error:
        import_closure(path, package)
    assert error.value.filename == str(package / "broken.py")


@pytest.mark.parametrize("module", ["cli", "runtime.logs", "study.prompts", "runtime.provenance", "study.reference"])
def test_closure_holds_what_python_imports(module: str, tmp_path: Path) -> None:
    """What the interpreter has loaded after importing a module is the lower bound of its closure."""
    name = f"headwise.{module}"
    script = tmp_path / "script.py"
    script.write_text(f"import {name}\n")
    code = (
        f"import sys, {name}\n"
        "print(*(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'headwise'), sep='\\n')"
    )
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split("\n")[:-1]
    assert PACKAGE / f"{module.replace('.', '/')}.py" in import_closure(script)
    assert {Path(file) for file in loaded} <= set(import_closure(script))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two files of which the second is newer, by whole seconds."""
    files = [tmp_path / "scripts" / name for name in ("a.py", "b.py")]
    files[0].parent.mkdir()
    for seconds, file in enumerate(files, start=1000):
        file.write_text(f"# {file.name}\n")
        os.utime(file, (seconds, seconds))
    return files


def test_a_record_is_what_sha256sum_prints_with_the_time_of_the_newest_file(files: list[Path], tmp_path: Path) -> None:
    record = tmp_path / "records" / "a.sha256"
    write_record(record, files)
    assert record.read_text() == (
        f"{hashlib.sha256(b'# a.py' + bytes([10])).hexdigest()}  scripts/a.py\n"
        f"{hashlib.sha256(b'# b.py' + bytes([10])).hexdigest()}  scripts/b.py\n"
    )
    assert record.stat().st_mtime == 1001
    assert list(record.parent.iterdir()) == [record]


def test_a_record_is_written_again_only_where_it_says_something_else(files: list[Path], tmp_path: Path) -> None:
    record = tmp_path / "a.sha256"
    write_record(record, files)
    os.utime(files[0])
    write_record(record, files)
    assert record.stat().st_mtime == 1001, "a touch changes nothing"
    write_record(record, files[:1])
    assert len(record.read_text().splitlines()) == 1
    assert record.stat().st_mtime > 1001, "one file less is a change, and newer than what was computed before"


def test_files_of_the_library_have_one_name_in_every_checkout(tmp_path: Path) -> None:
    record = tmp_path / "a.sha256"
    write_record(record, [PACKAGE / "runtime" / "sources.py"])
    assert record.read_text().endswith("  headwise/runtime/sources.py\n")
