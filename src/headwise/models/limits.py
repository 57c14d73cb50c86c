"""How many tokens a model takes, and which: read from its configuration, of a file or in memory.

Imported by what checks a study before it runs, so nothing heavy is imported here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headwise.models.shape import text_config

# What architectures of transformers call the length that they were made for in config.json; the last two: MPT, Kimi.
POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "model_max_length")
# Their positions are rows of a table and count from one behind the pad token's, so that the first rows serve no token.
COUNTED_FROM_THE_PAD_TOKEN = frozenset(
    {
        "camembert",
        "data2vec-text",
        "esm",
        "ibert",
        "longformer",
        "luke",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    }
)
PAD_TOKEN = 1  # of these architectures where a configuration names none


@dataclass(frozen=True)
class Limits:
    """tokens: rows of the embedding, so that ids end below it. positions: the longest text, in tokens. None: not known,
    or without a limit."""

    tokens: int | None = None
    positions: int | None = None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Limits":
        """From the content of config.json, or from `config.to_dict()` of a model in memory."""
        text = text_config(config)
        return cls(_positive(text.get("vocab_size")), usable_positions(text))


def usable_positions(config: Mapping[str, Any]) -> int | None:
    """The longest text, in tokens, that the configuration of a language model allows; None where it names no limit.

    RoBERTa and its kin have 514 positions of which 512 can be used (see `COUNTED_FROM_THE_PAD_TOKEN`).
    """
    positions = next(filter(None, (_positive(config.get(name)) for name in POSITIONS)), None)
    counted = config.get("model_type") in COUNTED_FROM_THE_PAD_TOKEN
    if positions is None or not counted or config.get("position_embedding_type", "absolute") != "absolute":
        return positions
    # MPNet's is fixed, whatever its configuration says.
    pad = PAD_TOKEN if config["model_type"] == "mpnet" else config.get("pad_token_id", PAD_TOKEN)
    return positions - pad - 1


def _positive(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
