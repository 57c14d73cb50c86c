"""A whole study file: its sections, and what follows from them for each model."""

from collections.abc import Mapping
from functools import cache, cached_property
from typing import Any, ClassVar, TypeVar

from pydantic import Field, ModelWrapValidatorHandler, create_model, model_validator

from headwise.study.comparison import Comparison
from headwise.study.consistency import consistency_problems
from headwise.study.data import Corpus, Prompts, Tokenizer
from headwise.study.extraction import Extraction
from headwise.study.models import (
    AlignedModel,
    AnyModel,
    HubModel,
    LoadedModel,
    Loading,
    Model,
    StudyModel,
    TrainedModel,
)
from headwise.study.section import Name, Section, Seed
from headwise.study.sections import section_fields
from headwise.study.training import Alignment, Decoder, Dpo, Sft, Training

S = TypeVar("S", bound=Section)


class Study(Section):
    """A study: models, prompts, seeds, analyses."""

    former: ClassVar[Mapping[str, str]] = {
        "robustness": "its parts are sections of their own now: write noise, probe and recursion without it"
    }

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
    comparison: Comparison = Comparison()

    @model_validator(mode="wrap")
    @classmethod
    def _with_sections_of_analyses(cls, content: Any, handler: ModelWrapValidatorHandler["Study"]) -> "Study":
        whole = cls is not Study or isinstance(content, Study)
        return handler(content) if whole else study_model().model_validate(content)

    @model_validator(mode="after")
    def _consistent(self) -> "Study":
        if problems := consistency_problems(self):
            raise ValueError("\n".join(problems))
        return self

    def model(self, name: str) -> AnyModel:
        """The model of that name. Raises KeyError where there is none."""
        return self._models_by_name[name]

    @cached_property
    def _models_by_name(self) -> dict[str, AnyModel]:
        """Planning asks for models by name some ten times per job. Of several with one name, the first."""
        return {model.name: model for model in reversed(self.models)}

    def seeds_of(self, model: Model) -> list[int]:
        """The model's own seeds, else those of its base where it is made from one, else the study's.

        One checkpoint that was made elsewhere gives the same numbers at every seed, so it takes the study's first
        alone; refits that a model lists by seed are all taken.
        """
        if model.seeds is not None:
            return model.seeds
        if isinstance(model, HubModel) and model.repositories is not None:
            return list(model.repositories)
        if isinstance(model, LoadedModel) and not model.has_refits:
            return self.seeds[:1]
        if isinstance(model, AlignedModel) and model.base in self._models_by_name:
            return self.model(model.base).seeds or self.seeds
        return self.seeds

    def family_of(self, model: Model) -> str:
        """The unit of replication across models."""
        base = getattr(model, "base", None)
        return model.family or (self.family_of(self.model(base)) if base else model.name)

    def bases(self) -> list[Model]:
        """Models that do not descend from another of the study."""
        return [model for model in self.models if getattr(model, "base", None) is None]

    def reference(self) -> str:
        """Name of the base that the others are contrasted with: the one that `comparison` names, else the first."""
        return self.comparison.reference or self.bases()[0].name

    def descendants(self) -> list[Model]:
        """Models that are compared with a base."""
        return [model for model in self.models if getattr(model, "base", None) is not None]

    def method_of(self, model: Model) -> str | None:
        """How a model was aligned, as tables say it: its arm where the study made it; None for a base."""
        return model.arm if isinstance(model, AlignedModel) else getattr(model, "method", None)

    def settings_of(self, model: AlignedModel) -> Sft | Dpo:
        """The settings of its method, with the steps of its dose."""
        settings: Sft | Dpo = getattr(self.alignment, model.method)
        return settings.model_copy(update={"steps": settings.steps * model.dose})

    def extraction_of(self, model: Model) -> Extraction:
        """The study's extraction section with the model's own precision, template and first token."""
        own = {field: getattr(model, field, None) for field in ("dtype", "template", "first_token")}
        return self.extraction.model_copy(update={key: value for key, value in own.items() if value is not None})

    def loading_of(self, model: Model) -> Loading:
        """How the model's weights are brought into memory."""
        return Loading(**{field: getattr(model, field) for field in Loading.model_fields if hasattr(model, field)})

    def decoder_of(self, model: TrainedModel) -> Decoder:
        """The study's decoder section with the model's own changes."""
        return Decoder(**{**self.decoder.model_dump(), **model.decoder})

    def training_of(self, model: TrainedModel) -> Training:
        """The study's training section with the model's own changes."""
        return Training(**{**self.training.model_dump(), **model.training})

    def section(self, kind: type[S]) -> S:
        """The section of that class. Raises KeyError where the study leaves it out."""
        found = self.find(kind)
        if found is None:
            raise KeyError(kind.__name__)
        return found

    def find(self, kind: type[S]) -> S | None:
        """The section of that class; None where the study leaves it out."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return next((value for value in values if isinstance(value, kind)), None)


@cache
def study_model() -> type[Study]:
    """The model of a study file: `Study`, and the sections that analyses add."""
    return create_model(Study.__name__, __base__=Study, __doc__=Study.__doc__, **section_fields())
