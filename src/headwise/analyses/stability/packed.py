"""Attention of a refit as it lies in its tensor Parquet: packed, float16, one prompt at a time.

Comparing refits needs no square matrices: the packed lower triangle of a prompt is a vector per head, and that of its
first t tokens is the beginning of that vector. Nothing of torch is imported, since its import takes longer than the
comparison.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet

from headwise.runtime.parquet import open_parquet, read_metadata, reading

HalfArray = npt.NDArray[np.float16]
COLUMNS = ("prompt", "layer", "head", "tokens", "weights")


class StabilityError(ValueError):
    """Refits that cannot be compared; the message names the files, what differs and what to do."""


@dataclass(frozen=True, eq=False)
class PackedAttention:
    """The attention of one refit on P prompts, in L attention layers of H heads; read a prompt at a time.

    support     "causal": a prompt of T tokens has T (T + 1) / 2 entries per head, row by row; "full": T²
    layers      (L,) indices of the attention layers in the model
    prompts     P prompt ids, in the order of the file
    tokens      (P,) tokens of each prompt
    row_groups  where each prompt's rows lie
    """

    path: Path
    parquet: pyarrow.parquet.ParquetFile
    support: str
    layers: tuple[int, ...]
    heads: int
    prompts: tuple[str, ...]
    tokens: npt.NDArray[np.int64]
    row_groups: tuple[tuple[int, ...], ...]
    metadata: dict[str, Any]

    def entries(self, tokens: int) -> int:
        """Entries per head of a prompt, or of the beginning of one, of so many tokens."""
        return tokens * (tokens + 1) // 2 if self.support == "causal" else tokens**2

    def read(self, position: int) -> HalfArray:
        """The attention of the prompt at a position: float16 (L, H, entries)."""
        with reading(self.path):
            table = self.parquet.read_row_groups(list(self.row_groups[position]), columns=["prompt", "weights"])
        chosen = table["prompt"].combine_chunks().to_numpy(zero_copy_only=False) == self.prompts[position]
        if not chosen.all():
            table = table.filter(chosen)
        weights = table["weights"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return weights.reshape(len(self.layers), self.heads, self.entries(int(self.tokens[position])))


@contextmanager
def packed_attention(path: str | Path) -> Iterator[PackedAttention]:
    """Open a tensor Parquet for reading, prompt by prompt.

    Raises StabilityError, naming the file, where it has not one row per prompt, layer and head, in that order.
    """
    path = Path(path)
    with open_parquet(path, COLUMNS) as parquet:
        rows: dict[str, list[int]] = {}
        groups: dict[str, list[int]] = {}
        tokens: dict[str, int] = {}
        places: list[npt.NDArray[np.int64]] = []
        for group in range(parquet.num_row_groups):
            with reading(path):
                table = parquet.read_row_group(group, columns=["prompt", "layer", "head", "tokens"])
            names = table["prompt"].to_numpy()
            places.append(np.stack([table["layer"].to_numpy(), table["head"].to_numpy()]).astype(np.int64))
            for name in dict.fromkeys(names):
                here = names == name
                groups.setdefault(name, []).append(group)
                rows.setdefault(name, []).append(int(here.sum()))
                tokens[name] = int(table["tokens"].to_numpy()[here][0])
        layer, head = np.concatenate(places, axis=1) if places else np.empty((2, 0), np.int64)
        layers, heads = tuple(dict.fromkeys(layer.tolist())), int(head.max(initial=-1)) + 1
        expected = np.tile(np.indices((len(layers), heads)).reshape(2, -1), len(rows))
        if len(layer) != expected.shape[1] or not (
            np.array_equal(np.array(layers)[expected[0]], layer) and np.array_equal(expected[1], head)
        ):
            raise StabilityError(
                f"{path}: rows are not one per prompt, layer and head, in that order: extract it again"
            )
        metadata = read_metadata(path)
        yield PackedAttention(
            path,
            parquet,
            metadata["support"],
            layers,
            heads,
            tuple(rows),
            np.array(list(tokens.values()), dtype=np.int64),
            tuple(tuple(group) for group in groups.values()),
            metadata,
        )


def check_alike(refits: Sequence[PackedAttention]) -> None:
    """Raise StabilityError where refits differ in what makes them comparable, naming two of them and the difference."""
    if len(refits) < 2:
        names = refits[0].path if refits else "no file"
        raise StabilityError(f"{names}: one refit has nothing to be compared with: give two or more")
    first = refits[0]
    for other in refits[1:]:
        for what, one, two in (
            ("attention layers", len(first.layers), len(other.layers)),
            ("heads per layer", first.heads, other.heads),
            ("support", first.support, other.support),
        ):
            if one != two:
                raise StabilityError(
                    f"{first.path} and {other.path} have different {what} ({one} and {two}), "
                    "and refits have the same shape: put them into different groups"
                )
        if first.metadata.get("tokens_digest") != other.metadata.get("tokens_digest"):
            raise StabilityError(
                f"{first.path} and {other.path} read different tokens: their tokenizers, templates or prompts differ: "
                "put them into different groups, or give them the same tokenizer and prompts"
            )
        if first.prompts != other.prompts or not np.array_equal(first.tokens, other.tokens):
            raise StabilityError(f"{first.path} and {other.path} hold different prompts: extract both again")
