"""Errors of pydantic as sentences that name the field and say what to do."""

from collections.abc import Mapping
from typing import Any, get_args

from headwise.study.models import AnyModel
from headwise.study.section import LARGEST, shown

SOURCES = [get_args(model.model_fields["source"].annotation)[0] for model in get_args(AnyModel)]


def dotted(location: tuple[int | str, ...]) -> str:
    return "".join(f".{part}" for part in location)


def sentence(detail: Mapping[str, Any]) -> str:
    """What is wrong and what to do, from one error of pydantic."""
    if detail["type"] == "extra_forbidden":
        return "unknown key: correct its spelling or remove it"
    if detail["type"] == "missing":
        return "required but missing: add it"
    if detail["type"] == "union_tag_not_found":
        return f"source is missing: add `source:` with one of {', '.join(map(repr, SOURCES))}"
    if detail["type"] == "union_tag_invalid":
        return f"there is no source {shown(detail['ctx']['tag'])}: choose from {detail['ctx']['expected_tags']}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] == "value_error":
        return message
    if detail["type"] == "less_than_equal" and detail["ctx"]["le"] == LARGEST:
        message = f"larger than 2**53 - 1 = {LARGEST}, above which tables and browsers would round whole numbers"
    return f"{message} (got {shown(detail['input'])}): correct the value"
