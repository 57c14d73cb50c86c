"""Models refit by refit: which refits count, and how two models differ in each."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from headwise.report.gather import repeated_refits
from headwise.runtime.parquet import read_metadata

Key = TypeVar("Key")


def own_refits(summaries: Iterable[Path]) -> dict[Path, dict[str, Any]]:
    """Of files of one model and seed each, those whose weights are no earlier seed's, with their metadata."""
    known = {path: read_metadata(path) for path in summaries}
    repeats = repeated_refits(known.items())
    return {path: each for path, each in known.items() if (each["model"], each["seed"]) not in repeats}


def differences(values: Mapping[Key, float], against: Mapping[Key, float]) -> dict[Key, float]:
    """A model's values less those of the model that it is set against, wherever both have been measured."""
    return {key: value - against[key] for key, value in values.items() if key in against}
