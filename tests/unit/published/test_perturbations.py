"""Published numbers of perturbed models: what follows from them, and what stands beside them."""

import numpy as np
import pandas as pd
import pytest
from report_examples import example_study

from headwise.analyses.noise.sensitivity import contrast
from headwise.published.perturbations import (
    GROUPED,
    MEDIAN_OF_RATIOS,
    MULTI_HEAD,
    PUBLISHED,
    RATIO_OF_MEANS,
    beside_ours,
    published_slopes,
)
from headwise.published.report.part import PART
from headwise.published.stability import StabilityClaim
from headwise.tables.frame import frame_of


def test_published_ratios_follow_from_published_slopes_and_are_unbounded():
    found = contrast(
        published_slopes(GROUPED), published_slopes(MULTI_HEAD), np.random.default_rng(5), 1999, 0.05, "raw"
    )
    values = {each.quantity: each.value for each in PUBLISHED}
    assert found.ratio_of_means == pytest.approx(values[RATIO_OF_MEANS], rel=1e-3)
    assert found.median_of_ratios == pytest.approx(values[MEDIAN_OF_RATIOS], rel=1e-3)
    assert found.verdict == "unbounded"
    assert found.why_unbounded.startswith("the reference's 73.35 is indistinguishable from 0 (95 % interval -")
    assert (found.log_low, found.log_high, found.geometric_high) == (None, None, None)
    # Three against three: no data whatever can reach 5 %.
    assert found.p == found.p_attainable == pytest.approx(0.1)


def finished_tables(**changed: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Tables of a study of a multi-head model and two that share key heads, noise at the published site and another."""
    contrasts = pd.DataFrame(
        {
            "kind": ["architecture"] * 3,
            "group": ["own", "shared", "shared"],
            "reference": "reference",
            "site": ["attention_output", "residual", "attention_output"],
            "scale": "absolute",
            "region": "all",
            "ratio_of_means": [9.0, 8.0, 3.0],
            "median_of_ratios": [9.0, 8.0, 2.5],
            "verdict": ["ratio", "ratio", "unbounded"],
            "why_unbounded": [None, None, "its reference may be 0"],
        }
    )
    return {
        "models": pd.DataFrame({"model": ["own", "shared"], "attention": ["multi-head", "grouped-query"]}),
        "noise_contrasts": contrasts,
        "key_value_duplication": pd.DataFrame({"model": ["shared", "shared"], "perplexity_ratio": [0.75, 1.125]}),
        "generated_text": pd.DataFrame({"model": "base", "heads": ["as made", "duplicated"], "slope": [2.0, 4.0]}),
        "probe": pd.DataFrame(
            {"estimator": "entropy_profile", "base": [None, None, "base"], "change_percent": [1.0, 2.0, 90.0]}
        ),
        **changed,
    }


def test_published_values_stand_beside_ours_with_their_source():
    study = example_study()
    tables = finished_tables(
        generated_text=pd.DataFrame(
            {"model": study.reference(), "heads": ["as made", "as made", "duplicated"], "slope": [2.0, 4.0, 9.0]}
        )
    )
    rows = beside_ours(study, tables)["published_perturbations"]
    assert rows["source"].str.len().gt(10).all()
    ours = rows.groupby("quantity")["ours"].first()
    assert ours["perplexity slope"] == 3
    assert ours["ratio of mean slopes"] == 3
    assert ours["median ratio of slopes"] == 2.5
    assert ours["perplexity at σ = 0 over that before duplication"] == 1.25
    assert ours["response of the index, per cent"] == 1.5
    (subject,) = rows.loc[rows["quantity"] == RATIO_OF_MEANS, "our_subject"]
    assert subject == "shared / reference"


def test_a_study_that_perturbs_nothing_lists_no_published_values():
    assert beside_ours(example_study(), {"models": pd.DataFrame()}) == {}
    assert PART.derived(example_study(), {}) == {}


def test_the_report_says_that_the_published_ratio_is_unbounded():
    study, tables = example_study(), finished_tables()
    tables |= beside_ours(study, tables) | {"stability_claims": frame_of(StabilityClaim, [])}
    (finding,) = PART.findings(study, tables)
    assert finding.id == "published:noise-ratio"
    assert "5,834" in finding.sentence
    assert "unbounded" in finding.sentence
    (passage,) = PART.passages(study, tables)
    assert len(passage.views[0][0].rows) == len(PUBLISHED)
