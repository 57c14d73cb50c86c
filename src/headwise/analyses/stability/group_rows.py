"""The tables of one group of refits: what its models and their attention say, before anything is summed up."""

from dataclasses import dataclass
from typing import ClassVar

from headwise.analyses.stability.names import Analysis, Measure, Pairing, Replacement, TakenFrom, Version, Weights
from headwise.tables.row import Row, column

REFIT = "Position of the refit in its group"
OTHER_REFIT = "Position of the refit that it is compared with"
LAYER = "Layer"
HEAD = "Head"
WORDS = "Prompts cut to their first words; null: whole prompts"


@dataclass(frozen=True, kw_only=True)
class Beginning(Row):
    """How many tokens the first words of a prompt are."""

    table: ClassVar[str] = "beginnings"
    words: int = column("First words of the prompt")
    prompt: str = column("Id of the prompt")
    tokens: int = column("Tokens of these words")


@dataclass(frozen=True, kw_only=True)
class StreamSimilarity(Row):
    """Centred kernel alignment of the residual streams of two refits; the kernel is a measure."""

    table: ClassVar[str] = "residual"
    weights: Weights = column("trained; random: models with random weights, the control")
    layer: int = column(LAYER)
    site: TakenFrom = column("Where the stream is read")
    kernel: Measure = column("Kernel and estimate")
    refit: int = column(REFIT)
    other: int = column(OTHER_REFIT)
    value: float | None = column("Similarity; null where a stream does not vary", default=None)
    tokens: int = column("Tokens that were compared")


@dataclass(frozen=True, kw_only=True)
class HeadSimilarity(Row):
    """How alike two heads of one layer are in what they do: what they write, or what their ablation costs."""

    table: ClassVar[str] = "similarities"
    weights: Weights = column("trained; random: models with random weights, the control")
    measure: Measure = column("What is compared")
    pairing: Pairing = column("Whether both heads read the same text")
    layer: int = column(LAYER)
    refit: int = column(REFIT)
    head: int = column(HEAD)
    other: int = column(OTHER_REFIT)
    other_head: int = column("Head of the other refit")
    value: float | None = column("Similarity; null where one of them does not vary", default=None)


@dataclass(frozen=True, kw_only=True)
class HeadImportance(Row):
    """What the ablation of a head costs on a text."""

    table: ClassVar[str] = "importance"
    refit: int = column(REFIT)
    layer: int = column(LAYER)
    head: int = column(HEAD)
    text: TakenFrom = column("What the loss is measured on")
    replacement: Replacement = column("What stands in place of the head's output")
    delta_perplexity: float | None = column("Change of perplexity; null beyond the largest number", default=None)
    delta_loss_nats: float = column("Change of the mean loss", unit="nats per token")


@dataclass(frozen=True, kw_only=True)
class ModelLoss(Row):
    """Loss of a whole model on a text."""

    table: ClassVar[str] = "losses"
    refit: int = column(REFIT)
    text: TakenFrom = column("What the loss is measured on")
    loss_nats: float = column("Mean loss", unit="nats per token")
    tokens: int = column("Tokens that were predicted")


@dataclass(frozen=True, kw_only=True)
class MatrixNorm(Row):
    """Frobenius norm of a matrix of a layer."""

    table: ClassVar[str] = "norms"
    refit: int = column(REFIT)
    layer: int = column(LAYER)
    matrix: TakenFrom = column("Which matrix")
    version: Version = column("published: as TransformerLens loads the matrix; corrected: as it is")
    norm: float | None = column("Its Frobenius norm", default=None)


@dataclass(frozen=True, kw_only=True)
class PairCosine(Row):
    """Cosine of one-to-one matched heads of two refits, mean over the heads of a layer."""

    table: ClassVar[str] = "pairs"
    weights: Weights = column("trained; random: models with random weights, the control")
    measure: Measure = column("What is compared")
    words: int | None = column(WORDS, default=None)
    pairing: Pairing = column("Whether both read the same prompt")
    refit: int = column(REFIT)
    other: int = column(OTHER_REFIT)
    layer: int = column(LAYER)
    value: float | None = column("The mean; null where a head has no direction", default=None)


@dataclass(frozen=True, kw_only=True)
class HeadValue(Row):
    """A number of one head: its stability, over all refits but its own, or its commonness within its refit."""

    table: ClassVar[str] = "heads"
    weights: Weights = column("trained; random: models with random weights, the control")
    analysis: Analysis = column("What the number is")
    version: Version = column("published: of the anchor alone; corrected: of every refit")
    measure: Measure = column("What is compared")
    words: int | None = column(WORDS, default=None)
    pairing: Pairing = column("Whether both heads read the same prompt")
    refit: int = column(REFIT)
    layer: int = column(LAYER)
    head: int = column(HEAD)
    value: float | None = column("The number; null where a head has no direction", default=None)


@dataclass(frozen=True, kw_only=True)
class MatchCount(Row):
    """How many best matches of a layer's heads lie in a layer."""

    table: ClassVar[str] = "origins"
    weights: Weights = column("trained; random: models with random weights, the control")
    version: Version = column("published: of the anchor, itself included; corrected: of all pairs of refits")
    layer: int = column("Layer of the heads")
    origin_layer: int = column("Layer of their best matches")
    matches: int = column("Number of matches")


PROBED = (Beginning, HeadSimilarity, StreamSimilarity, HeadImportance, ModelLoss, MatrixNorm)
COMPARED = (PairCosine, HeadValue, MatchCount)
