"""Chat templates as transformers renders them, but for the clock: a template that asks for today gets the study's date.

Imported by what checks a study before it runs, so nothing heavy is imported here.
"""

import datetime
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.meta import find_undeclared_variables
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment, SecurityError
from jinja2.utils import Namespace

RAW = "set `template` of the model, or of extraction, to raw (on the command line: --template raw)"


class ChatTemplateError(ValueError):
    """A chat template that cannot be used; the message names the checkpoint, what is wrong, and the remedy."""


def render_chat(template: str, special_tokens: Mapping[str, str], text: str, date: str, source: str) -> str:
    """A text as the user's only message, up to where the assistant's answer begins.

    special_tokens  by the names that templates use, such as bos_token
    date            what `strftime_now` tells, at midnight, as in 2026-01-31
    source          whose template it is, for errors

    The same as `apply_chat_template(..., add_generation_prompt=True, tokenize=False)` on that day. Raises
    ChatTemplateError for a template that does not parse, that refuses the message, or that does not give the same text
    each time.
    """
    day = datetime.datetime.fromisoformat(date)
    # Both at once, so that they lie at different places in memory, which a template may print.
    messages = [[{"role": "user", "content": text}] for _ in range(2)]
    first, second = (_render(template, copy, special_tokens, messages[copy], day, source) for copy in range(2))
    if first != second:
        raise ChatTemplateError(f"{source}: its chat template gives another text each time: correct it, or {RAW}")
    return first


def variables(template: str, source: str) -> set[str]:
    """What a template reads of its surroundings, such as messages and bos_token. Raises ChatTemplateError where it does
    not parse."""
    try:
        return find_undeclared_variables(_environment().parse(template))
    except TemplateSyntaxError as error:
        raise _unusable(source, error) from None


def chosen_template(templates: Any, source: str) -> str | None:
    """The one of a tokenizer's chat templates that is used: its only one, or the one named default; None without any.

    `templates` is as tokenizers have them: a text, texts by name, or a list of mappings with name and template.
    """
    if templates is None or isinstance(templates, str):
        return templates
    try:
        by_name = (
            templates if isinstance(templates, Mapping) else {each["name"]: each["template"] for each in templates}
        )
        default = by_name.get("default")
    except (TypeError, KeyError):
        by_name, default = {}, None
    if not isinstance(default, str):
        names = ", ".join(sorted(map(str, by_name))) or "none with a name"
        raise ChatTemplateError(
            f"{source}: it has several chat templates ({names}) and none is named default: name one so in "
            f"tokenizer_config.json, or {RAW}"
        )
    return default


def _render(
    template: str,
    copy: int,
    special_tokens: Mapping[str, str],
    messages: list[dict[str, str]],
    day: datetime.datetime,
    source: str,
) -> str:
    def strftime_now(form: str) -> str:
        return day.strftime(form)

    try:
        return _compiled(template, copy).render(
            # What transformers gives a template without tools and documents.
            messages=messages,
            tools=None,
            documents=None,
            add_generation_prompt=True,
            strftime_now=strftime_now,
            **special_tokens,
        )
    except Exception as error:  # A template is a program of a stranger: anything can go wrong in it.
        raise _unusable(source, error) from None


def _unusable(source: str, error: Exception) -> ChatTemplateError:
    if isinstance(error, TemplateSyntaxError):
        problem = f"does not parse (line {error.lineno}: {error.message})"
    else:
        problem = f"refuses a single message of a user ({' '.join(str(error).split()) or type(error).__name__})"
    return ChatTemplateError(f"{source}: its chat template {problem}: correct it, or {RAW}")


@lru_cache(maxsize=32)
def _compiled(template: str, copy: int) -> Any:
    """A template in an environment of its own: what two copies print of their surroundings differs."""
    return _environment().from_string(template)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )

    def raise_exception(message: str) -> NoReturn:
        raise TemplateError(message)

    environment.filters |= {"tojson": _tojson, "random": _at_random}
    environment.globals |= {
        "raise_exception": raise_exception,
        "dict": _Dict(),
        "namespace": _Namespace,
        "lipsum": _at_random,
    }
    return environment


class _Generation(Extension):
    """`{% generation %}` … `{% endgeneration %}` marks what the assistant says and changes no text."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """What stands between the tags, in a scope of its own as transformers has it."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return [nodes.CallBlock(self.call_method("_said"), [], [], body).set_lineno(line)]

    def _said(self, caller: Callable[[], str]) -> str:
        return caller()


class _Dict:
    """`dict` for templates, without the attributes of the type."""

    def __call__(self, *arguments: Any, **named: Any) -> dict[Any, Any]:
        return dict(*arguments, **named)

    def fromkeys(self, *arguments: Any) -> dict[Any, Any]:
        return dict.fromkeys(*arguments)


class _Namespace(Namespace):
    """`namespace` for templates, which may not set what Python keeps for itself."""

    def __init__(*arguments: Any, **named: Any) -> None:  # so that a template may set a field `self`
        self, *others = arguments
        Namespace.__init__(self)
        for name, value in dict(*others, **named).items():
            self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise SecurityError(f"a template may not set '{name}'")
        super().__setitem__(name, value)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON without the escapes of HTML that jinja's own filter writes."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _at_random(*arguments: Any, **named: Any) -> NoReturn:
    raise TemplateError("it draws at random")
