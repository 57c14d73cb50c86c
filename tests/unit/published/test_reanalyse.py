"""Re-analysis of released files in several shapes, against plain computations; numbers here are made up."""

import itertools
import json
import math

import numpy as np
import pytest
import scipy.stats
from typer.testing import CliRunner

from headwise.cli import app
from headwise.published.claims import claim_rows, exact_slope_p
from headwise.published.indices import Seen, index_rows
from headwise.published.items import Place
from headwise.published.reanalyse import reanalyse
from headwise.published.release import items_of, read_release
from headwise.runtime.parquet import read_metadata
from headwise.statistics.ratio import fieller

LAYERS, HEADS = 9, 4
CURVE = {0.0: 2.0, 0.01: 2.5, 0.02: 3.5, 0.05: 40.0, 0.1: 300.0, 0.2: 2500.0}
FLAT = {0.0: 2.0, 0.01: 9.0, 0.02: 1.5, 0.05: 8.0, 0.1: 1.0, 0.2: 6.0}


def index_of(matrix):
    correlations = np.corrcoef(np.transpose(matrix))
    return 1 - correlations[np.triu_indices(HEADS, 1)].mean()


def entropies(seed):
    rng = np.random.default_rng(seed)
    return (np.linspace(0.9, 0.4, LAYERS)[:, None] + 0.1 * rng.normal(size=(LAYERS, HEADS))).tolist()


def side(matrix, **more):
    return {"specialization": {"specialization_index": index_of(matrix), "mean_head_variance": 0.1}, **more}


def points(curve):
    return [{"sigma": sigma, "mean": mean, "std": 1.0} for sigma, mean in curve.items()]


def ols(curve):
    return scipy.stats.linregress(list(curve), list(curve.values()))


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    folder = tmp_path_factory.mktemp("release")
    base, aligned = entropies(1), entropies(2)
    change = index_of(aligned) - index_of(base)
    contents = {
        "E11/pair.json": {
            "config": {"base": "vendor/base", "instruct": "vendor/chat"},
            "results": {
                "base": side(base, entropies=base),
                "instruct": side(aligned, entropies=aligned),
                "verdict": {"delta_si": change, "delta_si_pct": 100 * change},
            },
        },
        "E11/seeds.json": {
            "models": {"base": "other/base", "instruct": "other/chat"},
            "base": side(base, seed_results=[{"seed": s, **side(base, entropies=base)} for s in (42, 123, 456)]),
            "instruct": side(aligned),
            "verdict": {"delta_specialization": change + 0.01},
        },
        "E06/noise.json": {
            "seed": 123,
            "models": {
                "steep": {"name": "steep", "ppl_curve": points(CURVE), "ppl_slope": {"slope": 1.0, "p_value": 1e-4}},
                "flat": {"name": "flat", "ppl_curve": points(FLAT), "ppl_slope": {"slope": ols(FLAT).slope}},
            },
            "architecture_analysis": {"ppl_ratio": ols(CURVE).slope / ols(FLAT).slope},
        },
        "E08/index.json": {"models": [{"name": "small", "si_mean": 0.33}, {"specialization_index": float("nan")}]},
        "E21/claims.json": {
            "correlations": {"rho": {"r": 0.4, "p": 0.49, "n": 5}},
            "bootstrap": {"n_samples": 3, "significant": True, "point_estimate": float("nan")},
            "stage1": {"ratio_gqa_mha": 65798.5},
            "vague": {"p": 0.03},
        },
        "broken.json": None,
        "empty.json": {"note": "nothing here"},
    }
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content) if content is not None else "{", encoding="utf-8")
    (folder / "notes.txt").write_text("words", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def table(release, tmp_path_factory):
    return reanalyse(release, tmp_path_factory.mktemp("again"))


def pick(table, kind, file, **columns):
    rows = table[(table["kind"] == kind) & (table["file"] == file)]
    for column, value in columns.items():
        rows = rows[rows[column] == value]
    return rows


def test_indices_are_recomputed_from_their_matrices(table):
    rows = pick(table, "index", "E11/pair.json")
    assert rows["agreement"].tolist() == ["yes", "yes"]
    assert rows["model"].tolist() == ["vendor/base", "vendor/chat"]
    assert rows["value"].tolist() == pytest.approx([index_of(entropies(1)), index_of(entropies(2))])


def test_absolute_and_relative_change_have_rows_of_their_own(table):
    change = index_of(entropies(2)) - index_of(entropies(1))
    (absolute,) = pick(table, "absolute change", "E11/pair.json").to_dict("records")
    (relative,) = pick(table, "relative change", "E11/pair.json").to_dict("records")
    assert (absolute["value"], absolute["agreement"]) == (pytest.approx(change), "yes")
    assert relative["value"] == pytest.approx(100 * change / index_of(entropies(1)))
    assert relative["agreement"] == "no"
    assert "absolute change times 100" in relative["remark"]


def test_a_side_without_a_matrix_counts_as_printed_and_says_so(table):
    (absolute,) = pick(table, "absolute change", "E11/seeds.json").to_dict("records")
    assert absolute["agreement"] == "no"
    assert "no matrix of entropies for both" in absolute["remark"]
    aligned = pick(table, "index", "E11/seeds.json", model="other/chat").to_dict("records")
    assert [row["remark"] for row in aligned] == ["the file holds no matrix of entropies: nothing to recompute from"]
    assert aligned[0]["agreement"] == "not recomputed"
    # The base has matrices of its seeds only: their mean is taken.
    assert pick(table, "index", "E11/seeds.json", place="base")["agreement"].tolist() == ["yes"]


def test_orders_of_heads_and_left_out_layers(table):
    matrix = np.array(entropies(1))
    orders = pick(table, "head order", "E11/pair.json", model="vendor/base").iloc[0]
    assert orders["low"] <= orders["value"] <= orders["high"]
    left_out = pick(table, "left-out layers", "E11/pair.json", model="vendor/base")
    expected = [index_of(np.delete(matrix, layer, axis=0)) for layer in range(LAYERS)]
    single = left_out.iloc[0]
    assert (single["low"], single["high"]) == (pytest.approx(min(expected)), pytest.approx(max(expected)))
    early = left_out[left_out["quantity"].str.contains("early")].iloc[0]
    assert early["value"] == pytest.approx(index_of(matrix[3:]))
    assert early["n"] == 6


def test_the_bootstrap_over_layers_says_what_it_is(table):
    rows = pick(table, "bootstrap over layers", "E11/pair.json")
    assert set(rows["quantity"]) == {"specialization index", "index, aligned minus base"}
    assert rows["remark"].str.contains("not other models, prompts or refits").all()
    assert (rows["low"] < rows["high"]).all()


def test_slopes_and_their_ratio(table):
    slopes = pick(table, "noise slope", "E06/noise.json")
    raw = slopes[slopes["quantity"] == "slope of perplexity per unit of noise"].set_index("model")
    assert raw.loc["steep", "value"] == pytest.approx(ols(CURVE).slope)
    assert raw["agreement"].to_dict() == {"steep": "no", "flat": "yes"}
    ratios = pick(table, "noise ratio", "E06/noise.json").set_index("quantity")
    denominator = ratios.loc["denominator of steep over flat"]
    assert denominator["p"] == pytest.approx(ols(FLAT).pvalue)
    assert denominator["remark"] == "cannot be told from 0"
    ratio = ratios.loc["ratio of slopes of perplexity, steep over flat"]
    assert ratio["agreement"] == "yes"
    assert np.isnan(ratio["low"])
    assert "unbounded" in ratio["remark"]
    assert ratios.loc["ratio of slopes of ln perplexity, steep over flat", "value"] == pytest.approx(
        ols({s: np.log(v) for s, v in CURVE.items()}).slope / ols({s: np.log(v) for s, v in FLAT.items()}).slope
    )


def test_claims_stand_beside_what_their_design_can_give(table):
    claims = table[table["kind"] == "claim"].set_index("place")
    slope = claims.loc["models/steep/ppl_slope/p_value"]
    assert (slope["p_attainable"], slope["n"], slope["verdict"]) == (pytest.approx(2 / 720), 6, "an exact test agrees")
    # The values rise with the dose in all points: of 720 pairings this one alone is as steep.
    assert slope["p"] == pytest.approx(2 / 720)
    correlation = claims.loc["correlations/rho/p"]
    assert (correlation["printed"], correlation["p_attainable"]) == (0.49, pytest.approx(2 / 120))
    assert correlation["verdict"] == "printed as not significant"
    significant = claims.loc["bootstrap/significant"]
    assert (significant["p_attainable"], significant["verdict"]) == (0.25, "no p below .05 is attainable")
    assert claims.loc["vague/p", "verdict"] == "its design is not said"


def test_one_test_in_several_places_is_one_claim(tmp_path):
    entry = {"n_samples": 3, "significant": True, "point_estimate": 0.39, "ci_lower": 0.39, "ci_upper": 0.39}
    sides = {"base": {"early": {"si": {**entry, "metric": "absolute_si"}, "change": {**entry, "point_estimate": 2.0}}}}
    sides["base"]["late"] = {"si": {**entry, "metric": "absolute_si"}, "still": {**entry, "significant": False}}
    written = {"bootstrap": sides, "first": {"r": 0.5, "p": 0.03, "n": 5}, "again": {"r": 0.5, "p": 0.03}}
    (tmp_path / "a.json").write_text(json.dumps(written), encoding="utf-8")
    table = reanalyse(tmp_path, tmp_path / "again")
    claims = table[table["kind"] == "claim"].set_index("quantity")
    assert claims["times"].to_dict() == {
        "base early si: index is not 0": 3,
        "base early change: mean is not 0": 1,
        "first: correlation is not 0": 2,
    }
    assert claims["verdict"].tolist() == [
        "says only that an index is not 0", "no p below .05 is attainable", "its data are not there",
    ]  # fmt: skip
    assert claims["remark"].iloc[2] == "once more at again/p"
    page = (tmp_path / "again" / "reanalysis.html").read_text(encoding="utf-8")
    assert "6 fields print a p or a verdict of significance: they are 3 distinct claims. [a.json: …]" in page


@pytest.mark.parametrize("units", [4, 9])
def test_units_that_are_not_said_follow_from_p_and_correlation(units):
    x, y = np.random.default_rng(units).normal(size=(2, units))
    r, p = scipy.stats.pearsonr(x, y)
    (claim,) = items_of({"m": {"r": r, "p": p}}, Place("f"))
    (made,) = claim_rows([claim], [])
    assert made.n == units
    assert made.remark == f"n = {units} follows from the p and its statistic"
    t, p = scipy.stats.ttest_ind(x, y)
    (claim,) = items_of({"m": {"t_statistic": t, "p": p}}, Place("f"))
    (made,) = claim_rows([claim], [])
    assert (made.n, made.p_attainable) == (2 * units, pytest.approx(2 / math.comb(min(2 * units, 16), min(units, 8))))


def test_the_exact_test_of_a_slope_counts_all_pairings():
    rng = np.random.default_rng(3)
    doses, values = np.array([0.0, 0.01, 0.02, 0.05, 0.1]), rng.normal(size=5)
    slopes = [scipy.stats.linregress(doses, values[list(order)]).slope for order in itertools.permutations(range(5))]
    above = sum(each >= slopes[0] - 1e-9 for each in slopes)
    below = sum(each <= slopes[0] + 1e-9 for each in slopes)
    assert exact_slope_p(doses, values) == pytest.approx(2 * min(above, below) / 120)
    assert exact_slope_p(doses, np.ones(5)) == 1


def test_seeds_that_changed_nothing_are_named(table):
    (row,) = pick(table, "seeds", "E11/seeds.json").to_dict("records")
    assert (row["value"], row["n"]) == (0, 3)
    assert row["remark"] == "3 seeds, one result: no interval can come from them"


def test_what_is_not_used_is_named(table):
    reasons = table[table["kind"] == "not used"].set_index("file")["remark"]
    assert reasons["notes.txt"] == "not a JSON file"
    assert reasons["broken.json"].startswith("not readable as JSON")
    assert reasons["empty.json"].startswith("holds no index")
    (ratio,) = pick(table, "noise ratio", "E21/claims.json").to_dict("records")
    assert "no curve of perplexity" in ratio["remark"]
    assert pick(table, "index", "E08/index.json")["printed"].tolist() == pytest.approx([0.33, np.nan], nan_ok=True)


def test_the_command_writes_table_and_page_and_repeats_them(release, tmp_path):
    contents = []
    for name in ("once", "again"):
        result = CliRunner().invoke(app, ["reanalyse", str(release), "--output", str(tmp_path / name)])
        assert result.exit_code == 0, result.output
        contents.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert contents[0] == contents[1]
    assert "printed indices and changes" in result.output
    page = contents[0]["reanalysis.html"].decode()
    assert "Content-Security-Policy" in page
    assert "vendor/chat" in page
    assert "src=" not in page
    assert "href=" not in page
    assert read_metadata(tmp_path / "once" / "reanalysis.parquet")["release_digest"]


def as_layers(matrix):
    return {f"layer_{layer}": row for layer, row in enumerate(matrix)}


def as_heads(matrix):
    return {str(layer): {f"head_{head}": each for head, each in enumerate(row)} for layer, row in enumerate(matrix)}


def as_objects(matrix):
    return [{"layer": layer, "entropies": row} for layer, row in enumerate(matrix)]


@pytest.mark.parametrize("form", [lambda matrix: matrix, as_layers, as_heads, as_objects, lambda matrix: [matrix] * 3])
@pytest.mark.parametrize("key", ["entropies", "head_entropies"])
@pytest.mark.parametrize(("layers", "heads"), [(2, 2), (12, 3), (11, 16)])
def test_a_matrix_is_found_in_any_shape(form, key, layers, heads):
    rows = np.random.default_rng(layers).uniform(size=(layers, heads))
    correlations = np.corrcoef(rows.T)[np.triu_indices(heads, 1)]
    side = {"specialization_index": 1 - correlations.mean(), key: form(rows.tolist())}
    (index,) = items_of({"results": {"base": side}}, Place("file.json"))
    np.testing.assert_allclose(index.entropies, rows)
    recomputed = next(iter(index_rows(index, Seen())))
    assert (recomputed.agreement, recomputed.n) == ("yes", layers)


POINTS = [[0.0, 2.0], [0.1, 3.0], [0.2, 7.0]]


@pytest.mark.parametrize(
    "curve",
    [
        POINTS,
        {str(dose): value for dose, value in POINTS},
        [{"sigma": dose, "mean": value} for dose, value in POINTS],
        [{"noise": dose, "ppl": value} for dose, value in POINTS],
    ],
)
def test_a_curve_is_found_in_any_shape(curve):
    (found,) = items_of({"model": {"ppl_curve": curve}}, Place("file.json"))
    assert np.column_stack([found.sigmas, found.perplexities]).tolist() == POINTS


BAD = {
    "truncated.json": b'{"base": {"entropies": [[0.1, 0.2], [0.',
    "binary.json": b"\xff\xfe\x00\x01",
    "nothing.json": b"",
    "deep.json": b"[" * 100_000 + b"]" * 100_000,
    "scalar.json": b"3",
    "null.json": b"null",
    "list.json": b"[]",
}
ODD = {
    "ragged": {"base": {"specialization_index": 0.4, "entropies": [[0.1, 0.2], [0.3]]}},
    "one_layer": {"base": {"specialization_index": None, "entropies": [[0.1, 0.2, 0.3]]}},
    "one_head": {"base": {"specialization_index": 0.2, "entropies": [[0.1], [0.2], [0.3]]}},
    "constant": {"base": {"specialization_index": 0.2, "entropies": [[0.1, 0.1]] * 4}},
    "missing_numbers": {"base": {"specialization_index": 0.2, "entropies": [[0.1, None], [0.1, 0.3], [0.2, 0.1]]}},
    "text": {"base": {"specialization_index": "0.2"}, "chat": {"specialization_index": 0.3}, "delta_si": "0.1"},
    "empty_matrix": {"base": {"specialization_index": 0.2, "entropies": []}},
    "two_points": {"ppl_curve": [{"sigma": 0, "mean": 1}, {"sigma": 0.1, "mean": 2}]},
    "no_points": {"ppl_curve": []},
    "odd_p": {"first": {"p_value": "<0.05"}, "second": {"p_value": 2.0}, "third": {"p_value": 0.01, "n": 0}},
    "one_seed": {"seed_results": [{"seed": 1, "si": 0.1}, {"seed": 2}], "per_seed": {"42": {"si": 0.3}}},
}


def test_a_folder_of_odd_files_is_read_as_far_as_it_goes(tmp_path):
    """Every file appears, what it lacks is named, and nothing stops the others or warns."""
    for name, content in BAD.items():
        (tmp_path / name).write_bytes(content)
    for name, content in ODD.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "marked.json").write_bytes(b"\xef\xbb\xbf" + json.dumps({"specialization_index": 0.3}).encode())
    table = reanalyse(tmp_path, tmp_path / "again")
    assert set(table["file"]) == {path.name for path in tmp_path.glob("*.json")}
    unused = table[table["kind"] == "not used"].set_index("file")["remark"]
    assert set(BAD) <= set(unused.index)
    assert unused["deep.json"] == "nested too deeply to be read"
    rest = table[table["kind"].isin(["index", "noise slope"]) & table["value"].isna()]
    assert set(rest["file"]) >= {"ragged.json", "one_head.json", "constant.json", "two_points.json", "no_points.json"}
    assert rest["remark"].notna().all()
    assert table.loc[table["file"] == "marked.json", "printed"].tolist() == [0.3]
    assert not table["p"].gt(1).any()


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no \.json file"):
        read_release(tmp_path)
    result = CliRunner().invoke(app, ["reanalyse", str(tmp_path / "nowhere")])
    assert result.exit_code == 2


def test_fieller_holds_exactly_the_ratios_that_cannot_be_rejected():
    result = fieller((4.0, 0.5), (2.0, 0.3), 8, 0.05)
    factor = scipy.stats.t.ppf(0.975, 8)
    for ratio, inside in ((result.low - 1e-6, False), (result.low + 1e-6, True), (result.high + 1e-6, False)):
        distance = abs(4 - ratio * 2) / np.hypot(0.5, ratio * 0.3)
        assert (distance <= factor) == inside
    assert fieller((4.0, 0.5), (2.0, 2.0), 8, 0.05).low is None
    for broken in ((np.nan, 0.5), (4.0, np.nan), (np.inf, 0.5)):
        assert fieller(broken, (2.0, 0.3), 8, 0.05).estimate is None
        assert fieller((2.0, 0.3), broken, 8, 0.05).reason == "an estimate or error is not finite"
    assert fieller((4.0, 0.5), (0.0, 2.0), 8, 0.05).reason == "the denominator is 0"
