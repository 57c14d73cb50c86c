"""From pairs of refits to rows: intervals, chance levels, tests, contrasts, the map of heads."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student
from stability_examples import random_attention, write_refit

from headwise.analyses.stability.compare import compare_refits
from headwise.analyses.stability.functions import Functions
from headwise.analyses.stability.group import GroupFiles
from headwise.analyses.stability.group_rows import (
    Beginning,
    HeadImportance,
    HeadSimilarity,
    MatrixNorm,
    ModelLoss,
    StreamSimilarity,
)
from headwise.analyses.stability.head_map import distance_vectors
from headwise.analyses.stability.head_outputs import outputs_table
from headwise.analyses.stability.names import Analysis, Measure, Version
from headwise.analyses.stability.packed import StabilityError
from headwise.analyses.stability.report.part import PART
from headwise.analyses.stability.rows import StabilityRow, adjusted
from headwise.analyses.stability.settings import Stability
from headwise.analyses.stability.summarize import summarize_stability
from headwise.analyses.stability.uncertainty import (
    chance_corrected,
    correlation_test,
    depth_gap,
    difference_intervals,
    inner_dip,
    least_stable_position,
    mean_correlation_test,
    pair_means,
    refit_intervals,
)
from headwise.report.parts import TABLES
from headwise.runtime.parquet import write_table
from headwise.statistics.intervals import FEW_CLUSTERS
from headwise.study.comparison import Comparison
from headwise.study.parse import parse_study
from headwise.tables.files import write_rows
from headwise.tables.frame import DTYPES, frame_of, typed_columns
from headwise.tables.row import columns_of

RNG = np.random.default_rng


def identity(means):
    return means


SETTINGS = Comparison(resamples=199)
PUBLISHED_CURVE = np.array([0.970, 0.908, 0.851, 0.775, 0.643, 0.705, 0.868, 0.827])  # 8 layers, 8 heads, Adam
TOKENS = {f"p{number}": 6 + number % 3 for number in range(6)}


# -- intervals and tests


def test_means_over_pairs_leave_out_a_refit_with_itself_and_with_its_copy():
    pairs = np.arange(9.0).reshape(3, 3, 1)
    expected = {(1, 1, 1): (1 + 2 + 3 + 5 + 6 + 7) / 6, (2, 1, 0): (1 + 3) / 2, (1, 0, 2): (2 + 6) / 2}
    for drawn, mean in expected.items():
        assert pair_means(pairs, np.array([drawn], float))[0, 0] == pytest.approx(mean)
    assert np.isnan(pair_means(pairs, np.array([[3.0, 0, 0]])))
    pairs[0, 1] = np.nan
    assert pair_means(pairs, np.array([[2.0, 1, 0]]))[0, 0] == 3


def test_the_interval_over_many_refits_is_that_of_resampled_refits():
    refits = FEW_CLUSTERS
    pairs = RNG(1).normal(size=(refits, refits, 1)) + RNG(2).normal(size=(refits, 1, 1))
    (interval,) = refit_intervals(pairs, identity, RNG(2), 2000, 0.1)
    rng, drawn = RNG(3), []
    for _ in range(2000):
        chosen = rng.integers(0, refits, refits)
        same = chosen[:, None] == chosen
        drawn.append(pairs[..., 0][np.ix_(chosen, chosen)][~same].mean())
    low, high = np.quantile(drawn, [0.05, 0.95])
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.04)
    assert interval.n == refits


def test_the_interval_over_few_refits_has_the_error_of_leaving_one_out():
    pairs = RNG(1).normal(size=(5, 5, 1))
    pairs += pairs.swapaxes(0, 1)
    (interval,) = refit_intervals(pairs, identity, RNG(2), 99, 0.1)

    def mean(refits):
        return np.mean([pairs[i, j, 0] for i in refits for j in refits if i != j])

    without = [mean([refit for refit in range(5) if refit != left_out]) for left_out in range(5)]
    error = np.sqrt(4 / 5 * np.sum((np.array(without) - np.mean(without)) ** 2))
    half = student(4).ppf(0.95) * error
    assert interval.estimate == pytest.approx(mean(range(5)))
    assert (interval.low, interval.high) == pytest.approx((interval.estimate - half, interval.estimate + half))


@pytest.mark.parametrize("refits", [3, 5])
def test_intervals_over_few_refits_cover_what_they_claim(refits):
    """Each pair holds an effect of each of its refits, and one of its own."""
    covered, trials = 0, 400
    for trial in range(trials):
        rng = RNG(trial)
        effects, own = rng.normal(size=(refits, 1)), 0.3 * rng.normal(size=(refits, refits, 1))
        pairs = effects[:, None] + effects[None] + own + own.swapaxes(0, 1)
        (interval,) = refit_intervals(pairs, identity, rng, 99, 0.05)
        covered += interval.low <= 0 <= interval.high
    assert 0.92 <= covered / trials <= 0.98


def test_two_refits_have_an_estimate_and_no_interval():
    pairs = RNG(1).normal(size=(2, 2, 1))
    (interval,) = refit_intervals(pairs, identity, RNG(2), 99, 0.05)
    assert interval.estimate == pytest.approx((pairs[0, 1, 0] + pairs[1, 0, 0]) / 2)
    assert (interval.low, interval.high) == (None, None)
    assert "three refits" in interval.reason
    (difference,) = difference_intervals(pairs, RNG(2).normal(size=(3, 3, 1)), identity, RNG(2), 99, 0.05)
    assert (difference.low, difference.high) == (None, None)
    assert "three refits" in difference.reason


@pytest.mark.parametrize("refits", [6, FEW_CLUSTERS])
def test_a_difference_of_groups_with_itself_holds_zero_and_a_shift_is_found(refits):
    pairs = RNG(1).normal(size=(refits, refits, 2))
    for shift, holds in ((0.0, True), (9.0, False)):
        for interval in difference_intervals(pairs, pairs + shift, identity, RNG(2), 500, 0.05):
            assert interval.estimate == pytest.approx(shift)
            assert (interval.low <= 0 <= interval.high) == holds


def test_a_difference_of_few_refits_has_both_errors():
    first, second = RNG(1).normal(size=(5, 5, 1)), RNG(2).normal(size=(4, 4, 1))
    (difference,) = difference_intervals(first, second, identity, RNG(0), 99, 0.05)
    errors = []
    for pairs in (first, second):
        (alone,) = refit_intervals(pairs, identity, RNG(0), 99, 0.05)
        errors.append((alone.high - alone.estimate) / student(len(pairs) - 1).ppf(0.975))
    freedom = (errors[0] ** 2 + errors[1] ** 2) ** 2 / (errors[0] ** 4 / 4 + errors[1] ** 4 / 3)
    assert difference.high - difference.estimate == pytest.approx(student(freedom).ppf(0.975) * np.hypot(*errors))


def test_the_correlation_test_enumerates_all_orders():
    x, y = RNG(4).normal(size=(2, 5))
    test = correlation_test(x, y, RNG(0), 10)
    sizes = [abs(np.corrcoef(x, order)[0, 1]) for order in permutations(y)]
    assert test.estimate == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert test.p == pytest.approx(np.mean(np.array(sizes) >= abs(test.estimate) - 1e-9))
    assert test.p_attainable == pytest.approx(1 / 120)


def test_two_layers_can_show_no_trend_and_a_constant_has_none():
    test = correlation_test([1, 2], [5, 9], RNG(0), 10)
    assert (test.estimate, test.p, test.p_attainable) == (1, 1, 1)
    assert "no result can be significant" in test.reason
    assert correlation_test([1, 2, 3], [4, 4, 4], RNG(0), 10).reason == "one side does not vary"
    assert correlation_test([1, np.nan], [4, 4], RNG(0), 10).reason.endswith("fewer than two units")


def test_a_correlation_in_every_refit_is_found_and_noise_is_not():
    x = RNG(5).normal(size=(4, 8))
    assert mean_correlation_test(x, -x + 0.3 * RNG(6).normal(size=x.shape), RNG(0), 999).p == 0.001
    assert mean_correlation_test(x, RNG(7).normal(size=x.shape), RNG(0), 999).p > 0.05
    alone = mean_correlation_test(x[:1], x[:1], RNG(0), 999)
    assert alone.p == pytest.approx(1 / 40320)
    assert mean_correlation_test(x, np.ones_like(x), RNG(0), 9).reason == "no refit has a defined r"


def test_the_shape_over_depth():
    assert depth_gap(PUBLISHED_CURVE) == pytest.approx(0.327)
    assert least_stable_position(PUBLISHED_CURVE) == pytest.approx(4 / 7)
    assert inner_dip(PUBLISHED_CURVE) > 0
    assert inner_dip(np.array([0.9, 0.6, 0.5, 0.4])) < 0  # falls to the end: no dip in the middle
    assert np.isnan(inner_dip(np.array([1.0, 0.5])))
    assert np.isnan(least_stable_position(np.array([0.3])))
    assert chance_corrected(0.9, 0.8) == pytest.approx(0.5)
    assert np.isnan(chance_corrected(1.0, 0.99999))


def test_adjusted_rows_keep_their_order():
    rows = [StabilityRow("g", Analysis.COMMONNESS, Version.CORRECTED, p=p) for p in (0.01, None, 0.04)]
    assert [row.p_adjusted for row in adjusted(rows, 0.05)] == [pytest.approx(0.02), None, pytest.approx(0.04)]
    table = frame_of(StabilityRow, rows)
    assert {column.name: DTYPES[column.type] for column in columns_of(StabilityRow)} == dict(table.dtypes.astype(str))


# -- whole groups


def make_group(folder, name, layers=3, refits=3, shared=0.0):
    """The tables of a group whose refits share a part of their attention, and made-up tables of its models."""
    folder.mkdir()
    own = [random_attention(100 * layers + seed, TOKENS, layers) for seed in range(refits)]
    common = random_attention(9, TOKENS, layers)
    mixed = [
        {prompt: shared * common[prompt] + (1 - shared) * weights for prompt, weights in refit.items()} for refit in own
    ]
    metadata = {"study": "example", "group": name, "refits": [f"{name} seed {seed}" for seed in range(refits)]}
    tensors = [write_refit(folder / f"seed{seed}.parquet", refit) for seed, refit in enumerate(mixed)]
    random = [write_refit(folder / f"random{seed}.parquet", own[seed]) for seed in range(2)]
    beginnings = [Beginning(words=2, prompt=prompt, tokens=4) for prompt in TOKENS]
    write_rows(Beginning, beginnings, folder / "beginnings.parquet", metadata)
    functions = Functions()
    for weights, count in (("trained", refits), ("random", 2)):
        for seed in range(count):
            written = [RNG(seed).normal(size=(length, 3, 2)) for length in TOKENS.values()]
            functions.add(weights, Measure.WRITES, dict.fromkeys(range(layers), written))
    write_rows(HeadSimilarity, functions.rows(), folder / "similarities.parquet", metadata)
    files = GroupFiles(*(folder / f"{table}.parquet" for table in GroupFiles.__dataclass_fields__))
    compare_refits(
        tensors,
        random,
        folder / "beginnings.parquet",
        folder / "similarities.parquet",
        pairs=files.pairs,
        heads=files.heads,
        origins=files.origins,
        settings=Stability(),
        metadata=metadata,
    )
    rng, of_layers = RNG(layers), range(layers)
    rows = {
        StreamSimilarity: [
            (weights, layer, site, kernel, one, two, level + 0.1 * rng.random(), 50)
            for weights, level, count in (("trained", 0.8, refits), ("random", 0.3, 2))
            for layer in of_layers
            for site in ("before_attention", "after_attention")
            for kernel in ("rbf_biased", "rbf_debiased", "linear_debiased")
            for one in range(count)
            for two in range(one + 1, count)
        ],
        HeadImportance: [
            (refit, layer, head, text, kind, rng.normal(), rng.normal())
            for text, kind, chosen in (
                ("held_out", "zero", refits),
                ("held_out", "mean", refits),
                ("prompts", "zero", 1),
            )
            for refit in range(chosen)
            for layer in of_layers
            for head in range(3)
        ],
        ModelLoss: [(refit, "held_out", 3 + 0.01 * rng.random(), 100) for refit in range(refits)],
        MatrixNorm: [
            (refit, layer, matrix, version, 1 + rng.random())
            for version in ("published", "corrected")
            for refit in range(refits)
            for layer in of_layers
            for matrix in ("W_Q", "W_O")
        ],
    }
    for table, values in rows.items():
        names = [column.name for column in columns_of(table)]
        write_rows(table, pd.DataFrame(values, columns=names), getattr(files, table.table), metadata)
    import pyarrow

    # A head writes what its layer says, in a basis of its own: turning it changes no distance between prompts.
    of_prompts = rng.normal(size=(len(TOKENS), layers, 1, 4))
    outputs = []
    for refit in range(refits):
        turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
        means = of_prompts @ turn + 0.01 * rng.normal(size=(len(TOKENS), layers, 3, 4))
        outputs.append(outputs_table(refit, range(layers), list(TOKENS), list(means)))
    write_table(pyarrow.concat_tables(outputs), files.outputs, metadata)
    return files


@pytest.fixture(scope="module")
def summary(tmp_path_factory):
    """The finished tables of two groups; the second is deeper, and its refits share most of their attention."""
    folder = tmp_path_factory.mktemp("groups")
    made = [make_group(folder / "shallow", "shallow", 3), make_group(folder / "deep", "deep", 4, shared=0.9)]
    made.append(make_group(folder / "decayed", "decayed", 3, shared=0.9))
    files = {table: [getattr(each, table) for each in made] for table in GroupFiles.__dataclass_fields__}
    settings = Stability(
        weight_decay=[{"without": "shallow", "with_decay": "decayed"}],
        depths=["shallow", "deep"],
        head_map_perplexity=5,
    )
    paths = {name: folder / f"{name}.parquet" for name in PART.columns_by_table}
    written = []
    for _ in range(2):
        summarize_stability(files, paths, settings, SETTINGS, {"study": "example"})
        written.append([path.read_bytes() for path in paths.values()])
    assert written[0] == written[1]
    return {name: typed_columns(name, TABLES[name], pd.read_parquet(path)) for name, path in paths.items()}, files


def rows_of(summary, **fields):
    table = summary[0]["stability"]
    for name, value in fields.items():
        table = table[table[name].isna() if value is None else table[name].eq(value)]
    return table


def test_shared_attention_is_above_chance_and_random_refits_are_not(summary):
    same = {"analysis": "head_stability", "version": "corrected", "measure": "cosine", "layer": None, "words": None}
    shared = rows_of(summary, group="deep", weights="trained", **same).iloc[0]
    alone = rows_of(summary, group="deep", weights="random", **same).iloc[0]
    assert shared.chance_corrected > 0.8
    assert shared.corrected_low > 0.7
    assert abs(alone.chance_corrected) < 0.15


def test_every_number_is_there_or_has_a_reason(summary):
    table = summary[0]["stability"]
    assert table[table.value.isna()].reason.notna().all()
    assert set(table.analysis) >= {
        "head_stability", "prompt_length", "cross_layer_stability", "commonness", "distinctness", "depth_gap",
        "residual_stability", "importance", "importance_correlation", "weight_norm", "weight_norm_correlation",
        "weight_decay_change", "loss_parity", "weight_norm_change", "depth_contrast", "head_map_neighbours",
    }  # fmt: skip
    for analysis in ("head_stability", "prompt_length", "commonness", "residual_stability", "importance_correlation"):
        assert set(table[table.analysis.eq(analysis)].version) == {"published", "corrected"}


def test_the_published_residual_stability_counts_every_refit_with_itself(summary):
    published = rows_of(summary, group="deep", analysis="residual_stability", version="published", layer=0).iloc[0]
    ours = rows_of(
        summary,
        group="deep",
        analysis="residual_stability",
        version="corrected",
        measure="rbf_biased",
        taken_from="before_attention",
        layer=0,
    ).iloc[0]
    assert published.value == pytest.approx((3 + 6 * ours.value) / 9)


def test_weight_decay_that_shares_attention_is_found_to_help(summary):
    change = rows_of(summary, analysis="weight_decay_change", version="corrected", layer=None).iloc[0]
    assert change.ci_low > 0
    assert change.corrected_low > 0
    stability = {"analysis": "head_stability", "version": "corrected", "measure": "cosine", "weights": "trained"}
    of_groups = [rows_of(summary, group=group, layer=None, words=None, **stability) for group in ("decayed", "shallow")]
    assert change.chance == pytest.approx(of_groups[0].iloc[0].chance - of_groups[1].iloc[0].chance)
    quantities = summary[0]["stability_quantities"]
    chosen = quantities[quantities.quantity.eq("weight_decay_change") & quantities.version.eq("corrected")].iloc[0]
    assert (chosen.group, chosen.value, chosen.ci_low) == ("decayed − shallow", change.value, change.ci_low)
    parity = rows_of(summary, analysis="loss_parity", version="corrected").iloc[0]
    assert (parity.margin, parity.within_margin) == (0.05, True)


def test_origins_are_shares_of_the_matches_of_a_layer(summary):
    origins = summary[0]["stability_origins"]
    totals = origins.groupby(["group", "weights", "version", "layer"]).share.sum()
    np.testing.assert_allclose(totals, 1)
    own = origins[origins.group.eq("deep") & origins.weights.eq("trained") & origins.layer.eq(origins.origin_layer)]
    assert (own.share > 0.9).all()


def test_distances_between_prompts_do_not_depend_on_a_heads_basis(summary):
    neighbours = rows_of(summary, group="deep", analysis="head_map_neighbours").iloc[0]
    assert (neighbours.value, neighbours.chance) == (1, 0.25)
    points = summary[0]["stability_head_map"]
    assert len(points) == 3 * 3 * (3 + 4 + 3)
    assert points[["x", "y"]].notna().all(axis=None)


def test_the_distance_vector_is_that_of_all_pairs_of_prompts(summary):
    from headwise.analyses.stability.group import read_group

    group = read_group(GroupFiles.of_groups(summary[1])[0])
    points, vectors = distance_vectors(group)
    table = pd.read_parquet(group.outputs)
    refit, layer, head = points.iloc[5]
    rows = table[(table.refit == refit) & (table.layer == layer) & (table["head"] == head)]["mean"].to_list()
    expected = [np.linalg.norm(rows[i] - rows[j]) for i in range(len(rows)) for j in range(i + 1, len(rows))]
    np.testing.assert_allclose(vectors[5], expected, rtol=1e-6)


def test_groups_of_different_depth_are_no_contrast_of_weight_decay(summary, tmp_path):
    settings = Stability(weight_decay=[{"without": "shallow", "with_decay": "deep"}])
    paths = {name: tmp_path / name for name in PART.columns_by_table}
    with pytest.raises(StabilityError, match="'shallow' has 3 layers and 'deep' 4: contrast groups that differ in"):
        summarize_stability(summary[1], paths, settings, SETTINGS, {})


# -- the report


STUDY = parse_study(
    {"name": "example", "prompts": {"path": "p.jsonl"}, "models": [{"name": "a", "source": "train"}]}, "example.yaml"
)


def test_the_report_shows_figures_findings_and_tables(summary):
    tables = summary[0]
    for chart in PART.charts(STUDY):
        assert [panel.to_dict()["title"] for panel in chart.draw(STUDY, tables)]
    sentences = [finding.sentence for finding in PART.findings(STUDY, tables)]
    assert any(sentence.startswith("Deep: matched heads of two refits have a cosine of") for sentence in sentences)
    headings = [passage.heading for passage in PART.passages(STUDY, tables)]
    assert headings == ["Layers and chance", "Weight decay and depth"]
    (contrasts, _), *_ = list(PART.passages(STUDY, tables))[1].views
    assert any(row[-1] == "Welch's t; parity within ±0.05 nats, two one-sided t tests" for row in contrasts.rows)


def test_a_study_without_stability_shows_nothing():
    empty = {name: typed_columns(name, TABLES[name], pd.DataFrame()) for name in PART.columns_by_table}
    assert all(chart.draw(STUDY, empty) is None for chart in PART.charts(STUDY))
    assert list(PART.findings(STUDY, empty)) == []
    assert list(PART.passages(STUDY, empty)) == []
