"""The claims about the stability of heads: the rule, the published numbers, and what the page says of them."""

import numpy as np
import pandas as pd
import pytest
from report_examples import example_study

from headwise.analyses.stability.quantities import Quantity, StabilityQuantity
from headwise.analyses.stability.uncertainty import inner_dip
from headwise.published.perturbations import PublishedPerturbation
from headwise.published.report.part import PART
from headwise.published.stability import CLAIMS, Verdict, judged_claims, verdict
from headwise.tables.frame import frame_of


@pytest.mark.parametrize(
    ("version", "numbers", "expected"),
    [
        ("published", (0.1, None, None), Verdict.SUPPORTED),
        ("published", (-0.1, None, None), Verdict.CONTRADICTED),
        ("corrected", (0.1, 0.05, 0.2), Verdict.SUPPORTED),
        ("corrected", (0.1, -0.05, 0.2), Verdict.UNDECIDED),
        ("corrected", (-0.1, -0.2, -0.05), Verdict.CONTRADICTED),
        ("corrected", (0.1, None, None), Verdict.NOT_TESTABLE),
        ("corrected", (None, None, None), Verdict.NOT_TESTABLE),
    ],
)
def test_the_rule_says_what_it_says(version, numbers, expected):
    assert verdict(version, *numbers) == expected


def test_the_published_numbers_of_the_claims():
    """Computed from the layer means and the table of least and most stable layers of the paper."""
    curve = np.array([0.970, 0.908, 0.851, 0.775, 0.643, 0.705, 0.868, 0.827])  # 8 layers, 8 heads, Adam
    assert CLAIMS[Quantity.DEPTH_GAP].published == pytest.approx(0.195)
    assert CLAIMS[Quantity.WEIGHT_DECAY_CHANGE].published == pytest.approx(0.108)
    assert CLAIMS[Quantity.STABILITY_DIP].published == pytest.approx(float(inner_dip(curve)))


def test_every_quantity_has_its_claim():
    assert list(CLAIMS) == list(Quantity)


def quantities() -> pd.DataFrame:
    """A change that the published estimator shows, and the corrected one cannot tell from zero."""
    change = {"quantity": Quantity.WEIGHT_DECAY_CHANGE, "group": "decayed − shallow"}
    return frame_of(
        StabilityQuantity,
        [
            StabilityQuantity(**change, version="published", value=0.2, n=1),
            StabilityQuantity(**change, version="corrected", value=0.1, ci_low=-0.1, ci_high=0.3, n=3),
        ],
    )


def test_claims_are_judged_from_the_quantities_of_a_study():
    rows = judged_claims(example_study(), {"stability_quantities": quantities()})["stability_claims"]
    assert rows["claim"].tolist() == ["weight_decay_helps"] * 2
    assert rows["verdict"].tolist() == ["supported", "undecided"]
    assert rows["published_value"].tolist() == pytest.approx([0.108] * 2)
    assert judged_claims(example_study(), {}) == {}


def test_the_page_says_how_many_claims_hold_and_each_of_them():
    study = example_study()
    tables = judged_claims(study, {"stability_quantities": quantities()})
    tables |= {"published_perturbations": frame_of(PublishedPerturbation, [])}
    tally, published, corrected = (f"{each.sentence} {each.numbers}" for each in PART.findings(study, tables))
    assert "1 of 1 reading hold as published, 0 of these corrected." in tally
    assert published.startswith("Weight decay makes heads more stable, in decayed − shallow, published estimator: supp")
    assert "corrected estimator: undecided. change of stability" in corrected
    (passage,) = PART.passages(study, tables)
    assert [row[-1] for row in passage.views[0][0].rows] == ["supported", "undecided"]


def test_a_study_without_published_counterparts_says_nothing():
    empty = {row.table: frame_of(row, []) for row in PART.tables}
    assert not list(PART.findings(example_study(), empty))
    assert not list(PART.passages(example_study(), empty))
