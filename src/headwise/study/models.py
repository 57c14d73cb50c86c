"""The models of a study, by where they come from."""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StrictBool, ValidatorFunctionWrapHandler, field_validator, model_validator

from headwise.study.extraction import Dtype, FirstToken, Template
from headwise.study.section import Name, Place, Positive, Section, Seed, Whole, shown, without_truth_values

COMMIT = "[0-9a-f]{40}"
SEED = "{seed}"

Repository = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.{}-]*(/[A-Za-z0-9_.{}-]+)?$")]
Revision = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./{}-]*$")]
# A change to one field of a section, which that section checks.
Setting = Whole | float | str | None


class Model(Section):
    """What every model of a study has."""

    name: Name = Field(description="Name of the model's folders, and in tables and figures")
    family: Name | None = Field(None, description="Unit of replication across models; default: the base's, or the name")
    seeds: list[Seed] | None = Field(None, min_length=1, description="Default: the study's seeds")


class TrainedModel(Model):
    """A base model trained from scratch; a seed sets initialisation and data order."""

    source: Literal["train"] = Field(description="Train this model here")
    decoder: dict[str, Setting] = Field({}, description="What differs from the study's decoder section")
    training: dict[str, Setting] = Field({}, description="What differs from the study's training section")
    data: Literal["corpus", "grammar"] = Field(
        "corpus", description="Text it is trained on: the study's corpus, or synthetic sentences of a grammar"
    )

    @field_validator("decoder", "training", mode="before")
    @classmethod
    def _numbers(cls, changes: Any) -> Any:
        for key, value in changes.items() if isinstance(changes, Mapping) else ():
            # Told here once: whole numbers, numbers and texts would each say that they do not take it.
            is_infinite = isinstance(value, float) and not math.isfinite(value)
            if is_infinite or not isinstance(value, int | float | str | None):
                raise ValueError(f"'{key}' is {shown(value)}: write a finite number or a text")
        return without_truth_values(changes)


class AlignedModel(Model):
    """An aligned descendant of a model of this study, made here; seed by seed."""

    source: Literal["align"] = Field(description="Make this model from a base of this study")
    base: Name = Field(description="The base model that it is made from and compared with")
    method: Literal["sft", "dpo"] = Field(description="sft: supervised fine-tuning; dpo: preference optimisation")
    placebo: StrictBool = Field(
        False,
        description="true: what the method does to weights, without what it teaches. dpo: a fair coin per pair swaps "
        "chosen and rejected; sft: the same text without the template",
    )
    coin: Positive = Field(
        1,
        description="Which coin a placebo of dpo has: of an arm with several placebos each has another",
    )
    dose: Positive = Field(1, description="Optimiser steps are those of alignment.<method> times this")

    truth_values: ClassVar[frozenset[str]] = frozenset({"placebo"})

    @property
    def arm(self) -> str:
        """What tables call the way it was made: the method, with `_placebo`, and the dose where that is not 1."""
        return f"{self.method}{'_placebo' if self.placebo else ''}{f'_x{self.dose}' if self.dose > 1 else ''}"


class Placement(Section):
    """Where weights go, and in how many bits."""

    quantization: Literal["8bit", "4bit"] | None = Field(
        None, description="Load the weights in 8 or 4 bits: needs a GPU and the extra headwise[quantization]"
    )
    device_map: Literal["auto"] | None = Field(
        None,
        description="auto: spread the layers over all GPUs, then memory, then a temporary folder on disk: needs the "
        "extra headwise[accelerate]",
    )


class Loading(Placement):
    """How weights are brought into memory."""

    truth_values: ClassVar[frozenset[str]] = frozenset({"trust_remote_code"})

    trust_remote_code: StrictBool = Field(
        False,
        description="true: run the code that this repository brings. Only with a commit as `revision`; read it before",
    )


class Facts(Section):
    """What is known of a model before it is fetched. Resources are requested by it, and a model whose config.json says
    otherwise is refused before its weights are downloaded."""

    parameters: Positive = Field(description="Number of weights, within 1 percent")
    layers: Positive = Field(description="Layers")
    hidden: Positive = Field(description="Width of the residual stream")
    heads: Positive = Field(description="Attention heads per layer")
    key_value_heads: Positive = Field(description="Heads that hold keys and values")
    head_width: Positive = Field(description="Width of one head")
    window: Positive | None = Field(None, description="Smallest sliding window, in tokens; null: none")
    model_type: str | None = Field(
        None,
        description="`model_type` of config.json; where it is not stated, memory is requested for whole attention",
    )


class Download(Section):
    """What is fetched from one repository: the files named, else the tokenizer and, with `weights`, the checkpoint."""

    truth_values: ClassVar[frozenset[str]] = frozenset({"weights", "own_code"})

    repository: str
    revision: str
    files: tuple[str, ...] = ()
    weights: bool = False
    own_code: bool = False
    facts: Facts | None = None


class LoadedModel(Placement, Model):
    """What models have in common that were made elsewhere. Where `{seed}` stands in the name of a repository, folder or
    file, each seed reads a refit of its own; else a seed changes nothing in the model."""

    base: Name | None = Field(None, description="The base model that this model is compared with")
    method: Name | None = Field(None, description="How it was aligned, as its authors say")
    dtype: Dtype | None = Field(None, description="Precision of the forward pass; default: that of extraction")
    template: Template | None = Field(None, description="Template of the prompts; default: that of extraction")
    first_token: FirstToken | None = Field(None, description="What raw text begins with; default: as extraction has it")

    places: ClassVar[tuple[str, ...]] = ()
    # What decides how a model is measured, not what it is.
    measured_with: ClassVar[frozenset[str]] = frozenset(
        {"dtype", "template", "first_token", "quantization", "device_map", "facts"}
    )

    @model_validator(mode="after")
    def _placeholders(self) -> "LoadedModel":
        for field in self.places:
            if set("{}") & set(str(getattr(self, field)).replace(SEED, "")):
                raise ValueError(f"'{field}' has a brace that does not belong to {SEED}: remove it")
        return self

    @property
    def has_refits(self) -> bool:
        """Whether each seed reads weights of its own."""
        return any(SEED in str(getattr(self, field)) for field in self.places)

    def place(self, field: str, seed: int) -> str:
        """A repository, revision, folder or file as it is named for a seed."""
        return str(getattr(self, field)).replace(SEED, str(seed))

    def downloads(self, seed: int) -> list[Download]:
        """What must be fetched from a hub before the model can be read."""
        return []


class FolderModel(LoadedModel):
    """A checkpoint on disk in the layout of transformers, with safetensors weights."""

    source: Literal["folder"] = Field(description="Read this model from disk")
    path: Place = Field(description="Folder of the checkpoint; may hold {seed}")

    places: ClassVar[tuple[str, ...]] = ("path",)


class HubModel(Loading, LoadedModel):
    """A repository of a model hub with safetensors weights, fetched into the user's own cache."""

    source: Literal["hub"] = Field(description="Fetch this model from a hub")
    repository: Repository | None = Field(
        None, description="Organisation and name, as in EleutherAI/pythia-14m; may hold {seed}"
    )
    repositories: dict[Seed, Repository] | None = Field(
        None,
        min_length=1,
        description="Instead of `repository`: one for each seed, where refits have names of their own",
    )
    revision: Revision = Field(
        "main",
        description="Commit (40 hexadecimal digits), or a branch or tag, whose commit goes into the lock file then; "
        "may hold {seed}",
    )
    facts: Facts | None = Field(None, description="What is known of it beforehand; default: asked of the hub")

    places: ClassVar[tuple[str, ...]] = ("repository", "revision")

    @field_validator("repositories", mode="wrap")
    @classmethod
    def _one_for_each_seed(cls, written: Any, validated: ValidatorFunctionWrapHandler) -> Any:
        repositories = validated(written)
        if repositories is not None and len(repositories) < len(written):
            raise ValueError("a seed is written twice, once as a text: keep one of them")
        return repositories

    @model_validator(mode="after")
    def _one_place(self) -> "HubModel":
        if (self.repository is None) == (self.repositories is None):
            raise ValueError("give the place once: `repository`, or `repositories` with one for each seed")
        return self

    @model_validator(mode="after")
    def _code_is_pinned(self) -> "HubModel":
        if self.trust_remote_code and not re.fullmatch(COMMIT, self.revision):
            raise ValueError(
                f"trust_remote_code runs the code of the repository, and '{self.revision}' may become other code "
                "tomorrow: set `revision` to the 40 hexadecimal digits of the commit that you have read"
            )
        return self

    @property
    def has_refits(self) -> bool:
        """Whether each seed reads weights of its own."""
        return self.repositories is not None or super().has_refits

    def place(self, field: str, seed: int) -> str:
        """A repository or revision as it is named for a seed."""
        if field == "repository" and self.repositories is not None:
            return self.repositories[seed]
        return super().place(field, seed)

    def downloads(self, seed: int) -> list[Download]:
        """The repository: tokenizer, weights, and its code where that is trusted."""
        repository, revision = self.place("repository", seed), self.place("revision", seed)
        own_code, facts = self.trust_remote_code, self.facts
        return [Download(repository=repository, revision=revision, weights=True, own_code=own_code, facts=facts)]


class TransformerLensModel(LoadedModel):
    """Weights that TransformerLens saved (`torch.save(model.state_dict())`), converted to a model of transformers."""

    source: Literal["transformer_lens"] = Field(description="Convert weights of TransformerLens")
    weights: Place = Field(description="The .pt file, on disk or in `repository`; may hold {seed}")
    config: Place | None = Field(None, description="JSON file on disk with the model's HookedTransformerConfig")
    repository: Repository | None = Field(None, description="Hub repository of the weights; default: they are on disk")
    revision: Revision = Field("main", description="As for `source: hub`; of `repository`")
    repository_config: Place | None = Field(None, description="The JSON file in `repository`, instead of `config`")
    tokenizer: Place | None = Field(None, description="Folder on disk with the tokenizer")
    tokenizer_repository: Repository | None = Field(None, description="Hub repository of the tokenizer, instead")
    tokenizer_revision: Revision = Field("main", description="As for `source: hub`; of `tokenizer_repository`")

    facts: Facts | None = Field(None, description="What is known of it beforehand; resources are requested by it")

    places: ClassVar[tuple[str, ...]] = ("weights", "repository", "revision")

    @model_validator(mode="after")
    def _files_of_all_seeds(self) -> "TransformerLensModel":
        for field in ("config", "repository_config", "tokenizer"):
            if set("{}") & set(getattr(self, field) or ""):
                raise ValueError(f"'{field}' has a brace, and is the same at every seed: give it a name without")
        return self

    @model_validator(mode="after")
    def _has_its_files(self) -> "TransformerLensModel":
        if (self.config is None) == (self.repository_config is None):
            raise ValueError("give the configuration once: `config` on disk, or `repository_config`")
        if self.repository_config is not None and self.repository is None:
            raise ValueError("`repository_config` is a file in `repository`: add that, or give `config` on disk")
        if (self.tokenizer is None) == (self.tokenizer_repository is None):
            raise ValueError("give the tokenizer once: `tokenizer` on disk, or `tokenizer_repository`")
        return self

    def downloads(self, seed: int) -> list[Download]:
        """The weights, with the configuration where it lies beside them, and the tokenizer; none that is on disk."""
        downloads = []
        if self.repository is not None:
            files = [self.place("weights", seed), *([self.repository_config] if self.repository_config else [])]
            repository, revision = self.place("repository", seed), self.place("revision", seed)
            downloads.append(Download(repository=repository, revision=revision, files=tuple(files)))
        if self.tokenizer_repository is not None:
            downloads.append(Download(repository=self.tokenizer_repository, revision=self.tokenizer_revision))
        return downloads


AnyModel = TrainedModel | AlignedModel | FolderModel | HubModel | TransformerLensModel
StudyModel = Annotated[AnyModel, Field(discriminator="source")]
