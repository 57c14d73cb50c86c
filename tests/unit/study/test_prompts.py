"""Prompt sets: the one that ships, both formats, each kind of broken file, digests, downloads."""

import functools
import hashlib
import http.server
import json
import re
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from pydoc_data import topics

import pytest
from project import ROOT
from tokenizers import ByteLevelBPETokenizer

from headwise.study.data import Prompts
from headwise.study.prompts import (
    Prompt,
    PromptError,
    load_verified,
    prompts_by_id,
    read_prompts,
    spread,
    verify_prompts,
)

SHIPPED = ROOT / "prompts" / "headwise-120.jsonl"
TWO = [Prompt("a", "first", "One prompt."), Prompt("b", "second", 'A "quoted" – non-ASCII one.\nTwo lines.')]


def json_lines(*prompts: Prompt) -> str:
    """A file of these prompts, with the keys in another order than the normal form."""
    return "".join(json.dumps({"text": p.text, "id": p.id, "domain": p.domain}) + "\n" for p in prompts)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- the set that ships ---


def test_shipped_set_has_the_digest_that_its_checksums_list() -> None:
    listed = SHIPPED.with_name("SHA256SUMS").read_text().splitlines()
    assert f"{sha256(SHIPPED)}  {SHIPPED.name}" in listed


def test_shipped_set_is_balanced_and_of_varied_length() -> None:
    prompts = read_prompts(SHIPPED)
    assert Counter(Counter(prompt.domain for prompt in prompts).values()) == {20: 6}
    assert len({prompt.text.lower() for prompt in prompts}) == 120
    assert all(re.fullmatch(rf"{prompt.domain}-[0-2][0-9]", prompt.id) for prompt in prompts)
    assert all(prompt.text.isascii() and prompt.text == prompt.text.strip() for prompt in prompts)
    words = sorted(len(prompt.text.split()) for prompt in prompts)
    assert words[0] >= 8
    assert 22 <= words[60] <= 28
    assert 45 <= words[-1] <= 60


def test_shipped_set_stays_short_under_a_small_vocabulary() -> None:
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(topics.topics.values(), vocab_size=1024, show_progress=False)
    lengths = [len(tokenizer.encode(prompt.text).ids) for prompt in read_prompts(SHIPPED)]
    assert max(lengths) <= 120  # of 128: special tokens and another corpus have room


# --- reading ---


def test_json_lines_are_read_as_written(tmp_path: Path) -> None:
    assert read_prompts(write(tmp_path / "p.jsonl", json_lines(*TWO))) == TWO


def test_windows_line_ends_and_byte_order_mark_do_not_matter(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + json_lines(*TWO).replace("\n", "\r\n").encode()
    assert read_prompts(write(tmp_path / "p.jsonl", content)) == TWO


def test_a_unicode_line_separator_does_not_end_a_prompt(tmp_path: Path) -> None:
    content = '{"id": "a", "domain": "d", "text": "before\u2028after"}\n'
    assert [prompt.text for prompt in read_prompts(write(tmp_path / "p.jsonl", content))] == ["before\u2028after"]


def test_numbered_lines_are_read_without_comments(tmp_path: Path) -> None:
    content = "# Ten prompts, version 3\n#\n\n1. What is 2. 5 times 2?\n10. Write a haiku.\n"
    assert read_prompts(write(tmp_path / "p.txt", content)) == [
        Prompt("1", "unlabelled", "What is 2. 5 times 2?"),
        Prompt("10", "unlabelled", "Write a haiku."),
    ]


GOOD = '{"id": "a", "domain": "d", "text": "t"}\n'


@pytest.mark.parametrize(
    ("content", "line", "problem", "remedy"),
    [
        ('{"id": "a", "domain": "d", "text": "t"\n', 1, "not valid JSON", "write one object"),
        (GOOD + "[1, 2]\n", 2, "not a JSON object", "write one with the keys id, domain, text"),
        (GOOD + '\n{"id": "b", "text": "t"}\n', 3, "the key 'domain' is missing", "add it"),
        ('{"id": "a", "domain": "d", "text": "t", "txt": "u"}\n', 1, "unknown key 'txt'", "remove it"),
        ('{"id": 7, "domain": "d", "text": "t"}\n', 1, "'id' is 7", "must be a string"),
        ('{"id": "a", "domain": "", "text": "t"}\n', 1, "'domain' is ''", "not empty"),
        ('{"id": "a", "domain": "d", "text": " "}\n', 1, "'text' is ' '", "not empty"),
        (GOOD + GOOD, 2, "id 'a' is already used in line 1", "its own id"),
        (GOOD.encode() + b'{"id": "b", "domain": "d", "text": "caf\xe9"}\n', 2, "not UTF-8", "encoding"),
        ('{"id": "a", "text": "t", "domain": "d", "text": "u"}\n', 1, "the key 'text' stands twice", "remove one"),
        ('{"id": "a", "domain": "d", "text": {"b": 1, "b": 1}}\n', 1, "the key 'b' stands twice", "remove one"),
        (GOOD + "[" * 100_000 + "\n", 2, "nested too deeply", "write one object"),
        (GOOD + '{"id": ' * 100_000 + "\n", 2, "nested too deeply", "write one object"),
        ('{"id": 1' + "0" * 5_000 + "}\n", 1, "a number has too many digits", "write one object"),
        ('{"id": NaN, "domain": "d", "text": "t"}\n', 1, "'id' is nan", "must be a string"),
        ('{"id": "a", "domain": -Infinity, "text": "t"}\n', 1, "'domain' is -inf", "must be a string"),
        ('{"id": "a", "domain": "d", "text": "t\\ud800"}\n', 1, r"'text' holds '\ud800' as character 2", "remove it"),
        ('{"id": "\\udfff", "domain": "d", "text": "t"}\n', 1, r"'id' holds '\udfff'", "remove it"),
        ('{"id": "a", "domain": "\\u0000", "text": "t"}\n', 1, r"'domain' holds '\x00'", "remove it"),
        (GOOD + GOOD.replace('"a"', '" a"'), 2, "id ' a' looks like 'a' of line 1", "difference can be seen"),
        (GOOD + '{"id": "b", "domain": "d\\u200b", "text": "t"}\n', 2, r"domain 'd\u200b' looks like 'd'", "alike"),
        (
            GOOD.replace('"a"', '"caf\\u00e9"') + GOOD.replace('"a"', '"cafe\\u0301"'),
            2,
            r"id 'cafe\u0301' looks like 'caf\xe9' of line 1",
            "alike",
        ),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, content: str | bytes, line: int, problem: str, remedy: str) -> None:
    path = write(tmp_path / "broken.jsonl", content)
    with pytest.raises(PromptError) as error:
        read_prompts(path)
    assert str(error.value).startswith(f"{path}, line {line}: {problem}")
    assert remedy in str(error.value)


def test_what_a_broken_line_says_is_short(tmp_path: Path) -> None:
    long = json.dumps({"id": ["x" * 10_000], "domain": "d", "text": "t"})
    for line in (long, long.replace("id", "y" * 10_000)):
        with pytest.raises(PromptError) as error:
            read_prompts(write(tmp_path / "p.jsonl", line))
        assert len(str(error.value)) < len(str(tmp_path)) + 200


def test_whatever_can_be_seen_is_a_difference(tmp_path: Path) -> None:
    """Names are told apart as written; text may hold every character that UTF-8 has."""
    ids = ["a", "A", "a b", "ab", "a-b", "\u0660", "0", "00", "x2", "x\u00b2", "\u6f22"]
    text = "\U0001f469\u200d\U0001f52c \ufeff\u2028 \uffff caf\u00e9 cafe\u0301"
    prompts = [Prompt(name, domain, text) for name, domain in zip(ids, [*ids[1:], "a"], strict=True)]
    assert read_prompts(write(tmp_path / "p.jsonl", json_lines(*prompts))) == prompts


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32-le"])
@pytest.mark.parametrize("name", ["p.jsonl", "p.txt"])
def test_a_file_of_another_encoding_is_named(tmp_path: Path, encoding: str, name: str) -> None:
    with pytest.raises(PromptError, match=rf"{re.escape(name)}(, line 1)?: not UTF-8.*: save the file"):
        read_prompts(write(tmp_path / name, GOOD.encode(encoding)))


@pytest.mark.parametrize("line", ["What is it?", "1.", "1. ", "one. What is it?"])
def test_a_line_that_is_no_numbered_prompt_is_named(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "broken.txt", f"# comment\n1. A prompt.\n{line}\n")
    with pytest.raises(PromptError, match=r"broken\.txt, line 3: not a numbered prompt: write it as '1\. text'"):
        read_prompts(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jsonl", "\n\n", "no prompts in this file"),
        ("comments.txt", "# nothing\n", "no prompts in this file"),
        ("table.csv", "id,text\n", r"unknown format: name it \.jsonl"),
        ("missing.jsonl", None, "no such prompt file: check prompts.path"),
    ],
)
def test_an_unusable_file_is_named(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        write(tmp_path / name, content)
    with pytest.raises(PromptError, match=rf"{name}: .*{message}"):
        read_prompts(tmp_path / name)


def test_a_folder_in_place_of_a_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="cannot be read"):
        read_prompts(tmp_path)


# --- verification ---


def verify(folder: Path, path: str, digest: str | None = None) -> tuple[Path, Path]:
    outputs = folder / "out" / "prompts.jsonl", folder / "out" / "prompts.json"
    verify_prompts(Prompts(path=path, sha256=digest), *outputs, root=folder)
    return outputs


def test_verified_prompts_are_written_in_normal_form(tmp_path: Path) -> None:
    source = write(tmp_path / "mine.jsonl", json_lines(*TWO))
    prompts_out, facts_out = verify(tmp_path, "mine.jsonl", sha256(source))
    lines = prompts_out.read_text(encoding="utf-8").splitlines()
    assert lines[0] == '{"id": "a", "domain": "first", "text": "One prompt."}'
    assert read_prompts(prompts_out) == TWO
    assert json.loads(facts_out.read_text()) == {
        "file": "mine.jsonl",
        "sha256": sha256(source),
        "count": 2,
        "domains": {"first": 1, "second": 1},
    }


def test_the_normal_form_is_its_own_normal_form(tmp_path: Path) -> None:
    source = write(tmp_path / "mine.txt", "# c\n1. One.\n2. Two.\n")
    first = verify(tmp_path, "mine.txt", sha256(source))[0].rename(tmp_path / "again.jsonl")
    second, _ = verify(tmp_path, "again.jsonl", sha256(first))
    assert second.read_bytes() == first.read_bytes()


def test_the_digest_of_the_study_goes_before_the_checksum_file(tmp_path: Path) -> None:
    source = write(tmp_path / "mine.jsonl", json_lines(*TWO))
    write(tmp_path / "SHA256SUMS", f"{'0' * 64}  mine.jsonl\n")
    prompts, digest = load_verified(Prompts(path="mine.jsonl", sha256=sha256(source)), tmp_path)
    assert (prompts, digest) == (TWO, sha256(source))


FORMS = [
    "{digest}  {name}",
    "{digest} *{name}",
    "{digest}  ./{name}",
    "{upper} {name}",
    "{upper}\t.\\{name}",
    "SHA256 ({name}) = {digest}",
    "SHA256({name})= {digest}",
    "SHA2-256(./{name})= {upper}",
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_each_form_of_checksums_is_understood(tmp_path: Path, form: str, encoding: str, end: str) -> None:
    source = write(tmp_path / "mine (1).jsonl", json_lines(*TWO))
    digest = sha256(source)
    line = form.format(digest=digest, upper=digest.upper(), name=source.name)
    others = f"{'0' * 64}  not-mine (1).jsonl", f"SHA256 (mine (1).jsonl.bak) = {'0' * 64}", "", "a comment"
    write(tmp_path / "SHA256SUMS", (end.join([*others, line]) + end).encode(encoding))
    assert load_verified(Prompts(path=source.name), tmp_path) == (TWO, digest)


def test_checksums_of_files_with_names_in_another_encoding_do_not_matter(tmp_path: Path) -> None:
    source = write(tmp_path / "mine.jsonl", json_lines(*TWO))
    write(tmp_path / "SHA256SUMS", b"0" * 64 + b"  caf\xe9.txt\n" + f"{sha256(source)}  mine.jsonl\n".encode())
    assert load_verified(Prompts(path=source.name), tmp_path)[0] == TWO


def test_a_file_that_is_listed_twice_needs_one_digest(tmp_path: Path) -> None:
    source = write(tmp_path / "mine.jsonl", json_lines(*TWO))
    line = f"{sha256(source)}  mine.jsonl\n"
    write(tmp_path / "SHA256SUMS", line + line.upper().replace("MINE.JSONL", "./mine.jsonl"))
    assert load_verified(Prompts(path=source.name), tmp_path)[0] == TWO
    write(tmp_path / "SHA256SUMS", line + f"SHA256 (mine.jsonl) = {'0' * 64}\n")
    with pytest.raises(PromptError, match=r"SHA256SUMS: mine\.jsonl is listed with 2 different digests: remove"):
        load_verified(Prompts(path=source.name), tmp_path)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-32"])
def test_checksums_that_cannot_be_read_are_named(tmp_path: Path, encoding: str) -> None:
    source = write(tmp_path / "mine.jsonl", json_lines(*TWO))
    write(tmp_path / "SHA256SUMS", f"{sha256(source)}  mine.jsonl\n".encode(encoding))
    with pytest.raises(PromptError, match=r"SHA256SUMS: neither UTF-8 nor UTF-16 .*: save it as UTF-8"):
        load_verified(Prompts(path=source.name), tmp_path)


@pytest.mark.parametrize("declared_in", ["study", "SHA256SUMS"])
def test_a_changed_file_is_refused_with_both_digests(tmp_path: Path, declared_in: str) -> None:
    source = write(tmp_path / "mine.jsonl", json_lines(*TWO))
    expected = sha256(source)
    write(tmp_path / "SHA256SUMS", f"{expected}  mine.jsonl\n")
    write(source, json_lines(TWO[0]))
    with pytest.raises(PromptError) as error:
        verify(tmp_path, "mine.jsonl", expected if declared_in == "study" else None)
    for part in (
        str(source),
        f"expected SHA-256 {expected}",
        f"found {sha256(source)}",
        declared_in,
        "Restore",
    ):
        assert part in str(error.value)
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize("checksums", [None, f"{'0' * 64}  other.jsonl\n"])
def test_without_a_digest_the_line_to_add_is_given_and_works(tmp_path: Path, checksums: str | None) -> None:
    write(tmp_path / "mine.jsonl", json_lines(*TWO))
    if checksums is not None:
        write(tmp_path / "SHA256SUMS", checksums)
    with pytest.raises(PromptError, match=r"SHA256SUMS: no digest of mine\.jsonl: add the line") as error:
        verify(tmp_path, "mine.jsonl")
    line = re.search(r"add the line '(.+?)'", str(error.value))
    assert line is not None
    write(tmp_path / "SHA256SUMS", (checksums or "") + line[1] + "\n")
    verify(tmp_path, "mine.jsonl")


# --- downloads ---


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing on stderr."""


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address under which the test's folder is served on this machine."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_download_is_verified_like_a_file(tmp_path: Path, address: str) -> None:
    source = write(tmp_path / "mine.jsonl", json_lines(*TWO))
    url = f"{address}/mine.jsonl?version=1"
    prompts_out, facts_out = verify(tmp_path, url, sha256(source))
    assert read_prompts(prompts_out) == TWO
    assert json.loads(facts_out.read_text())["file"] == "mine.jsonl"
    with pytest.raises(PromptError, match=f"expected SHA-256 {'0' * 64}, found {sha256(source)}"):
        verify(tmp_path, url, "0" * 64)


def test_a_download_without_digest_is_refused_before_it_starts(tmp_path: Path) -> None:
    with pytest.raises(
        PromptError, match=r"nowhere\.invalid/p\.jsonl: a download needs its digest: set prompts\.sha256"
    ):
        verify(tmp_path, "https://nowhere.invalid/p.jsonl")


def test_a_failed_download_says_what_to_do(tmp_path: Path, address: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}"
        for url, reason in [(f"{address}/absent.jsonl", "404"), (f"{closed}/p.jsonl", "refused")]:
            with pytest.raises(PromptError, match=rf"could not be downloaded \(.*{reason}.*\).*set prompts\.path"):
                verify(tmp_path, url, "0" * 64)


@pytest.mark.parametrize(
    "url", ["http://[::1/p.jsonl", "https://exa mple.invalid/p.jsonl", "HTTP://caf\u00e9:x/p.jsonl"]
)
def test_what_is_no_address_is_named(tmp_path: Path, url: str) -> None:
    with pytest.raises(PromptError, match=rf"{re.escape(url)}: could not be downloaded .*set prompts\.path"):
        load_verified(Prompts(path=url, sha256="0" * 64), tmp_path)


@pytest.mark.parametrize("path", ["nul\0.jsonl", "//[a/b.jsonl", "x" * 300 + ".jsonl"])
def test_what_is_no_path_is_named(path: str) -> None:
    with pytest.raises(PromptError, match=r"\.jsonl: (cannot be read|there is no such prompt file)"):
        read_prompts(path)


def test_prompts_are_read_without_heavy_libraries() -> None:
    code = "import sys, headwise.study.prompts; print(sorted({'torch', 'transformers', 'pandas'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_prompts_are_spread_over_the_set() -> None:
    prompts = [Prompt(str(number), "d", "text") for number in range(10)]
    assert [prompt.id for prompt in spread(prompts, 4)] == ["0", "2", "5", "7"]
    assert spread(prompts, 10) == spread(prompts, 99) == spread(prompts, None) == prompts


def test_prompts_are_measured_in_the_order_of_their_ids(tmp_path: Path) -> None:
    path = write(
        tmp_path / "p.jsonl", json_lines(Prompt("b", "d", "1"), Prompt("a10", "d", "2"), Prompt("a9", "d", "3"))
    )
    assert [prompt.id for prompt in prompts_by_id(path)] == ["a10", "a9", "b"]
