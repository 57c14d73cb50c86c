"""Rules declare, check_declaration, calibrate and run_controls."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from headwise.analyses.calibration.jobs import calibration_arguments
from headwise.analyses.calibration.settings import Calibration
from headwise.analyses.controls.jobs import control_arguments
from headwise.analyses.declaration.jobs import check_arguments, declaration_arguments
from headwise.analyses.specialization.settings import Specialization
from headwise.runtime.json_files import read_json
from headwise.runtime.parquet import read_metadata
from headwise.study.study import Study

Measure = Callable[[str, int], Any]


def test_the_declaration_is_kept_and_compared(tmp_path: Path, study: Study, run_script: Callable[..., None]) -> None:
    declaration, table = tmp_path / "declaration.json", tmp_path / "declaration.parquet"
    run_script("declare", input={}, output={"declaration": declaration}, arguments=declaration_arguments(study))
    assert read_json(declaration)["declared"]["primary"] == study.comparison.primary
    changed = study.model_copy(update={"comparison": study.comparison.model_copy(update={"equivalence_margin": 0.5})})
    run_script(
        "check_declaration",
        input={"declaration": declaration},
        output={"table": table},
        arguments=check_arguments(changed),
    )
    rows = pd.read_parquet(table).set_index("field")
    assert rows.index[rows["changed"]].tolist() == ["equivalence_margin"]
    assert read_metadata(table)["study"] == study.name


def test_calibration_has_a_row_for_every_procedure(
    tmp_path: Path, study: Study, prompts: tuple[Path, Path], run_script: Callable[..., None]
) -> None:
    study = study.model_copy(update={"calibration": Calibration(simulations=100, effects=[1.0])})
    contents = []
    for name in ("once", "again"):
        table = tmp_path / name / "calibration.parquet"
        run_script(
            "calibrate", input={"prompts": prompts[1]}, output={"table": table}, arguments=calibration_arguments(study)
        )
        contents.append(table.read_bytes())
    assert contents[0] == contents[1]
    rows = pd.read_parquet(table)
    assert {"rejection", "coverage", "power"} == set(rows["quantity"])
    assert rows["units"].str.contains("12 prompts in 3 domains").any()
    assert not rows["kept"].eq("no").any()


@pytest.mark.slow
def test_all_controls_pass_on_the_tiny_study(
    tmp_path: Path, study: Study, measure: Measure, prompts: tuple[Path, Path], run_script: Callable[..., None]
) -> None:
    model = measure("multi_head", 1)
    table = tmp_path / "controls.parquet"
    run_script(
        "run_controls",
        input={
            "checkpoint": model.checkpoint,
            "features": model.features,
            "summaries": [model.summary, measure("multi_head", 2).summary],
            "prompts": prompts[0],
        },
        output={"table": table},
        arguments=control_arguments(study),
    )
    rows = pd.read_parquet(table).set_index("control")
    left_out = ["published indices from released matrices", "a learned circuit"]
    assert rows.index[rows["outcome"] != "pass"].tolist() == left_out
    assert set(rows.loc[left_out, "outcome"]) == {"not run"}
    for name in study.section(Specialization).pair_statistics():
        assert rows.loc[f"cloned heads, {name}", "outcome"] == "pass"
    assert rows.loc["a sliding window wider than the prompt", "found"] == 0
    assert rows.loc["captured attention against the library's eager attention", "found"] == 0
