"""Prompt sets: reading and verifying them."""

import codecs
import hashlib
import http.client
import json
import re
import reprlib
import unicodedata
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from headwise.runtime.atomic import atomic
from headwise.runtime.json_files import write_json
from headwise.study.data import Prompts

KEYS = ("id", "domain", "text")
UNLABELLED = "unlabelled"
CHECKSUMS = "SHA256SUMS"
DOWNLOAD_TIMEOUT_S = 60

Item = TypeVar("Item")


class PromptError(ValueError):
    """A prompt set that cannot be used; the message names file, line (where there is one) and remedy."""


@dataclass(frozen=True)
class Prompt:
    """One prompt: a unique id, the domain that bootstrap intervals are clustered by, and the text."""

    id: str
    domain: str
    text: str


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt as one model reads it: its token ids, special tokens included, neither padded nor cut."""

    id: str
    token_ids: list[int]


def read_prompts(path: str | Path) -> list[Prompt]:
    """Read a prompt file, told by its ending.

    `.jsonl`: one object per line with the keys id, domain and text, all strings.
    `.txt`: lines `1. text`; lines that begin with `#` are comments. The number is the id, the domain is
    "unlabelled". Empty lines are skipped in both. Raises PromptError at the first line that is wrong: a key that stands
    twice in an object, an id that stands twice, ids or domains that look the same and are not, characters that are no
    text.
    """
    return parse_prompts(_read_bytes(Path(path)), str(path))


def parse_prompts(content: bytes, source: str) -> list[Prompt]:
    """Prompts from the bytes of a prompt file; `source` is its path or URL. See `read_prompts`."""
    parse_line = _line_parser(source)
    try:
        # utf-8-sig: some editors begin a UTF-8 file with a byte order mark.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise PromptError(f"{source}, line {number}: not UTF-8: save the file in that encoding.") from None
    if "\0" in text:
        raise PromptError(f"{source}: not UTF-8 but UTF-16, or no text: save the file as UTF-8.")
    prompts = []
    seen = {"id": _Seen(), "domain": _Seen()}
    # Not str.splitlines: it also splits at separators that a prompt may contain.
    for number, line in enumerate(text.split("\n"), start=1):
        where = f"{source}, line {number}"
        prompt = parse_line(line.strip(), where) if line.strip() else None
        if prompt is None:
            continue
        _refuse_what_no_file_holds(prompt, where)
        if prompt.id in seen["id"].lines:
            raise PromptError(
                f"{where}: id '{prompt.id}' is already used in line {seen['id'].lines[prompt.id]}: "
                "give each prompt its own id."
            )
        for key, names in seen.items():
            names.add(getattr(prompt, key), number, f"{where}: {key}")
        prompts.append(prompt)
    if not prompts:
        raise PromptError(f"{source}: no prompts in this file: add at least one line.")
    return prompts


def verify_prompts(settings: Prompts, prompts: Path, facts: Path, root: Path = Path()) -> None:
    """Check a study's prompt set against its declared digest and write it in normal form.

    `prompts` receives JSON Lines with id, domain and text; `facts` JSON with file, sha256 (of the
    file as it was read), count, and domains with their counts. See `load_verified` for `root` and errors.
    """
    verified, digest = load_verified(settings, root)
    with atomic(prompts) as temporary:
        lines = [json.dumps(asdict(prompt), ensure_ascii=False) for prompt in verified]
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = {
        "file": _file_name(settings.path),
        "sha256": digest,
        "count": len(verified),
        "domains": dict(Counter(prompt.domain for prompt in verified)),
    }
    write_json(found, facts)


def load_verified(settings: Prompts, root: Path) -> tuple[list[Prompt], str]:
    """A study's prompts and the SHA-256 of their file, which is the declared one.

    Declared is `settings.sha256`, else the digest in the SHA256SUMS beside the file. A relative path starts
    from `root`. Raises PromptError where the digest is missing or another, and as `read_prompts` does.
    """
    if is_url(settings.path):
        source = settings.path
        if settings.sha256 is None:
            raise PromptError(f"{source}: a download needs its digest: set prompts.sha256 in the study file.")
        content = _download(source)
    else:
        path = root / settings.path
        source = str(path)
        content = _read_bytes(path)
    found = hashlib.sha256(content).hexdigest()
    expected = settings.sha256 or _listed_digest(path.with_name(CHECKSUMS), path.name, found)
    if found != expected:
        raise PromptError(
            f"{source}: not the declared prompt set: expected SHA-256 {expected}, found {found}. "
            f"Restore the file, or, if the change is meant, put the new digest into {declared_in(settings, root)}."
        )
    return parse_prompts(content, source), found


def declared_in(settings: Prompts, root: Path) -> str:
    """Where the digest that a prompt file must have stands."""
    if settings.sha256 is not None:
        return "prompts.sha256 of the study file"
    return str((root / settings.path).with_name(CHECKSUMS))


def prompts_by_id(path: str | Path) -> list[Prompt]:
    """The prompts of a file in the order of their ids, which is the order that they are measured in."""
    return sorted(read_prompts(path), key=lambda prompt: prompt.id)


def spread(items: Sequence[Item], count: int | None) -> list[Item]:
    """`count` of the items, evenly spread over their order; all where there are no more, or `count` is None."""
    if count is None or count >= len(items):
        return list(items)
    return [items[index * len(items) // count] for index in range(count)]


def _line_parser(source: str) -> Callable[[str, str], Prompt | None]:
    ending = PurePosixPath(_file_name(source)).suffix
    if ending == ".jsonl":
        return _parse_json_line
    if ending == ".txt":
        return _parse_numbered_line
    raise PromptError(f"{source}: unknown format: name it .jsonl (JSON Lines) or .txt (numbered lines).")


class _Seen:
    """The ids or domains of a file, with the line that each stands in first."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self.by_look: dict[str, str] = {}

    def add(self, name: str, line: int, where: str) -> None:
        """Raises PromptError where another name looks like this one."""
        self.lines.setdefault(name, line)
        # Composed and decomposed letters, invisible characters, and how many spaces.
        visible = (letter for letter in unicodedata.normalize("NFC", name) if unicodedata.category(letter) != "Cf")
        other = self.by_look.setdefault(" ".join("".join(visible).split()), name)
        if other != name:
            raise PromptError(
                f"{where} {name!a} looks like {other!a} of line {self.lines[other]}: write them alike if they are the "
                "same, or so that the difference can be seen."
            )


def _refuse_what_no_file_holds(prompt: Prompt, where: str) -> None:
    """JSON can escape characters that neither UTF-8 nor a tokenizer has."""
    for key in KEYS:
        if bad := re.search("[\0\ud800-\udfff]", getattr(prompt, key)):
            raise PromptError(
                f"{where}: '{key}' holds {bad[0]!a} as character {bad.start() + 1}, which is no text: remove it."
            )


def _parse_json_line(line: str, where: str) -> Prompt:
    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        repeated = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        if repeated:
            raise PromptError(f"{where}: the key {repeated[0]!r} stands twice: remove one.")
        return dict(pairs)

    try:
        value = json.loads(line, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise PromptError(
            f"{where}: not valid JSON ({error.msg} at column {error.colno}): "
            f"write one object with the keys {', '.join(KEYS)}."
        ) from None
    except PromptError:
        raise
    # Python reads neither integers of more than 4,300 digits nor brackets within a thousand others.
    except (ValueError, RecursionError) as error:
        problem = "nested too deeply" if isinstance(error, RecursionError) else "a number has too many digits"
        raise PromptError(f"{where}: {problem}: write one object with the keys {', '.join(KEYS)}.") from None
    if not isinstance(value, dict):
        raise PromptError(f"{where}: not a JSON object: write one with the keys {', '.join(KEYS)}.")
    for key in KEYS:
        if key not in value:
            raise PromptError(f"{where}: the key '{key}' is missing: add it.")
        if not isinstance(value[key], str) or not value[key].strip():
            raise PromptError(f"{where}: '{key}' is {reprlib.repr(value[key])}: it must be a string that is not empty.")
    for key in value:
        if key not in KEYS:
            raise PromptError(f"{where}: unknown key {reprlib.repr(key)}: remove it; the keys are {', '.join(KEYS)}.")
    return Prompt(**value)


def _parse_numbered_line(line: str, where: str) -> Prompt | None:
    if line.startswith("#"):
        return None
    match = re.fullmatch(r"(\d+)\.\s*(.+)", line)
    if match is None:
        raise PromptError(f"{where}: not a numbered prompt: write it as '1. text', one prompt per line.")
    return Prompt(id=match[1], domain=UNLABELLED, text=match[2])


# As sha256sum, shasum and scripts around Get-FileHash write it, and as BSD's sha256, `sha256sum --tag` and openssl do.
_CHECKSUM_LINES = (
    re.compile(r"(?P<digest>[0-9a-fA-F]{64})[ \t]+\*?(?P<name>.+)"),
    re.compile(r"SHA(?:2-)?256 ?\((?P<name>.+)\) ?= (?P<digest>[0-9a-fA-F]{64})"),
)


def _listed_digest(checksums: Path, name: str, found: str) -> str:
    """The digest of the file `name` in a file of checksums, in lower case."""
    listed = set()
    for line in _checksum_text(checksums).splitlines() if checksums.is_file() else []:
        for form in _CHECKSUM_LINES:
            match = form.fullmatch(line.strip())
            if match is not None and match["name"].removeprefix("./").removeprefix(".\\") == name:
                listed.add(match["digest"].lower())
    if len(listed) > 1:
        raise PromptError(f"{checksums}: {name} is listed with {len(listed)} different digests: remove all but one.")
    if not listed:
        raise PromptError(
            f"{checksums}: no digest of {name}: add the line '{found}  {name}' if the file is what it should be, "
            "or set prompts.sha256 in the study file."
        )
    return listed.pop()


def _checksum_text(checksums: Path) -> str:
    """UTF-8 with or without a byte order mark, or UTF-16 with one, as PowerShell writes it."""
    content = _read_bytes(checksums)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = content.decode("utf-16", "replace")
    else:
        # Names of other files may be in any encoding.
        text = content.decode("utf-8-sig", "surrogateescape")
    if "\0" in text:
        raise PromptError(f"{checksums}: neither UTF-8 nor UTF-16 with a byte order mark: save it as UTF-8.")
    return text


def is_url(path: str) -> bool:
    """Whether a study names its prompts by URL; they are then downloaded by `verify_prompts`."""
    return re.match("https?://", path, re.IGNORECASE) is not None


def _file_name(source: str) -> str:
    return PurePosixPath(re.split("[?#]", source)[0]).name if is_url(source) else Path(source).name


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise PromptError(f"{path}: there is no such prompt file: check prompts.path.") from None
    except (OSError, ValueError) as error:  # ValueError: no file has such a name
        reason = error.strerror if isinstance(error, OSError) else error
        raise PromptError(f"{path}: cannot be read ({reason}): give a readable file.") from None


def _download(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT_S) as response:
            content: bytes = response.read()
            return content
    # URLError and timeouts are OSErrors; what is no address is a ValueError.
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise PromptError(
            f"{url}: could not be downloaded ({error}). Where there is no network, fetch the file "
            "by other means and set prompts.path to where it lies."
        ) from None
