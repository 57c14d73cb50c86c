"""The one reader of YAML: it refuses what YAML would drop, or read otherwise than it is written, by line.

Imported by the Snakefile: nothing heavy.
"""

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from headwise.study.section import StudyError

NUMBER_TAGS = {"tag:yaml.org,2002:int": int, "tag:yaml.org,2002:float": float}
DATE_TAG = "tag:yaml.org,2002:timestamp"
MERGE_TAG = "tag:yaml.org,2002:merge"
SHOWN = 40  # characters of a value in a message


def read_yaml(path: str | Path, values: bool = True) -> Any:
    """The content of a YAML file, or of a JSON file, which Snakemake takes as well.

    Raises StudyError, naming file and lines: a file that is missing, cannot be read or is no UTF-8; no YAML; nested too
    deeply; a key that is written twice in one section (what `<<` merges is no second time); a number that is not read
    as it is written, such as 010 (to YAML 1.1: 8), 1:30 (90) and .inf; a date. Numbers and dates are not looked at
    where `values` is false.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise StudyError(f"{path}: there is no such file: check the path") from None
    except OSError as error:
        raise StudyError(f"{path}: cannot be read ({error.strerror}): give a readable file") from None
    except UnicodeDecodeError:
        raise StudyError(f"{path}: not UTF-8: save the file in that encoding") from None
    return parse_yaml(text, str(path), values)


def parse_yaml(text: str, source: str, values: bool = True) -> Any:
    """The content of a text in YAML or JSON; `source` is what errors name. See `read_yaml`."""
    problems: list[str] = []
    try:
        content = _json(text, problems)
        if content is None:
            content = _yaml(text, values, problems)
    except RecursionError:
        problems = ["nested too deeply to be read: a study file has a handful of levels: correct the file"]
    # PyYAML raises plain ValueErrors, for a date such as 2024-99-99 for one.
    except (yaml.YAMLError, ValueError) as error:
        problems = [f"not valid YAML: {' '.join(str(error).split())}: correct the file"]
    if problems:
        raise StudyError("\n".join(f"{source}: {problem}" for problem in problems))
    return content


def _json(text: str, problems: list[str]) -> Any:
    """The content of a text in JSON; None where it is no JSON, or null."""

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        for key in content:
            if (count := [name for name, _ in pairs].count(key)) > 1:
                problems.append(f"the key '{key}' is written {count} times in one section: keep one of them")
        return content

    try:
        return json.loads(text, object_pairs_hook=mapping)
    except ValueError:
        problems.clear()
        return None


def _yaml(text: str, values: bool, problems: list[str]) -> Any:
    loader = _Loader(text, values)
    try:
        node = loader.get_single_node()
        problems += loader.problems
        return None if node is None or problems else loader.construct_document(node)
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """Collects what is dropped or read otherwise while nodes are composed, before any value is made of them."""

    def __init__(self, text: str, values: bool) -> None:
        super().__init__(text)
        self.values = values
        self.problems: list[str] = []

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        where = f"line {node.start_mark.line + 1}: {node.value[:SHOWN]}"
        if not self.values:
            return node
        if node.tag in NUMBER_TAGS and not self._as_written(node):
            self.problems.append(
                f"{where} is not read as it is written: write a number in decimal digits without leading zeros, and "
                "text in quotes"
            )
        elif node.tag == DATE_TAG:
            self.problems.append(f"{where} is read as a date, which no field takes: put it in quotes")
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[Hashable, int] = {}
        for key, _ in node.value:
            if key.tag == MERGE_TAG or not isinstance(key, yaml.ScalarNode):
                continue
            try:
                name = self.construct_object(key)
            except ValueError:  # no number or date, which is told where it is composed or constructed
                continue
            line = key.start_mark.line + 1
            if name in lines:
                self.problems.append(
                    f"lines {lines[name]} and {line}: the key '{key.value[:SHOWN]}' is written twice in one section, "
                    "and the first would be dropped: keep one of them"
                )
            lines[name] = line
        return node

    def _as_written(self, node: yaml.ScalarNode) -> bool:
        try:
            as_written = int(node.value, 0) if NUMBER_TAGS[node.tag] is int else float(node.value)
            return bool(as_written == self.construct_object(node))
        except ValueError:  # Python reads no 010 and no 1:30; nor thousands of digits
            return False
