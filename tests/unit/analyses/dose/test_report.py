"""Which models are measured, and what the report says of them."""

import pandas as pd
import pytest

from headwise.analyses.dose.jobs import base_checkpoints, descendant_checkpoints, dose_arguments, tables
from headwise.analyses.dose.report.part import PART
from headwise.analyses.dose.rows import AlignmentDose
from headwise.study.parse import parse_study
from headwise.study.section import StudyError
from headwise.study.study import Study
from headwise.tables.frame import frame_of

ARM = {"source": "align", "base": "plain", "method": "dpo"}
MODELS = [
    {"name": "plain", "source": "train"},
    {"name": "alone", "source": "train"},
    ARM | {"name": "dpo"},
    ARM | {"name": "coin", "placebo": True},
]


def study(models: list[dict[str, object]] = MODELS, **changes: object) -> Study:
    content = {"name": "s", "prompts": {"path": "p.jsonl"}, "seeds": [1, 2], "models": models, "dose": {}}
    return parse_study({**content, **changes}, "s.yaml")


def test_every_descendant_stands_beside_its_base_of_the_same_refit() -> None:
    found = study()
    arguments = dose_arguments(found, "plain")
    assert descendant_checkpoints(found, "plain") == [
        f"results/s/models/{name}/seed{seed}" for seed in (1, 2) for name in ("dpo", "coin")
    ]
    assert base_checkpoints(found, "plain") == [f"results/s/models/plain/seed{seed}" for seed in (1, 1, 2, 2)]
    assert [(arm["seed"], arm["method"], arm["placebo"]) for arm in arguments["arms"]] == [
        (seed, *made) for seed in (1, 2) for made in (("dpo", False), ("dpo", True))
    ]


def test_a_study_that_does_not_ask_has_no_table() -> None:
    assert tables(study()) == ("dose",)
    assert tables(study(dose=None)) == ()


def test_a_study_without_descendants_has_nothing_to_measure() -> None:
    with pytest.raises(StudyError, match="dose: no model has a base: add an aligned model, or remove the section"):
        study(MODELS[:2])


def doses() -> pd.DataFrame:
    """Two refits of DPO and its coin: in the first the arm taught more, in the second less; loss rose more in both."""
    gains = {("dpo", 1): 0.2, ("coin", 1): 0.0, ("dpo", 2): 0.01, ("coin", 2): 0.05}
    return frame_of(
        AlignmentDose,
        [
            AlignmentDose(
                model=name,
                base="plain",
                method="dpo",
                placebo=name == "coin",
                dose=1,
                steps=40,
                seed=seed,
                kl_nats=0.2,
                displacement=0.01,
                accuracy_before=0.5,
                accuracy_after=0.5 + gain,
                answer_loss_before=4.0,
                answer_loss_after=4.2 if name == "dpo" else 4.1,
                positions=100,
            )
            for (name, seed), gain in gains.items()
        ],
    )


def test_the_finding_counts_refits_in_which_the_arm_taught_more() -> None:
    (finding,) = PART.findings(study(), {"dose": doses()})
    assert finding.sentence == (
        "DPO raised held-out preference accuracy more than its placebo in 1 of 2 refits, and lowered answer "
        "loss more in 0."
    )
    assert finding.n == 2


def test_tables_and_figure_have_every_refit() -> None:
    taught, of_all = PART.passages(study(), {"dose": doses()})
    assert taught.views[0][0].rows == [["plain", "DPO", "2", "−0.040 to +0.200", "−0.100 to −0.100", "1.00 to 1.00"]]
    assert len(of_all.views[0][0].rows) == 4
    (figure,) = PART.charts(study())
    assert figure.draw(study(), {"dose": doses()}) is not None


def test_an_empty_table_says_nothing() -> None:
    empty = {"dose": doses().head(0)}
    assert list(PART.findings(study(), empty)) == list(PART.passages(study(), empty)) == []
    (figure,) = PART.charts(study())
    assert figure.draw(study(), empty) is None
