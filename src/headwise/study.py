"""The study file: every field that a study may set, with its type, default, meaning and limits.

One pydantic model per section of `config/config.yaml`. Nothing else in headwise reads YAML. Imported by the Snakefile,
so nothing heavy is imported here.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

ESTIMATOR_FOLDER = Path(__file__).parent / "specialization" / "estimators"
# Statistics of pairs of heads that extraction computes when the estimator of the same name is selected.
PAIR_STATISTICS = ("hellinger", "js_divergence", "pattern_correlation", "output_cka")


def known_estimators() -> list[str]:
    """Names of the estimators: one module each under `specialization/estimators/`."""
    return sorted(path.stem for path in ESTIMATOR_FOLDER.glob("[a-z]*.py"))


class StudyError(ValueError):
    """A study file that cannot be run; the message names file, field and remedy, one problem per line."""


def _without_truth_values(section: Any) -> Any:
    """YAML reads `yes` as true, which would pass for 1. No field of a study takes a truth value."""
    for key, value in section.items() if isinstance(section, Mapping) else ():
        if any(isinstance(each, bool) for each in (value if isinstance(value, list) else [value])):
            raise ValueError(f"'{key}' has a truth value (yes, no, true, false): write a number or a quoted text")
    return section


class Section(BaseModel):
    """A section of the study file. Unknown keys are errors: a misspelt option must not be ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _numbers_and_text(cls, section: Any) -> Any:
        return _without_truth_values(section)


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Positive = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]


class Prompts(Section):
    """The prompt set that every model is measured on."""

    path: str = Field(description="File (JSON Lines with id, domain, text; or numbered text lines) or http(s) URL")
    sha256: Sha256 | None = Field(
        None, description="Digest that the file must have; without it, the SHA256SUMS beside the file must list it"
    )


class Corpus(Section):
    """The text that models are trained on."""

    source: Literal["standard_library", "text", "dataset"] = Field(
        "standard_library",
        description="standard_library: documentation of the running Python; text: a folder of .txt and .md files; "
        "dataset: a data set of the `datasets` library",
    )
    path: str | None = Field(None, description="Folder of files (text), or name of the data set (dataset)")
    split: str = Field("train", description="Split of the data set (dataset)")
    column: str = Field("text", description="Column of the data set that holds the text (dataset)")
    revision: str | None = Field(None, description="Pinned commit of the data set (dataset)")
    held_out: float = Field(0.05, gt=0, lt=0.5, description="Share of documents kept for evaluation, never trained on")

    @model_validator(mode="after")
    def _source_has_its_fields(self) -> "Corpus":
        if self.source != "standard_library" and self.path is None:
            raise ValueError(f"source '{self.source}' needs a path: add `path:` to the corpus section")
        if self.source == "dataset" and self.revision is None:
            raise ValueError("source 'dataset' needs a pinned revision: add `revision:` with a commit hash")
        return self


class Tokenizer(Section):
    """The byte-level BPE tokenizer that is trained on the corpus."""

    vocabulary: int = Field(1024, ge=300, le=100_000, description="Number of tokens, special tokens included")


class Decoder(Section):
    """Shape of the Llama-style decoders that are trained here; what all of them share."""

    layers: Positive = Field(4, description="Attention layers, each followed by a feed-forward layer")
    hidden: Positive = Field(64, description="Width of the residual stream")
    heads: Positive = Field(8, description="Attention heads per layer")
    key_value_heads: Positive | None = Field(None, description="Heads that hold keys and values; default: `heads`")
    head_width: int = Field(8, ge=2, multiple_of=2, description="Width of one head; even, for rotary positions")
    feed_forward: Positive = Field(192, description="Width of the feed-forward layers")
    positions: Positive = Field(256, description="Longest sequence, in tokens")
    window: Positive | None = Field(None, description="Sliding window in tokens; default: attend to all positions")

    @model_validator(mode="after")
    def _heads_divide(self) -> "Decoder":
        if self.key_value_heads and self.heads % self.key_value_heads:
            raise ValueError(
                f"key_value_heads {self.key_value_heads} does not divide heads {self.heads}: choose a divisor"
            )
        return self


class Training(Section):
    """Training from scratch: AdamW on random excerpts of the corpus, linear warm-up, cosine decay."""

    steps: Positive = Field(450, description="Optimiser steps")
    batch: Positive = Field(4, description="Excerpts per step")
    tokens: Positive = Field(128, description="Tokens per excerpt")
    learning_rate: Rate = Field(6e-3, description="Peak learning rate, after warm-up")
    warmup: int = Field(50, ge=0, description="Steps of linear warm-up")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay of AdamW")
    evaluate_every: Positive = Field(150, description="Steps between evaluations on held-out text")


class Sft(Section):
    """Supervised fine-tuning on prompt and response pairs derived from the corpus; loss on the response alone."""

    steps: Positive = Field(40, description="Optimiser steps")
    batch: Positive = Field(16, description="Pairs per step")
    learning_rate: Rate = Field(7e-4, description="Peak learning rate, after warm-up")
    warmup: int = Field(5, ge=0, description="Steps of linear warm-up")


class Dpo(Section):
    """Direct preference optimisation (Rafailov et al. 2023) on preference pairs derived from the corpus."""

    steps: Positive = Field(40, description="Optimiser steps")
    batch: Positive = Field(8, description="Preference pairs per step")
    learning_rate: Rate = Field(1e-3, description="Peak learning rate, after warm-up")
    warmup: int = Field(5, ge=0, description="Steps of linear warm-up")
    beta: Rate = Field(0.1, description="Strength of the pull towards the reference model")


class Alignment(Section):
    """How aligned descendants are made."""

    sft: Sft = Sft()
    dpo: Dpo = Dpo()


class Model(Section):
    """What every model of a study has."""

    name: Name = Field(description="Name of the model's folders, and in tables and figures")
    family: Name | None = Field(None, description="Unit of replication across models; default: the base's, or the name")
    seeds: list[Seed] | None = Field(None, min_length=1, description="Default: the study's seeds")


class TrainedModel(Model):
    """A base model trained from scratch; a seed sets initialisation and data order."""

    source: Literal["train"] = Field(description="Train this model here")
    decoder: dict[str, int | None] = Field({}, description="What differs from the study's decoder section")
    training: dict[str, int | float] = Field({}, description="What differs from the study's training section")

    @field_validator("decoder", "training", mode="before")
    @classmethod
    def _numbers(cls, changes: Any) -> Any:
        return _without_truth_values(changes)


class AlignedModel(Model):
    """An aligned descendant of a model of this study, made here; seed by seed."""

    source: Literal["align"] = Field(description="Make this model from a base of this study")
    base: Name = Field(description="The base model that it is made from and compared with")
    method: Literal["sft", "dpo"] = Field(description="sft: supervised fine-tuning; dpo: preference optimisation")


class FolderModel(Model):
    """A checkpoint on disk in the layout of transformers, with safetensors weights."""

    source: Literal["folder"] = Field(description="Read this model from disk")
    path: str = Field(description="Folder of the checkpoint")
    base: Name | None = Field(None, description="The base model that this model is compared with")
    method: Name | None = Field(None, description="How it was aligned, as its authors say")


StudyModel = Annotated[TrainedModel | AlignedModel | FolderModel, Field(discriminator="source")]


class Extraction(Section):
    """One forward pass per prompt, without padding."""

    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="Precision of the forward pass")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU where there is one")
    template: Literal["raw", "chat"] = Field("raw", description="chat: each prompt in the model's chat template")
    store: Literal["tensors", "statistics"] = Field(
        "tensors", description="statistics: do not store attention weights, only what estimators need"
    )
    max_tokens: int = Field(128, ge=2, description="A prompt with more tokens is an error, never cut")


class Specialization(Section):
    """Which estimators are computed."""

    estimators: list[str] = Field(
        default_factory=known_estimators, min_length=1, description="Names of estimators; default: all there are"
    )
    head_permutations: int = Field(200, ge=1, description="Random orders of heads within layers, for the check")

    def pair_statistics(self) -> list[str]:
        """Statistics of pairs of heads that the selected estimators need from extraction."""
        return [name for name in PAIR_STATISTICS if name in self.estimators]

    @field_validator("estimators")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in known_estimators():
                raise ValueError(f"unknown estimator '{name}': choose from {', '.join(known_estimators())}")
        if repeated := [name for name, count in Counter(names).items() if count > 1]:
            raise ValueError(f"estimator '{repeated[0]}' is listed twice: remove one")
        return names


class Comparison(Section):
    """What is declared before anything is computed."""

    primary: str = Field("hellinger", description="The one estimator that confirmatory tests use")
    equivalence_margin: Rate = Field(
        0.02, description="Largest change still called 'preserved', in the primary's units"
    )
    level: float = Field(0.05, gt=0, lt=0.5, description="Level of tests; intervals cover 1 − level")
    resamples: int = Field(10_000, ge=99, description="Monte Carlo permutations and bootstrap resamples")
    reference: Name | None = Field(
        None, description="Base model that other bases are contrasted with; default: the first"
    )


class Study(Section):
    """A study: models, prompts, seeds, analyses."""

    name: Name = Field(description="Folder under results/ that everything is written to")
    title: str = Field("", description="Headline of the report")
    seeds: list[Seed] = Field([1, 2, 3], min_length=1, description="Refits of trained models; protocol seeds of others")
    prompts: Prompts
    corpus: Corpus = Corpus()
    tokenizer: Tokenizer = Tokenizer()
    decoder: Decoder = Decoder()
    training: Training = Training()
    alignment: Alignment = Alignment()
    models: list[StudyModel] = Field(min_length=1)
    extraction: Extraction = Extraction()
    # A factory keeps the names of today's estimators out of the published schema: a new one is one new file.
    specialization: Specialization = Field(default_factory=Specialization)
    comparison: Comparison = Comparison()

    @model_validator(mode="after")
    def _consistent(self) -> "Study":
        problems = [*self._model_problems(), *self._shape_problems(), *self._comparison_problems()]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _model_problems(self) -> list[str]:
        problems = []
        names = Counter(model.name for model in self.models)
        problems += [
            f"models: '{name}' is defined {count} times: give each model its own name"
            for name, count in names.items()
            if count > 1
        ]
        if len(set(self.seeds)) < len(self.seeds):
            problems.append("seeds: a seed is listed twice: remove one")
        for position, model in enumerate(self.models):
            field = f"models.{position} ('{model.name}')"
            if model.seeds is not None and len(set(model.seeds)) < len(model.seeds):
                problems.append(f"{field}.seeds: a seed is listed twice: remove one")
            base = getattr(model, "base", None)
            if base is None:
                continue
            if base in names and isinstance(model, AlignedModel) and isinstance(self.model(base), FolderModel):
                problems.append(
                    f"{field}.base: '{base}' is read from a folder, and only models that this study trains can be "
                    "aligned here: name one of those, or align it elsewhere and give the result as `source: folder`"
                )
            elif base not in names:
                problems.append(f"{field}.base: there is no model '{base}': add it to models, or correct the name")
            elif base == model.name:
                problems.append(f"{field}.base: a model cannot be its own base: name the model it descends from")
            elif missing := set(self.seeds_of(model)) - set(self.seeds_of(self.model(base))):
                problems.append(f"{field}.seeds: base '{base}' has no seed {min(missing)}: add it there, or remove it")
            elif getattr(self.model(base), "base", None) is not None:
                problems.append(f"{field}.base: '{base}' is itself aligned: name the base that both descend from")
        return problems

    def _shape_problems(self) -> list[str]:
        problems = []
        for position, model in enumerate(self.models):
            if not isinstance(model, TrainedModel):
                continue
            for section, settings in (("decoder", self.decoder_of), ("training", self.training_of)):
                try:
                    settings(model)
                except ValidationError as error:
                    problems += [
                        f"models.{position} ('{model.name}').{section}{_dotted(detail['loc'])}: {_sentence(detail)}"
                        for detail in error.errors()
                    ]
                    break
            else:
                tokens, positions = self.training_of(model).tokens, self.decoder_of(model).positions
                if tokens > positions:
                    problems.append(
                        f"models.{position} ('{model.name}').training.tokens: {tokens} tokens do not fit into "
                        f"{positions} positions: lower training.tokens, or raise decoder.positions"
                    )
        return problems

    def _comparison_problems(self) -> list[str]:
        problems = []
        if self.comparison.primary not in self.specialization.estimators:
            problems.append(
                f"comparison.primary: '{self.comparison.primary}' is not among specialization.estimators: add it there"
            )
        reference = self.comparison.reference
        if reference is not None and reference not in [model.name for model in self.bases()]:
            problems.append(f"comparison.reference: there is no base model '{reference}': name one of models")
        return problems

    def model(self, name: str) -> TrainedModel | AlignedModel | FolderModel:
        """The model of that name. Raises KeyError where there is none."""
        for model in self.models:
            if model.name == name:
                return model
        raise KeyError(name)

    def seeds_of(self, model: Model) -> list[int]:
        """The model's own seeds, else those of its base where it is made from one, else the study's.

        A checkpoint from a folder gives the same numbers at every seed, so it takes the study's first alone.
        """
        if model.seeds is not None:
            return model.seeds
        if isinstance(model, FolderModel):
            return self.seeds[:1]
        if isinstance(model, AlignedModel) and model.base in [other.name for other in self.models]:
            return self.model(model.base).seeds or self.seeds
        return self.seeds

    def family_of(self, model: Model) -> str:
        """The unit of replication across models."""
        base = getattr(model, "base", None)
        return model.family or (self.family_of(self.model(base)) if base else model.name)

    def bases(self) -> list[Model]:
        """Models that do not descend from another of the study."""
        return [model for model in self.models if getattr(model, "base", None) is None]

    def descendants(self) -> list[Model]:
        """Models that are compared with a base."""
        return [model for model in self.models if getattr(model, "base", None) is not None]

    def decoder_of(self, model: TrainedModel) -> Decoder:
        """The study's decoder section with the model's own changes."""
        return Decoder(**{**self.decoder.model_dump(), **model.decoder})

    def training_of(self, model: TrainedModel) -> Training:
        """The study's training section with the model's own changes."""
        return Training(**{**self.training.model_dump(), **model.training})


def _dotted(location: tuple[int | str, ...]) -> str:
    return "".join(f".{part}" for part in location)


def _sentence(detail: Mapping[str, Any]) -> str:
    """What is wrong and what to do, from one error of pydantic."""
    if detail["type"] == "extra_forbidden":
        return "unknown key: correct its spelling or remove it"
    if detail["type"] == "missing":
        return "required but missing: add it"
    if detail["type"] == "union_tag_not_found":
        return "source is missing: add `source:` with one of 'train', 'align', 'folder'"
    if detail["type"] == "union_tag_invalid":
        return f"there is no source '{detail['ctx']['tag']}': choose from {detail['ctx']['expected_tags']}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] == "value_error":
        return message
    return f"{message} (got {detail['input']!r}): correct the value"


def parse_study(content: Any, source: str) -> Study:
    """Validate the content of a study file.

    Raises StudyError whose message has one line per problem: file, path of the field, what is wrong, what to do.
    """
    if not isinstance(content, Mapping):
        raise StudyError(f"{source}: not a mapping of sections: see config/README.md for what a study file holds")
    try:
        return Study.model_validate(content)
    except ValidationError as error:
        tags = {"train", "align", "folder"}
        lines = []
        for detail in error.errors():
            # A discriminated union puts the tag into the location; it is no field of the file.
            parts = [
                part
                for position, part in enumerate(detail["loc"])
                if not (position == 2 and detail["loc"][0] == "models" and part in tags)
            ]
            field = ".".join(map(str, parts))
            lines += [
                f"{source}: {field + ': ' if field else ''}{problem}" for problem in _sentence(detail).split("\n")
            ]
        raise StudyError("\n".join(lines)) from None


def load_study(path: str | Path) -> Study:
    """Read and validate a study file. Raises StudyError, naming the file, also where it is missing or no YAML."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(f"{path}: there is no such study file: check the path") from None
    except OSError as error:
        raise StudyError(f"{path}: cannot be read ({error.strerror}): give a readable file") from None
    except UnicodeDecodeError:
        raise StudyError(f"{path}: not UTF-8: save the file in that encoding") from None
    except yaml.YAMLError as error:
        raise StudyError(f"{path}: not valid YAML: {' '.join(str(error).split())}: correct the file") from None
    return parse_study(content, str(path))


def check_paths(study: Study, root: Path, source: str) -> None:
    """Refuse a study whose folders are not there; relative paths start from `root`.

    Raises StudyError like `parse_study`.
    """
    named = [
        (f"models.{position} ('{model.name}').path", model.path)
        for position, model in enumerate(study.models)
        if isinstance(model, FolderModel)
    ]
    if study.corpus.source == "text":
        named.append(("corpus.path", str(study.corpus.path)))
    problems = [
        f"{source}: {field}: there is no folder {path}: correct the path"
        for field, path in named
        if not (root / path).is_dir()
    ]
    if problems:
        raise StudyError("\n".join(problems))


def study_schema() -> dict[str, Any]:
    """JSON Schema of the study file, for editors; published under workflow/schemas/."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Study.model_json_schema()}
