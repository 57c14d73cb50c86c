"""Rules measure_dose and gather_doses."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from headwise.analyses.dose.jobs import dose_arguments, gathering_arguments
from headwise.analyses.dose.settings import Dose, descendants_of
from headwise.runtime.parquet import read_metadata
from headwise.study.study import Study
from rules.conftest import Measurement, RunScript


def test_doses_of_the_descendants_of_a_base(
    folder: Path,
    study: Study,
    measure: Callable[[str, int], Measurement],
    prompts: tuple[Path, Path],
    run_script: RunScript,
) -> None:
    study = study.model_copy(update={"dose": Dose(prompts=3)})
    pairs = [(model.name, seed) for model, seed in descendants_of(study, "multi_head")]
    aligned = [measure(name, seed).checkpoint for name, seed in pairs]
    part, table = folder / "dose" / "multi_head.parquet", folder / "analyses" / "dose.parquet"
    run_script(
        "measure_dose",
        input={
            "bases": [measure("multi_head", seed).checkpoint for _, seed in pairs],
            "aligned": aligned,
            "files": [],
            "prompts": prompts[0],
            "facts": prompts[1],
        },
        output={"table": part},
        arguments=dose_arguments(study, "multi_head"),
        wildcards={"model": "multi_head"},
    )
    run_script("gather_doses", input={"parts": [part]}, output={"table": table}, arguments=gathering_arguments(study))
    assert read_metadata(table)["study"] == "tiny"
    rows = pd.read_parquet(table)
    assert list(zip(rows["model"], rows["seed"], strict=True)) == pairs
    assert rows["kl_nats"].gt(0).all()
    assert rows["displacement"].between(0, 0.1, inclusive="neither").all()
    for row, checkpoint in zip(rows.itertuples(), aligned, strict=True):
        facts = json.loads((checkpoint / "facts.json").read_text())["alignment"]
        assert (row.steps, row.accuracy_before) == (facts["steps"], facts["before"]["preference_accuracy"])
        assert row.answer_loss_after == facts["after"]["response_loss_nats"]
