"""Ranges of scale, several indices of one model, spreads of 0, and what the files at hand do not hold."""

import pytest
from published_examples import written

from headwise.published.findings import findings
from headwise.published.findings_beside import missing
from headwise.published.reanalyse import reanalyse
from headwise.published.row import Row


def index(value):
    return {"specialization": {"specialization_index": value}}


FILES = {
    "E08/ladder.json": {
        "description": "an index that does not change across 10x scale",
        "key_finding": "the same at 10x parameter scale",
        "models": [
            {"name": "org/small", "params": "1.3B"},
            {"name": "org/tiny", "params": "650M"},
            {"name": "org/large", "params": "3.9B"},
            {"name": "org/unknown", "params": "?"},
        ],
        "source_notebook": "../notebooks/ladder.ipynb",
    },
    "E11/pair.json": {
        "config": {"base": "org/Two-7B", "instruct": "org/Two-7B-Chat"},
        "methodology": {"use_chat_template": False, "quantization": "none", "dtype": "bfloat16"},
        "results": {"base": {**index(0.71), "si_std": 0.0}, "instruct": {**index(0.31), "si_std": 0.0}},
    },
    "E11/probe.json": {
        "model": "org/Two-7B-Chat",
        "methodology": {"use_chat_template": True, "quantization": "none", "dtype": "bfloat16"},
        "own_reference": {"base_si": 0.7, "instruct_si": 0.31},
        "results": {
            "baseline": {"specialization_index": 0.59, "si_std": 1e-16},
            "treatments": [{"noise_tests": [{"specialization_index": 0.2, "si_std": 0.01}]}],
        },
        "summary": {"two_7b": {"base_si": 0.5}, "reference_40b": {"base_si": 0.1}},
    },
    "E11/intervals.json": {"a": {"std_error": 0.0, "ci_width": 0.0}, "b": {"std_error": 0.1, "ci_width": 0.2}},
}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return reanalyse(written(tmp_path_factory.mktemp("release"), FILES), tmp_path_factory.mktemp("again"))


@pytest.fixture(scope="module")
def rows(table):
    return [Row(**{k: None if v != v else v for k, v in each.items()}) for each in table.to_dict("records")]


def test_the_range_of_scale_is_that_of_the_models_listed(table):
    scale = table[table["kind"] == "scale"]
    assert scale["place"].tolist() == ["description", "key_finding"]
    assert scale["value"].tolist() == pytest.approx([6.0, 6.0])
    assert set(scale["agreement"]) == {"no"}
    assert scale["n"].tolist() == [3, 3]


def test_indices_of_one_model_are_gathered_over_files(table):
    models = table[table["kind"] == "one model"].set_index("model")
    chat = models.loc["org/Two-7B-Chat"]
    # The reference of .31 is the measured one; the index under noise is another thing.
    assert (chat["low"], chat["high"], chat["n"]) == (0.31, 0.59, 2)
    assert chat["remark"] == (
        "0.31 at E11/pair.json: results/instruct, use_chat_template False; "
        "0.59 at E11/probe.json: results/baseline, use_chat_template True"
    )
    base = models.loc["org/Two-7B"]
    # A reference under a key that names another size is about another model, and .7 is .71 rounded.
    assert (base["low"], base["high"], base["n"]) == (0.5, 0.71, 2)


def test_spreads_of_0_are_counted_per_file_and_field(table):
    spreads = table[table["kind"] == "no spread"].set_index(["file", "place"])
    assert spreads.loc[("E11/pair.json", "results/…/si_std"), ["value", "n"]].tolist() == [2, 2]
    assert spreads.loc[("E11/probe.json", "results/baseline/si_std"), ["value", "n"]].tolist() == [1, 2]
    assert spreads.loc[("E11/intervals.json", "a/ci_width"), ["value", "n"]].tolist() == [1, 2]


def test_sentences_say_what_is_claimed_and_what_is_there(rows):
    sentences = findings(rows)
    assert (
        "A range of 10 times is claimed; the 3 models listed span 6 times, from 0.65 billion (org/tiny) to 3.9 billion "
        "(org/large). [E08/ladder.json: …]"
    ) in sentences
    assert "Of 4 fields si_std, 3 are 0: no interval can come from them. " in " ".join(sentences)


def test_what_is_not_here_is_said(rows):
    sentences = missing(rows)
    assert "No file here holds a curve of repetition over noise; in the release it stands in E04/." in sentences
    assert "ladder.ipynb is not here. [E08/ladder.json: source_notebook]" in sentences
    assert not any("range of scale" in each for each in sentences)


def test_every_sentence_names_its_file(rows):
    assert all(each.endswith("]") and ".json: " in each for each in findings(rows))
