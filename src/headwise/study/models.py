"""The models of a study, by where they come from."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from headwise.study.section import Name, Section, Seed, without_truth_values

# A change to one field of a section, which that section checks.
Setting = int | float | str | None


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

    @field_validator("decoder", "training", mode="before")
    @classmethod
    def _numbers(cls, changes: Any) -> Any:
        return without_truth_values(changes)


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
