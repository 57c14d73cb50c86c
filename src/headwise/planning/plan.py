"""A study as its cost depends on it: its jobs, the shapes of its models, and how many tokens their prompts have."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from headwise.models.shape import Shape, shape_of
from headwise.planning.feasibility import check_study
from headwise.planning.jobs import Jobs, planned_jobs
from headwise.study.models import AlignedModel, AnyModel, TrainedModel, TransformerLensModel
from headwise.study.parse import check_paths, load_study
from headwise.study.prompts import Prompt, is_url, load_verified
from headwise.study.section import StudyError
from headwise.study.study import Study

# Characters per token of a byte-level BPE, over the logarithm to base 2 of its vocabulary: on the prompts that ship,
# 2.21 with 1,024 tokens.
CHARACTERS_PER_TOKEN = 0.22
# Of models that are made elsewhere; most have more tokens, which are hardly longer.
PUBLISHED_VOCABULARY = 50_000
# Of a set that is still to be downloaded, as the Snakefile takes it.
UNKNOWN_PROMPTS, UNKNOWN_CHARACTERS = 1000, 150


@dataclass(frozen=True)
class Plan:
    """A study that was checked; relative paths start from the current folder.

    study_files  its YAML files, merged as Snakemake merges them
    changes      KEY=VALUE, as of `snakemake --config`
    """

    study_files: Sequence[str | Path]
    changes: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuse a study that could not run, as `headwise verify` does."""
        check_paths(self.study, Path.cwd(), self.source)
        check_study(self.study, self._prompts, Path.cwd(), self.source)
        for model in self.study.models:
            self.shape(model.name)

    @cached_property
    def study(self) -> Study:
        """What the files say."""
        return load_study(*self.study_files, changes=self.changes)

    @property
    def source(self) -> str:
        """The files, for errors."""
        return ", ".join(map(str, self.study_files))

    @cached_property
    def jobs(self) -> list[Jobs]:
        """What Snakemake would run. Raises PlanError."""
        return planned_jobs(self.study_files, self.changes)

    @cached_property
    def _prompts(self) -> list[Prompt]:
        """None of a set that is still to be downloaded."""
        return [] if is_url(self.study.prompts.path) else load_verified(self.study.prompts, Path.cwd())[0]

    @cached_property
    def characters(self) -> tuple[int, ...]:
        """The length of each prompt."""
        if is_url(self.study.prompts.path):
            return (UNKNOWN_CHARACTERS,) * UNKNOWN_PROMPTS
        return tuple(len(prompt.text) for prompt in self._prompts)

    def tokens(self, name: str) -> list[int]:
        """About how many tokens each prompt has for a model, at most `max_tokens`."""
        made_here = isinstance(self.study.model(name), TrainedModel | AlignedModel)
        vocabulary = self.study.tokenizer.vocabulary if made_here else PUBLISHED_VOCABULARY
        width = CHARACTERS_PER_TOKEN * math.log2(vocabulary)
        return [min(math.ceil(length / width), self.study.extraction.max_tokens) for length in self.characters]

    def shape(self, name: str) -> Shape:
        """How large a model is. Raises StudyError where neither the study nor a file says it."""
        model = self.study.model(name)
        seed = self.study.seeds_of(model)[0]
        try:
            return shape_of(self.study, model, seed, self._place(model, seed))
        except FileNotFoundError:
            position = self.study.models.index(model)
            raise StudyError(
                f"{self.source}: models.{position} ('{name}').facts: nothing says how large it is before it is "
                "fetched: add `facts` with its parameters, layers, hidden, heads, key_value_heads and head_width, "
                "or fetch it first (snakemake fetch)"
            ) from None

    def _place(self, model: AnyModel, seed: int) -> Path:
        """What says how large a model is where the study does not."""
        if isinstance(model, TransformerLensModel) and model.repository is None:
            return Path(model.place("weights", seed))
        return Path("results", self.study.name, "models", model.name, f"seed{seed}.json")
