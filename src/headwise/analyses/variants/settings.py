"""The section about variants: other ways to extract attention, and how far each moves every estimator."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from headwise.study.decoders import decoders
from headwise.study.extraction import Extraction, FirstToken
from headwise.study.models import Model
from headwise.study.name_consistency import alike
from headwise.study.section import Name, Positive, Section, Seed, Whole

if TYPE_CHECKING:
    from headwise.study.study import Study

# The name of the study's own extraction among variants.
STUDY = "study"


class Variant(Section):
    """One way to extract attention. What it does not name is as in the study's own extraction of the model."""

    name: Name = Field(description="Name in tables and figures")
    reference: Name = Field(
        STUDY, description="The variant that this one is compared with; `study` is the study's own extraction"
    )
    padding: Literal["none", "left", "right", "tokenizer"] = Field(
        "none", description="Side on which prompts are padded; tokenizer: the side that the model's tokenizer names"
    )
    pad_to: Whole = Field(128, ge=2, description="Tokens of a padded prompt; a longer prompt is never cut")
    pad_token: Literal["tokenizer", "eos", "bos", "unknown"] = Field(
        "tokenizer", description="tokenizer: the tokenizer's own pad token, or its end token where it has none"
    )
    averaging: Literal["masked", "unmasked", "leading"] = Field(
        "masked",
        description="Queries and keys that enter statistics. masked: real tokens; unmasked: pads as well; "
        "leading: the first n positions, n the number of real tokens, on whichever side the pads are",
    )
    position_ids: Literal["mask", "model"] = Field(
        "mask", description="mask: the first real token is at position 0; model: not given, the model counts itself"
    )
    template: Literal["raw", "chat", "chat_or_raw"] | None = Field(
        None,
        description="chat_or_raw: raw where the tokenizer has no chat template; default: as in the study",
    )
    first_token: FirstToken | None = Field(
        None,
        description="What raw text begins with: the tokenizer's own tokens, none, or its BOS token; default: as in the "
        "study",
    )
    special_tokens: Literal["once", "twice"] = Field(
        "once", description="twice: the tokenizer adds its own to those that the chat template has written"
    )
    dtype: Literal["float32", "bfloat16", "float16"] | None = Field(
        None, description="Precision of the forward pass; default: as in the study"
    )

    @model_validator(mode="after")
    def _every_field_acts(self) -> "Variant":
        if self.padding == "none":
            fields = ("pad_to", "pad_token", "averaging", "position_ids")
            if idle := [field for field in fields if getattr(self, field) != type(self).model_fields[field].default]:
                raise ValueError(f"{idle[0]} acts on padded prompts alone: set padding, or remove {idle[0]}")
        if self.special_tokens == "twice" and self.template not in ("chat", "chat_or_raw"):
            raise ValueError("special_tokens 'twice' needs a chat template: set template to chat or chat_or_raw")
        if self.first_token is not None and self.template == "chat":
            raise ValueError("first_token acts on raw text, and a chat template writes its own: remove one of the two")
        return self

    def resolved(self, extraction: Extraction) -> "Variant":
        """The same with the study's template, first token and dtype where it names none.

        In a chat template, which writes its own, the first token is no choice: `tokenizer`.
        """
        fields = ("template", "first_token", "dtype")
        found = {field: getattr(extraction, field) for field in fields if getattr(self, field) is None}
        if found.get("template", self.template) == "chat":
            found["first_token"] = "tokenizer"
        return self.model_copy(update=found)

    def choices(self, reference: "Variant") -> list[str]:
        """The fields in which this variant differs from another; what acts on padded prompts alone counts for both."""
        same = {"name", "reference"}
        if "none" in (self.padding, reference.padding):
            same |= {"pad_to", "pad_token"}
        fields = [field for field in type(self).model_fields if field not in same]
        return [field for field in fields if getattr(self, field) != getattr(reference, field)]


class Variants(Section):
    """Which variants of the extraction are measured, on which models and prompts."""

    former: ClassVar[Mapping[str, str]] = {"protocols": "its name is `variants` now: rename it"}

    models: list[Name] | None = Field(None, min_length=1, description="Names of models; default: all of the study")
    seeds: list[Seed] | None = Field(None, min_length=1, description="Default: the first seed of each model")
    prompts: Positive | None = Field(
        None, description="Number of prompts, spread evenly over the prompt set in the order of ids; default: all"
    )
    variants: list[Variant] = Field([], description="The variants; default: none, and nothing is measured")

    @field_validator("variants")
    @classmethod
    def _comparable(cls, variants: list[Variant]) -> list[Variant]:
        known = own_and(variants)
        if repeated := [name for name, count in Counter(variant.name for variant in variants).items() if count > 1]:
            raise ValueError(f"variant '{repeated[0]}' is defined twice: give each its own name")
        for variant in variants:
            if variant.name == STUDY:
                raise ValueError(f"'{STUDY}' is the study's own extraction: give the variant another name")
            if variant.reference not in known:
                raise ValueError(
                    f"variant '{variant.name}': there is no variant '{variant.reference}' to compare with: "
                    "add it, or correct reference"
                )
            if not variant.choices(known[variant.reference]):
                raise ValueError(
                    f"variant '{variant.name}' differs in nothing from its reference '{variant.reference}': "
                    "change one of its fields, or remove it"
                )
        return variants


def own_and(variants: list[Variant]) -> dict[str, Variant]:
    """The study's own extraction and these variants, by name."""
    return {variant.name: variant for variant in (Variant(name=STUDY), *variants)}


SECTIONS = {"variants": (Variants, Variants())}


def measured_with_variants(study: "Study") -> list[tuple[Model, int]]:
    """The models and seeds that variants of the extraction are measured on."""
    settings = study.section(Variants)
    chosen = [model for model in study.models if settings.models is None or model.name in settings.models]
    seeds = {model.name: settings.seeds or study.seeds_of(model)[:1] for model in chosen}
    return [(model, seed) for model in chosen for seed in study.seeds_of(model) if seed in seeds[model.name]]


def problems(study: "Study") -> list[str]:
    """Sentences about variants that contradict the models, each naming the field."""
    settings = study.section(Variants)
    names = [model.name for model in study.models]
    found = alike("variants.variants", "names", (variant.name for variant in settings.variants))
    if missing := [name for name in settings.models or [] if name not in names]:
        return [*found, f"variants.models: there is no model '{missing[0]}': add it to models, or correct the name"]
    measured = dict.fromkeys(model.name for model, _ in measured_with_variants(study))
    if settings.variants and not measured:
        return [*found, "variants.seeds: none of the models has one of these seeds: name seeds that they have"]
    positions = {name: shape.positions for name, shape in decoders(study).items() if name in measured}
    return found + [
        f"variants.variants.{position} ('{variant.name}').pad_to: {variant.pad_to} tokens do not fit into the "
        f"{positions[name]} positions of '{name}': lower it, or raise decoder.positions"
        for position, variant in enumerate(settings.variants)
        for name in positions
        if variant.padding != "none" and variant.pad_to > positions[name]
    ]
