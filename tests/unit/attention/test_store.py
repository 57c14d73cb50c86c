"""Stored attention is the measured one rounded to float16, and any tool reads it."""

import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas
import polars
import pyarrow.parquet
import pytest
import torch
from attention_examples import layer_attention, random_attention
from torch import Tensor

from headwise.attention.layer_statistics import head_statistics, pair_statistics
from headwise.attention.sinks import SINKS
from headwise.attention.store import (
    HeadStatisticsWriter,
    PairStatisticsWriter,
    TensorWriter,
    pack,
    read_layer,
    stream,
    unpack,
)
from headwise.runtime.parquet import read_metadata

HEADS = 3
PROMPTS = {"a": 5, "b": 9, "c": 1}
LAYERS = (0, 2)


def attention_of(prompt: str, layer: int, support: str = "causal") -> Tensor:
    return random_attention(HEADS, PROMPTS[prompt], support, seed=100 * ord(prompt) + layer, sharpness=6)


def write_all(path: Path, support: str = "causal") -> Path:
    with TensorWriter.open(path, support, {"model": "tiny"}) as writer:
        for prompt in PROMPTS:
            for layer in LAYERS:
                writer.add(prompt, layer, attention_of(prompt, layer, support))
    return path


def rounded(weights: Tensor) -> np.ndarray:
    return weights.numpy().astype(np.float16).astype(np.float32)


@pytest.fixture(params=["causal", "full"])
def stored(request, tmp_path) -> tuple[Path, str]:
    return write_all(tmp_path / "attention.parquet", request.param), request.param


def test_layers_come_back_rounded_to_float16(stored):
    path, support = stored
    for prompt in PROMPTS:
        for layer in LAYERS:
            weights = read_layer(path, prompt, layer)
            assert weights.dtype == np.float32
            assert np.array_equal(weights, rounded(attention_of(prompt, layer, support)))


def test_streaming_yields_every_layer_in_order(stored):
    path, support = stored
    layers = list(stream(path))
    assert [(each.prompt, each.layer) for each in layers] == [(p, layer) for p in PROMPTS for layer in LAYERS]
    for each in layers:
        assert np.array_equal(each.weights, rounded(attention_of(each.prompt, each.layer, support)))


def test_packing_is_the_lower_triangle_row_by_row():
    weights = torch.arange(9.0).view(1, 3, 3).tril()
    assert pack(weights, "causal").tolist() == [[0, 3, 4, 6, 7, 8]]
    assert np.array_equal(unpack(pack(weights, "causal"), 3, "causal"), weights.numpy())
    assert pack(weights + 1, "full").tolist() == [[1, 1, 1, 4, 5, 1, 7, 8, 9]]


def test_storage_rounds_to_eleven_bits_and_flushes_what_is_tiny():
    weights = random_attention(HEADS, 30, "causal", seed=1, sharpness=6)
    stored = torch.from_numpy(unpack(pack(weights, "causal"), 30, "causal"))
    normal = weights >= torch.finfo(torch.float16).smallest_normal
    assert ((stored - weights).abs()[normal] <= weights[normal] * 2**-11).all()
    assert (stored - weights).abs()[~normal].max() <= 2**-25
    assert (stored[weights < 2**-25] == 0).all()


def test_pandas_duckdb_and_polars_read_the_same_numbers(stored):
    path, support = stored
    by_pandas = pandas.read_parquet(path)
    by_polars = polars.read_parquet(path)
    by_duckdb = duckdb.connect().execute("select * from read_parquet(?)", [str(path)]).fetchall()
    assert list(by_pandas.columns) == by_polars.columns == ["prompt", "layer", "head", "tokens", "weights"]
    expected = [
        (prompt, layer, head, tokens, pack(attention_of(prompt, layer, support), support)[head].tolist())
        for prompt, tokens in PROMPTS.items()
        for layer in LAYERS
        for head in range(HEADS)
    ]
    assert [(*row[:4], list(row[4])) for row in by_pandas.itertuples(index=False, name=None)] == expected
    assert [(*row[:4], list(row[4])) for row in by_polars.rows()] == expected
    assert by_duckdb == expected


def test_the_schema_is_the_documented_one(stored):
    path, support = stored
    schema = pyarrow.parquet.read_schema(path)
    assert {field.name: str(field.type) for field in schema} == {
        "prompt": "string",
        "layer": "int16",
        "head": "int16",
        "tokens": "int32",
        "weights": "list<element: halffloat not null>",
    }
    metadata = read_metadata(path)
    assert (metadata["support"], metadata["model"]) == (support, "tiny")
    assert pyarrow.parquet.read_metadata(path).row_group(0).column(4).compression == "ZSTD"


def test_each_prompt_has_its_row_group_and_layers_are_never_split(tmp_path, monkeypatch):
    def groups(path: Path) -> list[list[tuple[str, int]]]:
        file = pyarrow.parquet.ParquetFile(path)
        tables = [file.read_row_group(index).to_pylist() for index in range(file.num_row_groups)]
        return [[(row["prompt"], row["layer"]) for row in table] for table in tables]

    by_prompt = groups(write_all(tmp_path / "a.parquet"))
    assert by_prompt == [[(prompt, layer) for layer in LAYERS for _ in range(HEADS)] for prompt in PROMPTS]
    # Where one layer fills the buffer, nothing is held beyond it.
    monkeypatch.setattr("headwise.attention.store.BUFFER_BYTES", 1)
    by_layer = groups(write_all(tmp_path / "b.parquet"))
    assert by_layer == [[(prompt, layer)] * HEADS for prompt in PROMPTS for layer in LAYERS]
    assert len(list(stream(tmp_path / "b.parquet"))) == len(PROMPTS) * len(LAYERS)


def test_what_is_written_does_not_wait_for_the_end(tmp_path):
    weights = random_attention(HEADS, 64, "causal", seed=1)
    sizes = []
    with TensorWriter.open(tmp_path / "a.parquet", "causal", {}) as writer:
        for prompt in range(20):
            writer.add(f"{prompt:02}", 0, weights)
            sizes.append(next(tmp_path.glob(".*.partial")).stat().st_size)
    assert sizes[-1] > 15 * pack(weights, "causal").nbytes // 2


def test_files_are_equal_byte_for_byte(tmp_path):
    assert write_all(tmp_path / "a.parquet").read_bytes() == write_all(tmp_path / "b.parquet").read_bytes()


@pytest.mark.parametrize("earlier", [False, True])
def test_an_error_leaves_nothing_and_keeps_an_earlier_file(tmp_path, earlier):
    path = tmp_path / "attention.parquet"
    before = {write_all(path): path.read_bytes()} if earlier else {}

    def write_and_fail() -> None:
        with TensorWriter.open(path, "causal", {}) as writer:
            writer.add("a", 0, attention_of("a", 0))
            writer.add("b", 0, attention_of("b", 0))
            assert path.exists() is earlier
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_and_fail()
    assert {each: each.read_bytes() for each in tmp_path.iterdir()} == before


@pytest.mark.slow
def test_a_killed_process_leaves_no_file_under_the_final_name(tmp_path):
    program = """
import os, signal, sys, torch
from pathlib import Path
from headwise.attention.store import TensorWriter
with TensorWriter.open(Path(sys.argv[1]), "causal", {}) as writer:
    for prompt in range(50):
        writer.add(str(prompt), 0, torch.ones(2, 20, 20).tril())
    os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "attention.parquet"
    process = subprocess.run([sys.executable, "-c", program, path], check=False)
    assert process.returncode == -signal.SIGKILL
    assert [each.name[-8:] for each in tmp_path.iterdir()] == [".partial"]
    assert write_all(path).is_file()


def test_reading_what_is_not_there_names_the_file(tmp_path):
    path = write_all(tmp_path / "attention.parquet")
    for prompt, layer in (("missing", 0), ("a", 1)):
        with pytest.raises(KeyError, match=f"attention.parquet holds no layer {layer} of prompt '{prompt}'"):
            read_layer(path, prompt, layer)


def test_head_statistics_have_one_row_per_head_and_sink(tmp_path):
    path = tmp_path / "heads.parquet"
    with HeadStatisticsWriter.open(path, {"model": "tiny"}) as writer:
        for prompt in PROMPTS:
            for layer in LAYERS:
                weights = attention_of(prompt, layer)
                writer.add(prompt, layer, {sink: head_statistics(weights, sink) for sink in SINKS})
    table = pandas.read_parquet(path)
    assert read_metadata(path)["model"] == "tiny"
    keys = [(p, layer, head, sink) for p in PROMPTS for layer in LAYERS for head in range(HEADS) for sink in SINKS]
    assert list(table[["prompt", "layer", "head", "sink"]].itertuples(index=False, name=None)) == keys
    assert table.dtypes[["layer", "head", "tokens", "rows_left_out"]].astype(str).tolist() == [
        "int16",
        "int16",
        "int32",
        "int32",
    ]
    for row in table.itertuples():
        statistics = head_statistics(attention_of(row.prompt, row.layer), row.sink)
        assert row.tokens == PROMPTS[row.prompt]
        assert row.rows_left_out == statistics.rows_left_out[row.head]
        for column in ("row_entropy_nats", "received"):
            expected = getattr(statistics, column)[row.head].float().numpy()
            assert np.array_equal(getattr(row, column), expected, equal_nan=True)


def test_pair_statistics_have_one_row_per_sink_and_null_where_a_sink_has_none(tmp_path):
    path = tmp_path / "pairs.parquet"
    names = ["hellinger", "pattern_correlation", "output_cka"]
    computed = {}
    with PairStatisticsWriter.open(path, names, {"model": "tiny"}) as writer:
        for prompt in PROMPTS:
            for layer in LAYERS:
                attention = layer_attention(attention_of(prompt, layer))
                computed[prompt, layer] = {sink: pair_statistics(attention, names, sink) for sink in SINKS}
                writer.add(prompt, layer, computed[prompt, layer], tokens=PROMPTS[prompt], heads=HEADS)
    rows = pyarrow.parquet.read_table(path).to_pylist()
    assert [(row["prompt"], row["layer"], row["sink"]) for row in rows] == [
        (prompt, layer, sink) for prompt in PROMPTS for layer in LAYERS for sink in SINKS
    ]
    for row in rows:
        assert (row["tokens"], row["heads"]) == (PROMPTS[row["prompt"]], HEADS)
        statistics = computed[row["prompt"], row["layer"]][row["sink"]]
        for name in ("hellinger", "pattern_correlation", "pattern_correlation_full", "output_cka"):
            if row["sink"] == "dropped" and name == "output_cka":
                assert row[name] is None
            else:
                assert np.array_equal(row[name], statistics[name].float().numpy(), equal_nan=True)


def test_one_head_has_an_empty_list_of_pairs(tmp_path):
    attention = layer_attention(random_attention(1, 5, "causal", seed=1))
    statistics = {sink: pair_statistics(attention, ["hellinger"], sink) for sink in SINKS}
    with PairStatisticsWriter.open(tmp_path / "pairs.parquet", ["hellinger"], {}) as writer:
        writer.add("a", 0, statistics, tokens=5, heads=1)
    assert pyarrow.parquet.read_table(tmp_path / "pairs.parquet")["hellinger"].to_pylist() == [[], []]


def test_weights_that_one_row_group_cannot_hold_are_refused_with_the_remedy(tmp_path):
    without_memory = torch.zeros(1).expand(64, 8192, 8192)
    with (
        pytest.raises(ValueError, match=r"prompt 'long', layer 3: .* 64 heads on 8192 tokens .*store to statistics"),
        TensorWriter.open(tmp_path / "attention.parquet", "causal", {}) as writer,
    ):
        writer.add("long", 3, without_memory)
