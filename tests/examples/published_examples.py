"""Folders of result files, as others release them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def written(folder: Path, files: Mapping[str, Any]) -> Path:
    """Write each file's content, bytes as they are and all else as JSON; returns the folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return folder
