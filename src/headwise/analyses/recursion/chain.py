"""Recursive generation: what a model writes becomes what it reads next, generation after generation.

Mode continue: the model goes on from the last tokens of the previous generation. Mode rewrite: it is given the previous
generation with an instruction in its chat template. Nothing of earlier generations is kept.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headwise.analyses.recursion.degradation import (
    distinct,
    is_degraded,
    longest_repeated_span,
    repeated_share,
    similarity,
)
from headwise.analyses.recursion.rows import Generation, GenerationSpecialization
from headwise.analyses.recursion.settings import Arm, Recursion
from headwise.analyses.specialization.few_prompts import Value, specialization_of
from headwise.models.checkpoint import weights_digest
from headwise.models.encoding import Encoder, encode, limits_of
from headwise.models.generation import GenerationError, Written, stop_tokens, write
from headwise.models.load import input_device, load_checkpoint
from headwise.models.optimization import one_thread
from headwise.models.pairs import template_parts
from headwise.runtime.json_files import read_json, write_json
from headwise.runtime.progress import track
from headwise.runtime.provenance import file_digest, json_digest, library_versions
from headwise.statistics.generators import generator_for
from headwise.study.extraction import Extraction
from headwise.study.models import Loading
from headwise.study.prompts import EncodedPrompt, prompts_by_id, spread
from headwise.tables.files import write_rows

STATE = "state.json"


@one_thread()
def recurse(
    checkpoint: Path,
    prompts: Path,
    arm: Arm,
    settings: Recursion,
    extraction: Extraction,
    loading: Loading,
    estimators: Sequence[str],
    seed: int,
    state: Path,
    generations: Path,
    specialization: Path,
    metadata: Mapping[str, Any],
) -> None:
    """Let one model of an arm feed on its own text.

    seed   of sampling: what a chain writes follows from seed, prompt and generation
    state  a folder that is kept until both tables are written, and outlives a job that is killed: started again with
           the same model, prompts, settings and library versions, the job goes on after the last complete generation

    `generations` receives a row per chain and generation (see `Generation`), `specialization` one per generation
    and estimator (see `GenerationSpecialization`). A chain that writes fewer than two tokens
    ends there, with a reason.

    Raises GenerationError for a text that does not fit the model's positions or logits that are not finite, and
    ValueError for mode rewrite where the tokenizer has no chat template.
    """
    model, tokenizer = load_checkpoint(checkpoint, extraction.dtype, extraction.device, loading, head=True)
    everything = prompts_by_id(prompts)
    # What a chain begins with is raw text, also where the instruction then puts it into a template.
    raw = extraction.model_copy(update={"template": "raw"})
    chains = spread(encode(everything, tokenizer, raw, limits_of(model)), settings.prompts)
    identity = json_digest(
        {
            "weights": weights_digest(checkpoint),
            "prompts": file_digest(prompts),
            "arm": arm.model_dump(),
            "settings": settings.model_dump(exclude={"batch"}),
            "extraction": extraction.model_dump(),
            "loading": loading.model_dump(),
            "estimators": list(estimators),
            "seed": seed,
            "versions": library_versions(),
        }
    )
    run = _Run.resumed(state / STATE, identity) or _Run.started(identity, chains)
    first = Encoder.of(tokenizer).first_tokens(extraction.first_token)
    writer = Writer(model, tokenizer, arm, settings, first, extraction.date, seed)
    if not run.specialization:
        run.specialization += _specialization(model, writer, chains, run.texts, 0, estimators)
    left = range(run.generation + 1, settings.generations + 1)
    for number in track(left, f"{arm.name}, seed {seed}: generations", len(left)):
        previous = run.texts
        written = writer.next_generation(previous, number)
        run.rows += [asdict(row) for row in _described(written, previous, number, tokenizer, settings)]
        run.texts = {prompt: text.tokens for prompt, text in written.items() if len(text.tokens) > 1}
        run.specialization += _specialization(model, writer, chains, run.texts, number, estimators)
        run.generation = number
        write_json(asdict(run), state / STATE)
    read = raw.as_recorded(asks_for_the_date=arm.mode == "rewrite")
    shared = {**metadata, **read, "weights_digest": weights_digest(checkpoint)}
    write_rows(Generation, run.rows, generations, shared)
    write_rows(GenerationSpecialization, run.specialization, specialization, shared)
    (state / STATE).unlink(missing_ok=True)
    state.rmdir()


@dataclass
class _Run:
    """Everything that was computed up to a generation; `texts` are the token ids of the chains that go on."""

    identity: str
    generation: int
    texts: dict[str, list[int]]
    rows: list[dict[str, Any]]
    specialization: list[dict[str, Any]]

    @classmethod
    def started(cls, identity: str, chains: Sequence[EncodedPrompt]) -> "_Run":
        return cls(identity, 0, {chain.id: chain.token_ids for chain in chains}, [], [])

    @classmethod
    def resumed(cls, path: Path, identity: str) -> "_Run | None":
        """What an earlier job left behind; None where it left nothing, or something else."""
        if not path.is_file():
            return None
        found = read_json(path)
        return cls(**found) if found["identity"] == identity else None


@dataclass(frozen=True)
class Writer:
    """Writes the next generation of all chains."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    arm: Arm
    settings: Recursion
    first: list[int]
    date: str
    seed: int

    def next_generation(self, texts: Mapping[str, list[int]], number: int) -> dict[str, Written]:
        """What each chain writes, by prompt. Chains whose inputs are equally long are written together."""
        inputs = {prompt: self._input(tokens) for prompt, tokens in texts.items()}
        by_length: dict[int, list[str]] = {}
        for prompt, ids in inputs.items():
            by_length.setdefault(len(ids), []).append(prompt)
        written: dict[str, Written] = {}
        stop = stop_tokens(self.model, self.tokenizer)
        for prompts in by_length.values():
            for start in range(0, len(prompts), self.settings.batch):
                together = prompts[start : start + self.settings.batch]
                batch = torch.tensor([inputs[prompt] for prompt in together], device=input_device(self.model))
                try:
                    found = write(
                        self.model,
                        batch,
                        self.settings.new_tokens,
                        stop=stop,
                        temperature=self.settings.temperature,
                        uniforms=np.stack([self._uniforms(prompt, number) for prompt in together]),
                    )
                except GenerationError as error:
                    raise GenerationError(
                        f"arm '{self.arm.name}', seed {self.seed}, generation {number}: {error}"
                    ) from None
                written |= dict(zip(together, found, strict=True))
        return {prompt: written[prompt] for prompt in texts}

    def as_prompt(self, tokens: Sequence[int]) -> list[int]:
        """Token ids of a text as the model reads a text from its beginning: with the first tokens of all raw text."""
        has_them = list(tokens[: len(self.first)]) == self.first
        return [*([] if has_them else self.first), *tokens]

    def _input(self, tokens: list[int]) -> list[int]:
        read = tokens[-self.settings.context :]
        if self.arm.mode == "continue":
            return self.as_prompt(read)
        before, after = template_parts(self.tokenizer, f"{self.arm.instruction}\n", self.date)
        special = set(self.tokenizer.all_special_ids)
        # Spliced, not written and read again: every input keeps its length, and no token is lost in between.
        return [*before, *(token for token in read if token not in special), *after]

    def _uniforms(self, prompt: str, number: int) -> Any:
        return generator_for("generation", self.seed, prompt, number).random(self.settings.new_tokens)


def _described(
    written: Mapping[str, Written],
    previous: Mapping[str, list[int]],
    number: int,
    tokenizer: PreTrainedTokenizerBase,
    settings: Recursion,
) -> Iterator[Generation]:
    for prompt, text in written.items():
        tokens = text.tokens
        reason = None
        if not tokens:
            reason = f"generation {number} of '{prompt}' wrote no token: the chain ends"
        elif len(tokens) == 1:
            reason = f"generation {number} of '{prompt}' is a single token, which has no bigram: the chain ends"
        yield Generation(
            prompt=prompt,
            generation=number,
            tokens=len(tokens),
            distinct_1=distinct(tokens, 1),
            distinct_2=distinct(tokens, 2),
            longest_repeated_span=longest_repeated_span(tokens),
            repeated_share=repeated_share(tokens),
            similarity=similarity(tokens, previous[prompt]),
            nll_nats=text.nll_nats,
            degraded=is_degraded(tokens, settings.degradation),
            text=str(tokenizer.decode(tokens)),
            reason=reason,
        )


def _specialization(
    model: PreTrainedModel,
    writer: Writer,
    chains: Sequence[EncodedPrompt],
    texts: Mapping[str, list[int]],
    number: int,
    estimators: Sequence[str],
) -> list[dict[str, Any]]:
    """Estimators on the texts of one generation."""
    read = [
        EncodedPrompt(chain.id, writer.as_prompt(texts[chain.id]))
        for chain in chains
        if len(texts.get(chain.id, ())) > 1
    ]
    nothing: dict[str, Value] = dict.fromkeys(estimators, (None, "no chain wrote two tokens"))
    found = specialization_of(model, read, estimators) if read else nothing
    return [
        asdict(
            GenerationSpecialization(generation=number, estimator=name, chains=len(read), value=value, reason=reason)
        )
        for name, (value, reason) in found.items()
    ]
