"""Chat templates: the same text as transformers renders, on the study's day, and refusals in a sentence."""

import datetime

import pytest
import transformers.utils.chat_template_utils as theirs
from tokenizer_examples import CHAT_TEMPLATE, byte_tokenizer

from headwise.models.encoding import EncodingError, encode
from headwise.models.limits import Limits
from headwise.models.templates import ChatTemplateError, chosen_template, render_chat
from headwise.study.extraction import DATE, Extraction
from headwise.study.prompts import Prompt

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
TEXTS = ["hi", '"Quoted" & <b>', " two\nlines  ", "ünïcödé 文"]
TODAY = "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y, %H:%M') %}{% endif %}"
# How published templates are written, one habit each.
TEMPLATES = {
    "Llama 3": "{{- bos_token }}\n{%- if tools is not none %}{{ tools }}{%- endif %}\n" + TODAY + "{{- date_string }}"
    "{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content']|trim %}{%- else %}"
    "{%- set system = '' %}{%- endif %}\n{{- system }}"
    "{%- for message in messages %}\n    {{- '<|' + message['role'] + '|>\\n' + message['content'] | trim }}\n"
    "{%- endfor %}\n{%- if add_generation_prompt %}\n    {{- '<|assistant|>' }}\n{%- endif %}",
    "roles": "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}[INST] {{ message['content'] }} [/INST]{% endfor %}",
    "generation": "{% for message in messages %}{% generation %}{% set x = 1 %}{{ message.content }}{{ eos_token }}"
    "{% endgeneration %}{{ x is defined }}\n{% endfor %}\n",
    "loop controls": "{% for message in messages %}{% if loop.index > 3 %}{% break %}{% endif %}{{ message.content }}"
    "{% continue %}no{% endfor %}",
    "namespace": "{% set ns = namespace(first=true, self='a') %}{% for message in messages %}"
    "{% set ns.first = false %}{{ message.content }}{% endfor %}{{ ns.first }}{{ ns.self }}",
    "tojson": "{{ messages | tojson(indent=2) }}{{ messages[0] | tojson }}"
    "{{ dict(a='<é>') | tojson(ensure_ascii=true) }}",
    "macro": "{% macro say(m) %}{{ m.content if m.content is string else '' }}{{ strftime_now('%Y') }}{% endmacro %}"
    "{{ say(messages[-1]) }}{{ documents is defined }}{{ date_string is defined }}{{ unk_token }}",
    "slices": "{{ messages[0].content[::-1] }}{{ messages[0]['content'].split(' ')[-1] | upper }}\n\n",
    "dict": "{{ dict.fromkeys(['a', 'b'], 1) }}{{ dict(b=2) }}{{ messages[0].content }}",
}


@pytest.fixture
def clock(monkeypatch):
    """Sets the clock that templates see in transformers, to a day at midnight."""

    def set_to(day):
        class Then(datetime.datetime):
            @classmethod
            def now(cls, tz=None):
                return cls.fromisoformat(day)

        monkeypatch.setattr(theirs, "datetime", Then)

    return set_to


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("day", [DATE, "2024-02-29"])
def test_the_text_is_that_of_transformers_on_that_day(name, day, clock):
    clock(day)
    theirs._compile_jinja_template.cache_clear()
    for text in TEXTS:
        (expected,), _ = theirs.render_jinja_template(
            [[{"role": "user", "content": text}]],
            chat_template=TEMPLATES[name],
            add_generation_prompt=True,
            **SPECIAL,
        )
        assert render_chat(TEMPLATES[name], SPECIAL, text, day, "tiny") == expected


def test_tokens_do_not_depend_on_the_clock_but_on_the_date_of_the_study(clock):
    tokenizer = byte_tokenizer(TODAY + "{{ date_string }}" + CHAT_TEMPLATE)
    prompts, found = [Prompt("a", "d", "hi")], {}
    for day, date in (("2026-11-26", DATE), ("2031-05-01", DATE), ("2026-11-26", "2026-11-26")):
        clock(day)
        settings = Extraction(template="chat", date=date)
        found[day, date] = encode(prompts, tokenizer, settings, Limits())
    one, two, other = found.values()
    assert one == two != other
    assert tokenizer.decode(other[0].token_ids).startswith("26 Nov 2026, 00:00")


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for m in messages %}{{ m.content }", r"does not parse \(line 1: "),
        ("one\ntwo\n{{ messages | nonsense }}", r"does not parse \(line 3: No filter named 'nonsense'"),
        ("{{ raise_exception('System role  not\nsupported') }}", r"refuses .* \(System role not supported\)"),
        ("{{ messages[1].content }}", r"refuses a single message of a user \(list object has no element 1\)"),
        ("{{ messages[0].content / 2 }}", "refuses a single message"),
        ("{{ [1, 2, 3] | random }}", r"refuses a single message of a user \(it draws at random\)"),
        ("{{ lipsum() }}", r"refuses .*\(it draws at random\)"),
        ("{{ messages[0].keys }}", "gives another text each time"),
        ("{{ strftime_now }}{{ raise_exception }}", "gives another text each time"),
        ("{{ messages.append(1) }}", "refuses"),  # immutable
        ("{% set ns = namespace() %}{% set ns.__class__ = 1 %}", "refuses .*may not set '__class__'"),
        ("{{ ''.__class__.__mro__ }}", "refuses .*unsafe"),
    ],
)
def test_a_template_that_cannot_be_used_is_named(template, reason):
    with pytest.raises(
        ChatTemplateError, match=rf"(?s)^tiny: its chat template {reason}.*: correct it, or set `template`"
    ):
        render_chat(template, SPECIAL, "hi", DATE, "tiny")


@pytest.mark.parametrize("template", ["", "{% for part in messages[0].content %}{{ part.text }}{% endfor %}"])
def test_a_template_that_writes_nothing_is_named_and_not_the_prompt(template):
    tokenizer = byte_tokenizer("{{ messages[0].content }}")
    tokenizer.chat_template = template
    with pytest.raises(
        EncodingError, match="its chat template writes nothing for prompt 'a': correct it, or set `temp"
    ):
        encode([Prompt("a", "d", "one")], tokenizer, Extraction(template="chat"), Limits())


def test_a_template_that_loses_what_is_said_is_refused():
    tokenizer = byte_tokenizer("<user>{{ messages[0].text }}")
    prompts = [Prompt("a", "d", "one"), Prompt("b", "d", "two")]
    with pytest.raises(EncodingError, match="writes the same for the prompts 'a' and 'b', which are different"):
        encode(prompts, tokenizer, Extraction(template="chat"), Limits())
    twins = [Prompt("a", "d", "same"), Prompt("b", "d", "same")]
    assert len(encode(twins, byte_tokenizer(CHAT_TEMPLATE), Extraction(template="chat"), Limits())) == 2
    spaced = [Prompt("a", "d", "same"), Prompt("b", "d", " same\n")]
    stripped = byte_tokenizer("<user>{{ messages[0].content | trim }}")
    assert len(encode(spaced, stripped, Extraction(template="chat"), Limits())) == 2


@pytest.mark.parametrize(
    ("templates", "expected"),
    [
        (None, None),
        ("text", "text"),
        ({"default": "one", "tool_use": "two"}, "one"),
        ([{"name": "rag", "template": "two"}, {"name": "default", "template": "one"}], "one"),
    ],
)
def test_the_template_is_the_default_one(templates, expected):
    assert chosen_template(templates, "tiny") == expected


@pytest.mark.parametrize("templates", [{"rag": "a", "tool_use": "b"}, [{"name": "rag"}], [1], 7, {"default": 1}])
def test_several_templates_without_a_default_are_refused(templates):
    with pytest.raises(
        ChatTemplateError, match=r"tiny: it has several chat templates \(.*\) and none is named default"
    ):
        chosen_template(templates, "tiny")
