"""A study small enough for tests: two-layer decoders, generated text, twelve short prompts."""

import json
import random
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

SUBJECTS = ["the river", "a small bird", "the old clock", "my neighbour", "the garden", "a quiet engine"]
VERBS = ["follows", "remembers", "carries", "repairs", "describes", "leaves"]
OBJECTS = [
    "the stone bridge",
    "a letter",
    "the morning light",
    "every window",
    "the long road",
    "its own shadow",
]
ENDINGS = ["before noon", "without a sound", "once a year", "near the sea", "for no reason", "as always"]


def sentence(draw: random.Random) -> str:
    """One of 1,296 sentences."""
    return " ".join(map(draw.choice, (SUBJECTS, VERBS, OBJECTS, ENDINGS))).capitalize() + "."


def write_text(folder: Path, documents: int = 40) -> None:
    """A corpus of the `text` source: one file per document, six paragraphs of four sentences each."""
    draw = random.Random(7)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(documents):
        paragraphs = [" ".join(sentence(draw) for _ in range(4)) for _ in range(6)]
        (folder / f"document-{number:02}.txt").write_text("\n\n".join(paragraphs) + "\n", encoding="utf-8")


def write_prompts(path: Path, count: int = 12) -> None:
    """Short prompts in three domains, with the SHA256SUMS beside them."""
    draw = random.Random(8)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps(
            {
                "id": f"p{number:02}",
                "domain": f"domain{number % 3}",
                "text": sentence(draw) + " " + sentence(draw),
            }
        )
        for number in range(count)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    path.with_name("SHA256SUMS").write_text(f"{sha256(path.read_bytes()).hexdigest()}  {path.name}\n")


def tiny_content() -> dict[str, Any]:
    """The content of a tiny study file; text and prompts are named as seen from the folder it runs in."""
    return {
        "name": "tiny",
        "title": "A tiny study",
        "seeds": [1, 2],
        "prompts": {"path": "prompts/tiny.jsonl"},
        "corpus": {"source": "text", "path": "text", "held_out": 0.2},
        "tokenizer": {"vocabulary": 320},
        "decoder": {
            "layers": 2,
            "hidden": 16,
            "heads": 4,
            "head_width": 8,
            "feed_forward": 32,
            "positions": 128,
        },
        "training": {"steps": 6, "batch": 4, "tokens": 32, "warmup": 1, "evaluate_every": 3},
        "alignment": {"sft": {"steps": 3, "batch": 4}, "dpo": {"steps": 3, "batch": 4}},
        "models": [
            {"name": "multi_head", "source": "train"},
            {"name": "grouped_query", "source": "train", "decoder": {"key_value_heads": 2}, "seeds": [1]},
            {"name": "multi_head-sft", "source": "align", "base": "multi_head", "method": "sft"},
            {"name": "multi_head-dpo", "source": "align", "base": "multi_head", "method": "dpo", "seeds": [1]},
        ],
        "specialization": {"head_permutations": 20},
        "comparison": {"resamples": 199},
        "controls": {"learned_circuit": False},
    }


def write_study(folder: Path, **changes: Any) -> Path:
    """Write text, prompts and a tiny study file below `folder`; `changes` replace whole sections.

    Raises ValueError where `folder` is a checkout, whose own prompts have their checksums in the same file.
    """
    if (folder / "pyproject.toml").exists():
        raise ValueError(f"{folder} is a checkout: its prompts/SHA256SUMS would be overwritten: give another folder")
    write_text(folder / "text")
    write_prompts(folder / "prompts" / "tiny.jsonl")
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**tiny_content(), **changes}, sort_keys=False), encoding="utf-8")
    return path
