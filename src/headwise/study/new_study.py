"""A study file to begin with, for models that are there already."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from headwise.study.parse import parse_study
from headwise.study.section import StudyError

HUB = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+?)(@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True)
class Given:
    """A model as it was named on the command line: a folder, or a repository of a hub with its revision."""

    name: str
    place: str
    revision: str | None = None
    is_folder: bool = False

    def lines(self) -> Iterator[str]:
        """Its name, source and place, as fields of the study file."""
        yield f"  - name: {self.name}"
        if self.is_folder:
            yield "    source: folder"
            yield f"    path: {json.dumps(self.place, ensure_ascii=False)}"
            return
        yield "    source: hub"
        yield f"    repository: {self.place}"
        if self.revision:
            yield f"    revision: {self.revision}"


def given(models: Sequence[str]) -> list[Given]:
    """What each argument names; a folder that exists is a folder. Raises StudyError for what is neither."""
    found: list[Given] = []
    for written in models:
        folder = Path(written)
        match = HUB.fullmatch(written)
        if folder.is_dir():
            name, place, revision = folder.absolute().name, written, None
        elif match:
            name, place, revision = match["repository"].split("/")[1], match["repository"], match["revision"]
        else:
            raise StudyError(
                f"{written}: neither a folder nor a repository of a hub: give a path that exists, or "
                "ORGANISATION/NAME, with @REVISION where you want another than main"
            )
        # Names are file names, and no two may be alike but for case.
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_") or "model"
        taken = {each.name.lower() for each in found}
        number = next(count for count in range(1, len(models) + 2) if _numbered(name, count).lower() not in taken)
        found.append(Given(_numbered(name, number), place, revision, folder.is_dir()))
    return found


def _numbered(name: str, count: int) -> str:
    return name if count == 1 else f"{name}-{count}"


def new_study(name: str, models: Sequence[str], prompts: str, refits: bool = False) -> str:
    """The text of a commented study file.

    prompts  path of the prompt set
    models   the first is the base, all others descend from it; where they are `refits`, all are bases of one group

    Raises StudyError for a name that no study can have, and for what is no model.
    """
    chosen = given(models)
    if len(chosen) < 2:
        raise StudyError("one model has nothing to be compared with: name a base and what was made from it, or refits")
    text = "\n".join(_lines(name, chosen, prompts, refits)) + "\n"
    parse_study(yaml.safe_load(text), "the new study")
    return text


def _lines(name: str, models: Sequence[Given], prompts: str, refits: bool) -> Iterator[str]:
    store = "tensors     # refits are matched by the attention weights themselves"
    if not refits:
        store = "statistics  # tensors: the attention weights as well"
    yield from (
        "# Every field is described in config/README.md. What it would take: headwise cost THIS_FILE",
        f"name: {name}",
        f"title: {json.dumps(name, ensure_ascii=False)}  # what stands above the report",
        "",
        "prompts:",
        f"  path: {prompts}  # or a file of your own: .jsonl with id, domain and text, and its sha256",
        "",
        "extraction:",
        "  dtype: float32  # bfloat16 for models of billions of weights",
        f"  store: {store}",
        "",
        "comparison:",
        "  primary: hellinger  # the one estimator whose tests are confirmatory",
        "  equivalence_margin: 0.02  # equivalent to nothing; half the standard deviation of base refits, if known",
        "",
        "models:",
    )
    base = models[0]
    for model in models:
        yield from model.lines()
        yield f"    family: {name if refits else base.name}  # unit of replication over models, such as the vendor"
        if model is not base and not refits:
            yield f"    base: {base.name}"
            yield "    method: unknown  # how it was aligned: sft, dpo, rlhf, …"
    if refits:
        yield from ("", "stability:", "  analyses: [heads, writes]  # ablation and residual take longer", "  groups:")
        yield f"    - {{name: {name}, models: [{', '.join(model.name for model in models)}]}}"
