"""The re-analysis on the data released with D'Elia 2026, which are no part of this project.

To run this test, set HEADWISE_REFERENCE as in `test_published_entropy_profile.py`.
"""

import os
from pathlib import Path

import pytest

from headwise.published.reanalyse import reanalyse

VARIABLE = "HEADWISE_REFERENCE"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    if VARIABLE not in os.environ:
        pytest.skip(f"{VARIABLE} is not set: it names a folder with the released data, no part of headwise")
    return reanalyse(Path(os.environ[VARIABLE], "delia2026"), tmp_path_factory.mktemp("again"))


def test_every_index_with_a_matrix_and_every_change_is_reproduced(table):
    rows = table[table["kind"].isin(["index", "absolute change", "relative change"])]
    assert not rows["agreement"].eq("no").any()
    assert rows["agreement"].eq("yes").sum() >= 10


def test_the_change_of_llama_2_is_twenty_per_cent(table):
    rows = table[(table["kind"] == "relative change") & (table["model"] == "meta-llama/Llama-2-7b-chat-hf")]
    assert rows["value"].tolist() == pytest.approx([-20.36] * len(rows), abs=0.01)


def test_the_ratio_over_llama_2_has_no_bounds(table):
    same_scale = table[table["file"].str.contains("E06b_Same_Scale")]
    over_llama = same_scale["quantity"].str.endswith("over meta-llama/Llama-2-7b-hf")
    rows = same_scale[(same_scale["kind"] == "noise ratio") & over_llama]
    ratio = rows[rows["quantity"].str.startswith("ratio of slopes of perplexity")].iloc[0]
    assert ratio["value"] == pytest.approx(2494.7019, abs=1e-3)
    assert ratio["agreement"] == "yes"
    assert "unbounded" in ratio["remark"]
    assert rows["value"].iloc[-1] == pytest.approx(3.643, abs=1e-3)


def test_seeds_of_a_forward_pass_change_nothing(table):
    indices = table[(table["kind"] == "seeds") & table["place"].str.match("results/(base|instruct)/seed_results")]
    assert len(indices) > 0
    assert indices["value"].eq(0).all()


def test_each_claim_of_significance_stands_there_once(table):
    claims = table[(table["kind"] == "claim") & table["file"].str.endswith("E11T_v3_bootstrap_ci.json")]
    # 40 are called significant and 8 are not: the same change of 0 without noise, in each region of both models.
    assert claims["times"].sum() == 48
    verdicts = claims.groupby("verdict")["times"].agg(["size", "sum"])
    assert verdicts.loc["says only that an index is not 0"].tolist() == [18, 24]
    assert verdicts.loc["no p below .05 is attainable"].tolist() == [16, 16]
    assert verdicts.loc["printed as not significant"].tolist() == [1, 8]


def test_copies_of_a_matrix_are_its_seeds(table):
    matrices = table[table["kind"] == "matrix"]
    indices = table[(table["kind"] == "index") & table["value"].notna()]
    assert matrices["times"].sum() == len(indices)
    assert len(matrices) == matrices["model"].nunique()
    copied = matrices[matrices["times"] > 1]
    assert copied["remark"].str.fullmatch(r"copies: ((results/\w+/seed_results/\d)(, )?){3}").all()


def test_the_probe_of_llama_2_took_the_best_cells(table):
    probes = table[(table["kind"] == "probe") & table["file"].str.contains("E11T_indra_llama2_v3")]
    gap = probes[probes["place"] == "verdict/gap_pp"].iloc[0]
    assert gap["agreement"] == "yes"
    # The same choice within either model gives a gap as large as that of the two.
    assert gap["printed"] < gap["low"] < gap["high"]
    chosen = probes[probes["printed"].notna() & probes["quantity"].str.startswith("largest")]
    assert chosen["value"].tolist() == pytest.approx([114.0527, -24.0243], abs=1e-4)
    rise = probes[(probes["place"] == "results/instruct/global") & probes["quantity"].str.startswith("largest rise")]
    assert rise["value"].iloc[0] == pytest.approx(154.6398, abs=1e-4)


def part(table, file):
    found = table[table["file"].str.contains(file)]
    if found.empty:
        pytest.skip(f"no file {file}: this part of the release is not in the folder")
    return found


def test_the_ratio_5834_is_not_that_of_the_released_curves(table):
    ratios = part(table, "E06d_Same_Family").query("kind == 'quoted ratio' and printed == 5834")
    assert ratios["value"].tolist() == pytest.approx([2494.7019], abs=1e-3)
    assert ratios["agreement"].tolist() == ["no"]
    assert ratios["remark"].str.contains("for seed 123 alone").all()


def test_slopes_of_repetition_are_reproduced_and_their_change_is_not_significant(table):
    slopes = part(table, "E04/").query("kind == 'repetition slope'")
    assert slopes["agreement"].eq("yes").all()
    changes = table[(table["kind"] == "repetition change") & table["p_attainable"].notna()]
    assert changes["p_attainable"].min() == pytest.approx(0.1)


def test_the_range_of_scale_is_below_three(table):
    scale = part(table, "E08_phi_size_ladder").query("kind == 'scale'")
    assert scale["value"].tolist() == pytest.approx([3.8 / 1.3] * len(scale))
    assert set(scale["printed"]) == {10.0}


def test_slopes_that_are_not_verified_have_no_curve(table):
    slopes = part(table, "E21_Dimensional_Crowding").query("kind == 'quoted slope'")
    marked = slopes[slopes["remark"].fillna("").str.contains("data_verified: false")]
    assert marked["model"].tolist() == ["qwen2_7b", "phi3_mini", "gemma2_9b"]
    assert marked["value"].isna().all()


def test_the_chosen_cell_of_the_recovery_is_the_best_of_24(table):
    probes = part(table, "E11T_indra_recovery").query("kind == 'probe'").reset_index()
    chosen = probes.index[probes["remark"] == "chosen at results/verdict/best_region"]
    assert probes.loc[chosen, "quantity"].tolist() == ["largest rise of 24 cells, 20 with noise: early, σ 0.1, in %"]
    assert probes.loc[chosen, "value"].tolist() == pytest.approx([13.3333], abs=1e-4)
    # With a coin for the sign of each region, the best is never smaller.
    assert probes.loc[chosen + 1, "p"].tolist() == [1.0]
