"""Files and folders that are whole or not there."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it to `path` only if the block succeeds.

    The block may create a file or a folder there. Nothing half-written is ever visible under the final name,
    and nothing is left under the temporary one when the block fails.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The same name in every process, so that what a killed one left is removed by the next; Snakemake's lock keeps two
    # processes from writing one output at a time.
    temporary = path.parent / f".{path.name}.partial"
    replaced = temporary.with_suffix(".replaced")
    _remove(temporary)
    _remove(replaced)
    try:
        yield temporary
        if temporary.is_dir() and path.exists():
            # A folder cannot be replaced in one step; deleting the old one in place would show half of it.
            os.replace(path, replaced)
        os.replace(temporary, path)
    finally:
        _remove(temporary)
        _remove(replaced)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
