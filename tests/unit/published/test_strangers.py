"""Files of strangers: what cannot be used is named, with its reason; the rest goes on; no number is wrong."""

import json
import os
import re
import warnings
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from published_examples import written

from headwise.published.files import read_released
from headwise.published.items import NoiseCurve, Place
from headwise.published.noise import curve_rows, ratio_rows, slope
from headwise.published.reanalyse import outcome, reanalyse
from headwise.published.release import read_release
from headwise.published.row import figure, row
from headwise.published.values import shown
from headwise.statistics.ratio import fieller

MATRIX = (np.linspace(0.9, 0.4, 6)[:, None] + 0.05 * np.random.default_rng(0).normal(size=(6, 3))).tolist()
DOSES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)
STEEP = (2.0, 2.5, 3.5, 40.0, 300.0, 2500.0)
MILD = (2.0, 2.4, 2.9, 3.1, 4.4, 7.0)


def index_of(matrix):
    correlations = np.corrcoef(np.transpose(matrix))
    return 1 - correlations[np.triu_indices(len(correlations), 1)].mean()


GOOD = {"fine": {"specialization_index": index_of(MATRIX), "entropies": MATRIX, "name": "org/fine"}}


def analysed(tmp_path, files):
    """The table; nothing warns, every file is named, and no output shows a number that is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = reanalyse(written(tmp_path / "in", files), tmp_path / "out")
    numbers = table.select_dtypes("number").astype("float64").to_numpy()
    assert not np.isinf(numbers).any()
    for name in ("reanalysis.html", "reanalysis.csv"):
        text = (tmp_path / "out" / name).read_text(encoding="utf-8")
        assert not re.search(r"[+\-−>, ](nan|inf|NaN|Infinity)\b", text)
    return table


def not_used(table, file="odd.json"):
    rows = table[(table["kind"] == "not used") & (table["file"] == file)]
    return dict(zip(rows["place"], rows["remark"], strict=True))


def curve(values, **more):
    return {"ppl_curve": [{"sigma": dose, "mean": value} for dose, value in zip(DOSES, values, strict=True)], **more}


def side(value):
    return {"m": {"specialization_index": value}}


HUGE = 10**309
LONG = int("7" * 300)
ODD_FIELDS = {
    "index is true": (side(True), "m/specialization_index", "the truth value true, where a number belongs"),
    "index is text": (side("0.5"), "m/specialization_index", 'the text "0.5", where a number belongs'),
    "index is a list": (side([0.5]), "m/specialization_index", "a list, where a number belongs"),
    "index is huge": (side(LONG * 10**10), "m/specialization_index", "a whole number of 310 digits"),
    "index is infinite": (side(float("inf")), "m/specialization_index", "not finite"),
    "index overflows": (b'{"m": {"specialization_index": 1e999}}', "m/specialization_index", "not finite"),
    "5,000 digits": (
        b'{"m": {"specialization_index": ' + b"9" * 5000 + b"}}", "m/specialization_index", "5,000 digits",
    ),
    "5,000 digits elsewhere": (b'{"m": {"note": ' + b"9" * 5000 + b"}}", "m/note", "5,000 digits"),
    "a key of 5,000 digits": (
        {"m": {"entropies": {"9" * 5000: [0.1, 0.2], "1": [0.2, 0.1]}}}, "m/entropies", "no number of a layer",
    ),
    "a key that looks like a number": (
        {"all_seed_results": {"²": side("x")}}, "all_seed_results/²/m/specialization_index", 'the text "x"',
    ),
    "cell is text": ({"m": {"entropies": [["0.5", 0.1], [0.2, 0.3]]}}, "m/entropies", 'the text "0.5"'),
    "cell is true": ({"m": {"entropies": [[True, 0.1], [0.2, 0.3]]}}, "m/entropies", "the truth value true"),
    "cell is huge": ({"m": {"entropies": [[HUGE, 0.1], [0.2, 0.3]]}}, "m/entropies", "310 digits"),
    "cell is no entropy": ({"m": {"entropies": [[-0.5, 0.1], [0.2, 0.3]]}}, "m/entropies", "-0.5 is no entropy"),
    "cell would overflow": ({"m": {"entropies": [[1e300, 0.1], [0.2, 0.3]]}}, "m/entropies", "no entropy"),
    "ragged": ({"m": {"entropies": [[0.5, 0.1], [0.2]]}}, "m/entropies", "rows of unequal length"),
    "no matrix": ({"m": {"entropies": [0.5, 0.1]}}, "m/entropies", "no matrix of layers × heads"),
    "empty": ({"m": {"entropies": [[], []]}}, "m/entropies", "no matrix of layers × heads"),
    "too large": ({"m": {"entropies": [[0.5] * 70_000, [0.5] * 70_000]}}, "m/entropies", "more than 65,536 cells"),
    "one layer twice": (
        {"m": {"entropies": [{"layer": 0, "e": [0.1, 0.2]}, {"layer": 0, "e": [0.2, 0.4]}]}},
        "m/entropies", "of its own",
    ),
    "seeds of two shapes": (
        {"m": {"specialization_index": 0.5, "seed_results": [{"entropies": MATRIX}, {"entropies": MATRIX[1:]}]}},
        "m/seed_results", "several shapes",
    ),
    "correlations": (
        {"m": {"specialization_index": 0.5, "head_correlation_matrix": [[1, 7], [7, 1]]}},
        "m/head_correlation_matrix", "7 is no correlation",
    ),
    "p is text": ({"m": {"p_value": "<0.05"}}, "m/p_value", 'the text "<0.05"'),
    "p is true": ({"m": {"p": True}}, "m/p", "the truth value true"),
    "p above 1": ({"m": {"p": 2.0}}, "m/p", "2 is no probability"),
    "units are true": ({"m": {"p": 0.01, "n": True}}, "m/n", "the truth value true"),
    "units are none": ({"m": {"p": 0.01, "n": 0}}, "m/n", "where a number of units belongs"),
    "units are huge": ({"m": {"p": 0.01, "n": HUGE}}, "m/n", "310 digits"),
    "a verdict in words": ({"m": {"significant": "yes", "n": 3}}, "m/significant", 'the text "yes"'),
    "ratio": ({"m": {"ppl_ratio": "12"}}, "m/ppl_ratio", 'the text "12"'),
    "seed is true": ({"m": {"seed": True, **GOOD["fine"]}}, "m/seed", "the truth value true"),
    "seed is a float": ({"m": {"seed": 1.5, **GOOD["fine"]}}, "m/seed", "1.5 is no seed"),
    "seed lost its digits": (b'{"m": {"seed": 1.7982163893102248e19}}', "m/seed", "is no seed"),
    "name is a number": ({"m": {"name": 7}}, "m/name", "the number 7, where a name belongs"),
    "some seeds": (
        {"m": {"seed_results": [{"si": 0.5}, {"si": "0.5"}, {"si": 0.5}]}},
        "m/seed_results/si", "2 of 3 seeds have a number",
    ),
    "no curve": ({"m": {"ppl_curve": 3.0}}, "m/ppl_curve", "the number 3.0, no curve"),
    "a key twice": (
        b'{"m": {"specialization_index": 0.1, "specialization_index": 0.2}}', "m/specialization_index", "2 times",
    ),
    "an object twice": (b'{"results": {"a": 1}, "results": {"a": 2}}', "results", "stands 2 times"),
    "entropies twice": (b'{"m": {"entropies": [[0.1]], "entropies": [[0.2]]}}', "m/entropies", "stands 2 times"),
    "deep": (
        {"m": json.loads('{"a":' * 90 + "1" + "}" * 90)}, "/".join(["m", *"a" * 60]), "nested deeper than 60 levels",
    ),
    "a deep matrix": ({"m": {"entropies": json.loads("[" * 90 + "]" * 90)}}, "m/entropies", "nested too deeply"),
}  # fmt: skip


@pytest.mark.parametrize("case", ODD_FIELDS)
def test_a_field_that_cannot_be_used_is_named_and_the_rest_goes_on(tmp_path, case):
    content, place, reason = ODD_FIELDS[case]
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    beside = text.rstrip()[:-1] + b', "beside": ' + json.dumps(GOOD["fine"]).encode() + b"}"
    table = analysed(tmp_path, {"odd.json": beside, "good.json": {"again": {**GOOD["fine"], "n": 1}}})
    assert reason in not_used(table)[place]
    assert list(not_used(table)) == [place]
    reproduced = table[(table["kind"] == "index") & (table["agreement"] == "yes")]
    assert {"beside", "again"} <= set(reproduced["place"])


def test_what_is_legitimate_is_not_named(tmp_path):
    content = {
        "int": side(0),
        "null": {**side(None)["m"], "entropies": None, "p": None, "seed": None, "name": None},
        "more": {"p": {"rho": {"p": 0.5, "r": 0.1, "n": 5}}, "name": {"short": "x"}, "model": {"family": "y"}},
        "entropy_curve": [{"sigma": 0.0, "mean": 5.3}],
        "mean_entropy": 2.0,
        "significant": False,
        "bits": {"specialization_index": 0.1, "entropies": (10 * np.array(MATRIX)).tolist()},
        "rounded": {"specialization_index": 0.1, "entropies": (np.array(MATRIX) - np.min(MATRIX) - 1e-9).tolist()},
        "seeds": [{**side(0.5)["m"], "seed": seed} for seed in (-1, 42, 42.0, "42", "run a", 2**64)],
    }
    table = analysed(tmp_path, {"odd.json": content})
    assert not_used(table) == {}
    seeds = table[table["place"].str.match(r"seeds/\d")].drop_duplicates("place")["seed"]
    assert seeds.tolist() == ["-1", "42", "42", "42", "run a", str(2**64)]


def test_points_that_are_no_numbers_are_left_out_by_name_and_counted(tmp_path):
    values = [*STEEP[:2], float("nan"), *STEEP[3:]]
    odd = curve(values)["ppl_curve"] + [
        {"sigma": 0.3, "mean": "9"}, {"sigma": True, "mean": 9.0}, {"sigma": -0.1, "mean": 9.0},
        {"sigma": 0.3, "mean": 0.0}, {"sigma": 0.4}, {"sigma": 0.4, "mean": HUGE}, {"sigma": 0.4, "mean": float("inf")},
    ]  # fmt: skip
    table = analysed(tmp_path, {"odd.json": {"m": {"ppl_curve": odd}}})
    assert list(not_used(table)) == [f"m/ppl_curve/{position}" for position in (2, *range(6, 13))]
    raw = table[table["kind"] == "noise slope"].iloc[0]
    kept = [position for position in range(6) if position != 2]
    expected = scipy.stats.linregress(np.array(DOSES)[kept], np.array(values)[kept])
    assert (raw["value"], raw["n"]) == (pytest.approx(expected.slope), 5)
    assert raw["remark"] == "8 of 13 points left out: they are no numbers"


def test_doses_in_keys_are_numbers_as_written(tmp_path):
    keyed = {"0": 1.0, ".1": 2.0, "2e-1": 3.5, "1_0": 4.0, "-": 5.0, "١": 6.0, "sigma_1": 7.0}
    table = analysed(tmp_path, {"odd.json": {"ppl_curve": keyed}})
    assert [place.split("/")[-1] for place in not_used(table)] == ["1_0", "-", "١", "sigma_1"]
    expected = scipy.stats.linregress([0, 0.1, 0.2], [1.0, 2.0, 3.5]).slope
    assert table[table["kind"] == "noise slope"].iloc[0]["value"] == pytest.approx(expected)


def test_the_ratio_over_a_constant_curve_says_that_the_denominator_is_0(tmp_path):
    models = {"a": curve(STEEP, name="steep"), "b": curve([0.1 + 0.2] * 3 + [0.3] * 3, name="flat")}
    table = analysed(tmp_path, {"odd.json": {"models": models}})
    ratios = table[table["kind"] == "noise ratio"].set_index("quantity")
    assert ratios.loc["ratio of slopes of perplexity, steep over flat", "remark"] == "the denominator is 0"
    assert ratios.loc["ratio of slopes of ln perplexity, steep over flat", "remark"] == "the denominator is 0"
    flat = ratios.loc["denominator of steep over flat"]
    assert (flat["value"], flat["remark"]) == (0, "all points have one value")
    assert flat[["p", "low", "high"]].isna().all()


def test_points_on_a_line_have_no_error_to_test_with():
    line = NoiseCurve(Place("f", model="line"), np.array(DOSES), 2 + 3 * np.array(DOSES), 3.0)
    raw = next(curve_rows(line))
    assert (raw.value, raw.agreement, raw.p, raw.low) == (pytest.approx(3), "yes", None, None)
    assert raw.remark == "the points lie on a line"
    steep = NoiseCurve(Place("f", model="steep"), np.array(DOSES), np.array(STEEP), None)
    ratio = next(each for each in ratio_rows([line, steep], []) if each.quantity.startswith("ratio"))
    assert ratio.value == pytest.approx(scipy.stats.linregress(DOSES, STEEP).slope / 3)
    assert (ratio.low, ratio.remark) == (None, "no interval: the points lie on a line")


@pytest.mark.parametrize("size", [1e-300, 1e-150, 1.0, 1e150, 1e300])
def test_a_slope_is_right_at_every_scale(size):
    values = np.array(MILD) * size
    x, y = ([Fraction(float(each)) for each in numbers] for numbers in (DOSES, values))
    x_mean, y_mean = sum(x) / 6, sum(y) / 6
    across = sum((a - x_mean) ** 2 for a in x)
    exact = sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True)) / across
    rest = sum((b - y_mean - exact * (a - x_mean)) ** 2 for a, b in zip(x, y, strict=True))
    result, error = slope(np.array(DOSES), values, "slope")
    plain = scipy.stats.linregress(DOSES, MILD)
    assert result.estimate == pytest.approx(float(exact), rel=1e-12)
    assert result.p == pytest.approx(plain.pvalue, rel=1e-9)
    assert Fraction(error) ** 2 / (rest / (4 * across)) == pytest.approx(1, rel=1e-9)
    assert (result.high - result.low) / size == pytest.approx(2 * scipy.stats.t.ppf(0.975, 4) * plain.stderr, rel=1e-9)


def test_a_slope_beyond_all_numbers_is_undefined_with_a_reason(tmp_path):
    tiny = {"ppl_curve": [[1e-300 * dose, value] for dose, value in zip(DOSES, STEEP, strict=True)], "name": "tiny"}
    large = curve([1e308 * value for value in (0.1, 0.2, 0.3, 0.7, 0.9, 1.7)], name="large")
    steep = curve([1e307 * value for value in (0.1, 0.9, 0.1, 9.7, 0.9, 9.9)], name="steep")
    table = analysed(tmp_path, {"odd.json": {"models": [tiny, large, steep]}})
    rows = table[(table["kind"] == "noise slope") & table["quantity"].str.contains("of perplexity")].set_index("model")
    assert rows.loc["large", "remark"] == "the slope or its interval lies beyond the range of numbers"
    assert rows.loc["large", ["value", "low", "high", "p"]].isna().all()
    assert rows.loc["tiny", "value"] == pytest.approx(1e300 * scipy.stats.linregress(DOSES, STEEP).slope)
    assert fieller((1e200, 1e199), (1e-100, 1e150), 4, 0.05).reason.startswith("unbounded")
    assert row(Place("f"), "k", "q", value=float("inf"), low=float("nan")).remark == "not finite: value, low"


def test_rounding_is_relative_to_what_is_compared():
    """A printed slope of 5e-10 is not 1e-10, however small both are; a ratio of a million may differ by 1e-4."""
    small = NoiseCurve(Place("f", model="a"), np.array(DOSES), 1e-10 * np.array(MILD), 5e-10)
    assert next(curve_rows(small)).agreement == "no"
    exact = scipy.stats.linregress(DOSES, 1e-10 * np.array(MILD)).slope
    assert next(curve_rows(NoiseCurve(small.place, small.sigmas, small.perplexities, exact))).agreement == "yes"


def test_seeds_above_2_to_the_53_stay_exact_everywhere(tmp_path):
    seeds = [17982163893102248868, 17982163893102248869, 1732579200123456789]
    runs = [
        {"seed": seed, **curve(values, name=f"run{seed}")}
        for seed, values in zip(seeds, (STEEP, MILD, MILD[::-1]), strict=True)
    ]
    by_key = {"all_seed_results": {str(seeds[0]): side(0.5)["m"]}}
    table = analysed(tmp_path, {"odd.json": runs, "keys.json": by_key})
    assert set(table["seed"].dropna()) == set(map(str, seeds))
    # Two seeds are two runs: curves of different seeds make no ratio.
    assert not table["kind"].eq("noise ratio").any()
    stored = pd.read_parquet(tmp_path / "out" / "reanalysis.parquet")
    read = pd.read_csv(tmp_path / "out" / "reanalysis.csv", dtype={"seed": "string"})
    page = (tmp_path / "out" / "reanalysis.html").read_text(encoding="utf-8")
    for seed in map(str, seeds):
        assert seed in set(stored["seed"]) & set(read["seed"])
        assert f">{seed}<" in page


def test_a_seed_that_stands_twice_is_no_repetition(tmp_path):
    rows = [{"seed": seed, "si": value} for seed, value in ((2**60, 0.1), (2**60 + 1, 0.2), (2**60, 0.3))]
    table = analysed(tmp_path, {"odd.json": {"seed_results": rows}})
    assert table.loc[table["kind"] == "seeds", "remark"].tolist() == [f"seeds that stand there more than once: {2**60}"]


def test_names_are_text_in_tables_and_pages(tmp_path):
    names = [
        "=HYPERLINK(1)",
        "@x",
        "+1",
        "-2",
        "<script>alert(1)</script>",
        "a\x00b",
        "two\nlines",
        "\ud800",
        "‮evil",
        "é 模型",
    ]
    runs = [{"name": name, "specialization_index": 0.5} for name in names]
    table = analysed(tmp_path, {"odd.json": runs, "<b>.json": {"=cmd": side(0.5)["m"]}})
    read = pd.read_csv(tmp_path / "out" / "reanalysis.csv", dtype="string")
    assert not read.select_dtypes("string").map(lambda cell: str(cell).startswith(("=", "@", "+"))).any().any()
    assert "'=HYPERLINK(1)" in set(read["model"])
    page = (tmp_path / "out" / "reanalysis.html").read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "<b>" not in page
    assert "é 模型" in page
    assert {"a\\x00b", "two\\nlines", "\\ud800", "\\u202eevil", "=HYPERLINK(1)"} <= set(table["model"].dropna())


def test_two_names_are_never_shown_as_one():
    names = [
        "a\nb",
        "a\\nb",
        "a\\\\nb",
        "x" * 10**6,
        "x" * (10**6 + 1),
        "x" * 500 + "y" + "x" * 500,
        "x" * 501 + "y" + "x" * 499,
    ]
    assert len({shown(name) for name in names}) == len(names)
    assert max(map(len, map(shown, names))) < 300
    assert str(Place("f", ("a/b",))) != str(Place("f", ("a", "b")))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_any_unicode_file_is_read(tmp_path, encoding):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"modèle": 1}, ensure_ascii=False), encoding=encoding)
    assert read_released(path)[1] == {"modèle": 1}


WHOLE = {
    "latin.json": ('{"a": "modèle"}'.encode("latin-1"), "no text in UTF-8 (byte 0xe8 at position 10): save it again"),
    "zero.json": (b"", "an empty file"),
    "mark.json": (b"\xef\xbb\xbf", "not readable as JSON"),
    "zeros.json": (b"\0" * 4096, "an empty file"),
    "pointer.json": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "a Git LFS pointer"),
    "cut.json": (b'{"a": [1, 2', "not readable as JSON"),
    "lines.json": (b'{"a": 1}\n{"a": 2}\n', "not readable as JSON: Extra data"),
    "deep.json": (b'{"a":' * 200_000 + b"1" + b"}" * 200_000, "nested too deeply"),
    ".hidden.json": (b"{}", "a hidden file"),
    "._copy.json": (b"\0\5\x16\7", "a hidden file"),
    ".ipynb_checkpoints/good.json": (b"{}", None),
    "other.csv": (b"a,b", "not a JSON file"),
}  # fmt: skip


def test_files_that_cannot_be_used_are_named_and_the_others_read(tmp_path):
    files = {name: content for name, (content, _) in WHOLE.items()}
    table = analysed(tmp_path, {**files, "GOOD.JSON": GOOD})
    assert table[table["agreement"] == "yes"]["file"].tolist() == ["GOOD.JSON"]
    for name, (_, reason) in WHOLE.items():
        if reason is not None:
            assert reason in not_used(table, name)[""], name
    assert "a hidden folder" in not_used(table, ".ipynb_checkpoints")[""]


def test_links_pipes_and_names_that_are_no_text_are_named(tmp_path):
    folder = written(tmp_path / "in", {"good.json": GOOD})
    (folder / "loop.json").symlink_to("loop.json")
    (folder / "nowhere.json").symlink_to("missing")
    (folder / "around").symlink_to(folder)
    (folder / "folder.json").mkdir()
    os.mkfifo(folder / "pipe.json")
    (folder / os.fsdecode(b"br\xffken.json")).write_text(json.dumps(side(0.25)))
    table = analysed(tmp_path, {})
    for name, reason in {
        "loop.json": "cannot be opened: Too many levels", "nowhere.json": "cannot be opened: No such file",
        "around": "a link to a folder", "pipe.json": "not a file but a pipe",
    }.items():  # fmt: skip
        assert reason in not_used(table, name)[""]
    assert table.loc[table["file"] == "br\\udcffken.json", "printed"].tolist() == [0.25]


def test_where_nothing_can_be_used_a_sentence_says_so(tmp_path):
    assert outcome(analysed(tmp_path, {"zero.json": b"", "x.txt": b""})).startswith("Nothing in 2 files could be used")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "loop.json").symlink_to("loop.json")
    with pytest.raises(ValueError, match=r"holds no \.json file that can be opened"):
        read_release(tmp_path / "links")


def test_one_content_counts_once(tmp_path):
    pretty = json.dumps(dict(reversed(GOOD.items())), indent=3).encode("utf-16")
    table = analysed(tmp_path, {"a.json": GOOD, "b.json": GOOD, "c.json": pretty, "d.json": b"", "e.json": b""})
    assert table["agreement"].eq("yes").sum() == 1
    for name in ("b.json", "c.json"):
        assert not_used(table, name) == {"": "the same content as a.json: counted once, there"}
    # Numbers that differ only beyond what can be read are two contents.
    long = [b'{"p": 0.5, "x": %s}' % (digit * 400) for digit in (b"1", b"2")]
    again = analysed(tmp_path / "more", {"a.json": long[0], "b.json": long[1]})
    assert again["kind"].eq("claim").sum() == 2


def test_one_matrix_in_several_files_is_one_measurement(tmp_path):
    pair = {"base": GOOD["fine"], "chat": {**GOOD["fine"], "name": "ORG/Fine"}}
    table = analysed(tmp_path, {"a.json": GOOD, "b.json": {"run": 2, **pair}, "c.json": {"run": 3, **pair}})
    indices = table[table["kind"] == "index"]
    assert indices["agreement"].eq("yes").sum() == 5
    assert indices["remark"].isna().sum() == 1
    repeated = indices.set_index(["file", "place"])["remark"]
    assert repeated["b.json", "base"] == "the same as at a.json: fine"
    assert repeated["b.json", "chat"] == "the same as at a.json: fine, there of org/fine"
    assert table["kind"].eq("head order").sum() == 1
    changes = table[table["kind"] == "absolute change"].set_index("file")["remark"]
    assert changes["b.json"] == "base and aligned have one and the same matrix"
    assert "the same as at b.json: chat" in changes["c.json"]
    page = (tmp_path / "out" / "reanalysis.html").read_text(encoding="utf-8")
    assert "They come from 1 distinct matrices, of 1 model: 4 are copies." in page
    (matrix,) = table[table["kind"] == "matrix"].to_dict("records")
    assert (matrix["place"], matrix["times"]) == ("fine", 5)
    assert matrix["remark"] == "copies: b.json: base, b.json: chat, c.json: base, c.json: chat"


def test_one_model_in_two_spellings_is_marked(tmp_path):
    models = [curve(STEEP, name="meta-llama/Llama-2-7b"), curve(MILD, name="llama2-7B")]
    table = analysed(tmp_path, {"odd.json": models})
    ratio = table[table["quantity"].str.startswith("ratio of slopes of perplexity")].iloc[0]
    assert "both names may stand for one model" in ratio["remark"]


def test_each_of_several_aligned_models_has_its_change(tmp_path):
    sides = {"base": side(0.5)["m"], "instruct": side(0.4)["m"], "chat": side(0.2)["m"], "delta_si": -0.1}
    table = analysed(tmp_path, {"odd.json": sides})
    changes = table[table["kind"] == "absolute change"].set_index("place")
    assert changes["value"].to_dict() == {"instruct": pytest.approx(-0.1), "chat": pytest.approx(-0.3)}
    assert changes["printed"].isna().all()


def test_cells_that_are_missing_take_their_heads_out_by_name(tmp_path):
    matrix = [[*line] for line in MATRIX]
    matrix[2][1] = float("nan")
    held = {"m": {"specialization_index": index_of(np.delete(MATRIX, 1, axis=1)), "entropies": matrix}}
    table = analysed(tmp_path, {"odd.json": held, "none.json": {"m": {"entropies": [[None, None], [0.1, 0.2]]}}})
    index = table[(table["kind"] == "index") & (table["file"] == "odd.json")].iloc[0]
    assert index["agreement"] == "yes"
    assert index["remark"] == "1 of 3 heads left out: cells are missing or not finite"
    left_out = table[table["quantity"] == "index without any one layer"].iloc[0]
    single = [index_of(np.delete(np.delete(MATRIX, 1, axis=1), layer, axis=0)) for layer in range(6)]
    assert (left_out["low"], left_out["high"]) == (pytest.approx(min(single)), pytest.approx(max(single)))
    nothing = table[(table["kind"] == "index") & (table["file"] == "none.json")].iloc[0]
    assert "2 of 2 heads left out" in nothing["remark"]


@pytest.mark.parametrize("shape", [(1, 3), (3, 1), (2, 2), (2, 3), (3, 2)])
def test_small_matrices_give_no_number_that_is_none(tmp_path, shape):
    matrix = np.random.default_rng(1).uniform(0.2, 0.9, size=shape).tolist()
    table = analysed(tmp_path, {"odd.json": {"m": {"specialization_index": 0.5, "entropies": matrix}}})
    assert table.loc[table["value"].isna(), "remark"].notna().all()
    resampled = table[table["kind"] == "bootstrap over layers"]
    # Two layers are often drawn as one layer twice, where no index is defined.
    assert resampled["remark"].str.startswith("no interval: the index is undefined in").all()


def test_layers_come_in_the_order_of_their_numbers(tmp_path):
    listed = [{"layer": layer, "entropies": MATRIX[layer]} for layer in (3, 0, 5, 1, 4, 2)]
    objects = {"plain": {"entropies": MATRIX}, "listed": {"specialization_index": 0.5, "entropies": listed}}
    table = analysed(tmp_path, {"odd.json": objects})
    assert table[table["kind"] == "index"]["remark"].tolist()[-1] == "the same as at plain"


ATOMS = [
    None, True, False, 0, 1, -1, 0.5, "0.5", "", "=x", float("nan"), float("inf"), 1e308, -1e308, 5e-324, 2**53 + 1,
    HUGE, [], {}, [[]], MATRIX, [[0.1, 0.2], [0.3]], "<i>", "\ud800", curve(STEEP)["ppl_curve"],
    curve([1.7e308] * 6)["ppl_curve"], "0.3B", "12x scale", "error", "all", "+50%",
    [[0.0, 0.1], [0.1, 0.4], [0.2, 0.5]],
    [{"noise": 0.0, "si": 0.5}, {"noise": 0.1, "si": 0.7}], [{"noise": 0.0, "si": 5e-324}, {"noise": 0.1, "si": 1e308}],
    [{"region": region, "tests": [{"noise": 0.0, "si": 0.5}, {"noise": 0.1, "si": 0.4}]} for region in ("a", "b")],
    [{"model_id": name, "data_verified": False, "ppl_slope": 1e308} for name in ("a_1", "a_2")],
]  # fmt: skip
KEYS = [
    *("specialization_index", "si", "si_mean", "entropies", "head_entropies", "head_correlation_matrix", "models"),
    *("specialization", "base", "instruct", "chat", "ppl_curve", "ppl_slope", "slope", "ppl_ratio", "delta_si"),
    *("delta_si_pct", "verdict", "p", "p_value", "n", "r", "significant", "seed", "seed_results", "per_seed", "7"),
    *("all_seed_results", "name", "model", "config", "baseline", "sigma", "mean", "methodology", "quantization"),
    *("region", "tests", "noise_tests", "noise", "seed_values", "gap_pp", "collapsed_heal", "curve", "fragility"),
    *("deltas", "percent", "early_delta", "source", "e06_a_ppl_slope", "e06_ratio", "model_id", "data_verified"),
    *("params", "description", "base_si", "si_std", "std", "ci_width", "status", "error", "source_file"),
]


def anything(rng, depth=0):
    kind = rng.random()
    if depth > 4 or kind < 0.45:
        return ATOMS[rng.integers(len(ATOMS))]
    if kind < 0.6:
        return [anything(rng, depth + 1) for _ in range(rng.integers(4))]
    return {KEYS[rng.integers(len(KEYS))]: anything(rng, depth + 1) for _ in range(rng.integers(1, 7))}


def test_whatever_stands_in_a_file_no_number_is_none_and_nothing_ends_the_run(tmp_path):
    rng = np.random.default_rng(7)
    files = {f"{number}.json": {"some": anything(rng), "more": anything(rng)} for number in range(150)}
    table = analysed(tmp_path, files)
    assert table["file"].nunique() == 150
    undefined = table[table["value"].isna() & table["printed"].isna() & (table["kind"] != "claim")]
    assert undefined["remark"].notna().all()


def test_figures_of_any_size_are_short():
    assert [figure(value) for value in (1e300, -1e-300, 123456789012.0)] == ["1e+300", "−1e−300", "123,456,789,012"]
