"""Sections about text: the prompts that models are measured on, the corpus and tokenizer that they are trained with."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from headwise.study.section import ONCE, Commit, Place, Positive, Section, Sha256

Package = Literal["networkx", "numpy", "pandas", "scikit-learn", "scipy", "statsmodels"]


class Prompts(Section):
    """The prompt set that every model is measured on."""

    path: Place = Field(description="File (JSON Lines with id, domain, text; or numbered text lines) or http(s) URL")
    sha256: Sha256 | None = Field(
        None, description="Digest that the file must have; without it, the SHA256SUMS beside the file must list it"
    )


class Corpus(Section):
    """The text that models are trained on."""

    source: Literal["standard_library", "packages", "text", "dataset", "grammar"] = Field(
        "standard_library",
        description="standard_library: documentation of the running Python; packages: that of scientific packages in "
        "pinned versions, the same on every machine; text: a folder of .txt and .md files; dataset: a data set of the "
        "`datasets` library; grammar: synthetic sentences",
    )
    packages: Annotated[list[Package], ONCE] | None = Field(
        None, min_length=1, description="Read these packages alone; default: all of them (packages)"
    )
    path: Place | None = Field(None, description="Folder of files (text); name on the hub, or folder (dataset)")
    configuration: str | None = Field(None, description="Of a data set that has several, the one to read (dataset)")
    split: str = Field("train", description="Split of the data set (dataset)")
    column: str = Field("text", description="Column of the data set that holds the text (dataset)")
    revision: Commit | None = Field(None, description="Pinned commit of a data set on the hub (dataset)")
    rows: Positive | None = Field(None, description="Read the first rows alone; default: all of the split (dataset)")
    sha256: Sha256 | None = Field(
        None, description="Digest that the built corpus must have (`digest` in corpus.json); without it, any is taken"
    )
    held_out: float = Field(0.05, gt=0, lt=0.5, description="Share of documents kept for evaluation, never trained on")
    validation: float = Field(
        0.0,
        ge=0,
        lt=0.5,
        description="Share of documents that decide when training stops (`training.until_loss`), and nothing else",
    )

    @model_validator(mode="after")
    def _source_has_its_fields(self) -> "Corpus":
        if self.source in ("text", "dataset") and self.path is None:
            raise ValueError(f"source '{self.source}' needs a path: add `path:` to the corpus section")
        return self


class Tokenizer(Section):
    """The byte-level BPE tokenizer that is trained on the corpus."""

    vocabulary: int = Field(1024, ge=300, le=100_000, description="Number of tokens, special tokens included")
