"""The reference of the study file in config/README.md, written from the JSON schema of its models."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headwise.study.parse import study_schema
from headwise.study.section import LARGEST

BEGIN = "<!-- reference: begin (written by `headwise schema --markdown --output config/README.md`) -->"
END = "<!-- reference: end -->"
HEADER = "| field | type | default | meaning |\n|---|---|---|---|"
LIMITS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "multipleOf": "multiple of {}",
    "pattern": "matching `{}`",
    "maxLength": "at most {} characters",
    "minItems": "at least {} item",
}
WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "array": "list",
    "object": "mapping",
}

Schema = Mapping[str, Any]


def schema_text(schema: Mapping[str, Any]) -> str:
    """A JSON Schema as the files of workflow/schemas/ hold it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def study_reference() -> str:
    """Every field of a study file in Markdown: one table per section, in the order of the models."""
    schema = study_schema()
    schema = _with_choices(schema, schema["$defs"])
    return "\n\n".join(_section(schema, schema["$defs"], "", "Top level")) + "\n"


def with_reference(path: Path) -> str:
    """The text of a Markdown file with the reference between its marker lines; all else in it is kept.

    Raises ValueError, naming the file, where it has no marker lines.
    """
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path}: no place for the reference: add these two lines to it:\n{BEGIN}\n{END}")
    return f"{before}{BEGIN}\n\n{study_reference()}\n{END}{after}"


def _with_choices(part: Any, definitions: Schema) -> Any:
    """The schema, in which each list of values of an enum stands where it is used: only sections are referred to."""
    if isinstance(part, list):
        return [_with_choices(each, definitions) for each in part]
    if not isinstance(part, Mapping):
        return part
    named = definitions.get(str(part.get("$ref", "")).split("/")[-1], {})
    if "enum" in named:
        return {**named, **{key: value for key, value in part.items() if key != "$ref"}}
    return {key: _with_choices(value, definitions) for key, value in part.items()}


def _section(section: Schema, definitions: Schema, path: str, heading: str) -> Iterator[str]:
    """A section's heading, description and table of fields, then the sections within it."""
    fields = section["properties"]
    required = section.get("required", [])
    yield f"### {heading}"
    yield " ".join(section["description"].split())
    rows = [_row(name, field, definitions, name in required) for name, field in fields.items()]
    yield "\n".join([HEADER, *rows])
    for name, field in fields.items():
        inner = f"{path}.{name}" if path else name
        for variant, definition in _sections_within(field, definitions).items():
            heading = f"`{inner}`, `source: {variant}`" if variant else f"`{inner}`"
            yield from _section(definition, definitions, inner, heading)


def _sections_within(field: Schema, definitions: Schema) -> dict[str, Schema]:
    """The sections that a field or a list holds: one under the empty name, or several by their `source`."""
    items = field.get("items", {})
    single = [part for part in (field, items, *field.get("anyOf", [])) if "$ref" in part]
    sections = [definitions[part["$ref"].split("/")[-1]] for part in items.get("oneOf", single)]
    if "oneOf" not in items:
        return {"": sections[0]} if sections else {}
    return {section["properties"]["source"]["const"]: section for section in sections}


def _row(name: str, field: Schema, definitions: Schema, required: bool) -> str:
    sections = _sections_within(field, definitions)
    default = "required" if required else _default(field)
    if "$ref" in field or ("anyOf" in field and sections):
        kind, meaning = "section", field.get("description") or " ".join(sections[""]["description"].split())
        if "$ref" in field:
            default = "required" if required else "its defaults"
    elif sections:
        kind = "list of sections"
        meaning = field.get("description") or " or ".join(f"`source: {variant}`" for variant in sections)
    else:
        kind, meaning = _type(field), field.get("description", "")
    return f"| `{name}` | {kind} | {default} | {meaning} |"


def _default(field: Schema) -> str:
    default = field.get("default")
    return "–" if default is None else f"`{json.dumps(default, ensure_ascii=False)}`"


def _type(field: Schema) -> str:
    """A field's type and limits in words."""
    if "anyOf" in field:
        return " or ".join(_type(part) for part in field["anyOf"] if part["type"] != "null")
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    # What holds for every whole number is said once, above the reference.
    limits = [limit.format(field[key]) for key, limit in LIMITS.items() if key in field and field[key] != LARGEST]
    items = [f"each a {_type(field['items'])}"] if field["type"] == "array" else []
    return ", ".join([WORDS[field["type"]], *limits, *items])
