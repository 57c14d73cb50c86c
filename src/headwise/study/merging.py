"""The content of a study: one or several files and `--config`, merged as Snakemake merges them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from headwise.study.section import StudyError
from headwise.study.yaml_file import read_yaml

NO_MAPPING = "not a mapping of sections: see config/README.md for what a study file holds"
KEY = re.compile(r"[a-zA-Z_][\w-]*\w$")


def merged(paths: Sequence[str | Path], changes: Sequence[str]) -> dict[str, Any]:
    """What `snakemake --configfile PATHS --config CHANGES` hands to the Snakefile.

    Raises StudyError, naming the file or the change, also for what Snakemake would take: see `read_yaml`.
    """
    # Snakemake's own functions, so that what is looked at is what would run; not from its command line, which loads
    # every executor plugin, and Slurm's asks the cluster.
    from snakemake.common.configfile import load_configfile
    from snakemake.utils import update_config

    content: dict[str, Any] = {}
    for path in paths:
        check_study_file(path)
        try:
            update_config(content, load_configfile(path))
        except RecursionError:  # an alias within what it stands for
            raise StudyError(f"{path}: a section that holds itself: write it out") from None
        # A study file may be a template of Snakemake's (`__use_yte__`), whose expressions can raise anything.
        except Exception as error:
            raise StudyError(f"{path}: not read by Snakemake: {error}: correct the file") from None
    update_config(content, merged_changes(changes))
    return content


def merged_changes(changes: Sequence[str]) -> dict[str, Any]:
    """What `snakemake --config CHANGES` changes. Raises StudyError for what is not KEY=VALUE."""
    from snakemake.utils import update_config

    changed: dict[str, Any] = {}
    for change in changes:
        update_config(changed, parse_change(change))
    return changed


def check_study_file(path: str | Path, values: bool = True) -> None:
    """Refuse a file that would be read otherwise than it is written: see `read_yaml`. Raises StudyError."""
    if not isinstance(read_yaml(path, values), Mapping):
        raise StudyError(f"{path}: {NO_MAPPING}")


def parse_change(change: str) -> dict[str, Any]:
    """One KEY=VALUE as `snakemake --config` reads it: what is within a list or mapping stays text, which sections take.

    Raises StudyError where there is no such key, or no value that could be read.
    """
    key, equals, value = change.partition("=")
    value = value.strip("'\"")
    if not equals or not KEY.match(key):
        raise StudyError(f"--config {change}: not KEY=VALUE: write it as in --config 'seeds=[1, 2, 3]'")
    if value == "":
        return {key: None}
    for kind in (int, float):
        try:
            return {key: kind(value)}
        except ValueError:
            pass
    if value in ("True", "False"):
        return {key: value == "True"}
    try:
        return {key: yaml.load(value, Loader=yaml.BaseLoader)}
    except (yaml.YAMLError, RecursionError):
        return {key: value}
