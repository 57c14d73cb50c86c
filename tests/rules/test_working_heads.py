"""Rule measure_working_heads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from headwise.analyses.working_heads.jobs import judged_models, tables, working_heads_arguments
from headwise.runtime.json_files import read_json
from headwise.study.study import Study


@pytest.mark.slow
@pytest.mark.parametrize("worth", [0.5, 0.0])
def test_models_of_six_steps_have_no_working_heads(
    tmp_path: Path,
    study: Study,
    measure: Callable[[str, int], Any],
    documents: Path,
    run_script: Callable[..., None],
    worth: float,
) -> None:
    made = [measure("multi_head", 1), measure("multi_head-sft", 1)]
    arguments = working_heads_arguments(study)
    arguments["settings"] |= {"attention_worth": worth}
    table = tmp_path / "working_heads.parquet"
    run_script(
        "measure_working_heads",
        input={
            "checkpoints": [each.checkpoint for each in made],
            "documents": [documents] * 2,
            "descriptors": [each.descriptors for each in made],
        },
        output={"table": table},
        arguments=arguments,
    )
    rows = pd.read_parquet(table)
    assert rows["model"].tolist() == ["multi_head", "multi_head-sft"]
    assert rows["base"].fillna("").tolist() == ["", "multi_head"]
    assert not rows["works"].any()
    assert rows["attention_works"].eq(rows["attention_worth_nats"] >= worth).all()
    assert rows["tokens_seen"].tolist() == [6 * 4 * 32] * 2
    assert rows["bigram_loss_nats"].nunique() == 1
    facts = read_json(made[0].checkpoint / "facts.json")["training"]
    assert rows["loss_nats"][0] == pytest.approx(facts["held_out_loss_nats"], abs=1e-3)
    heads = pd.read_parquet(made[0].descriptors).set_index(["layer", "head"])["previous_token"]
    assert rows["previous_token"][0] == heads.max()
    assert (rows["layer"][0], rows["head"][0]) == heads.idxmax()


def test_descendants_are_judged_after_all_bases_and_nothing_where_it_is_not_asked(study: Study) -> None:
    assert [model.name for model in judged_models(study)] == [model.name for model in study.models]
    assert tables(study) == ("working_heads",)
    assert tables(study.model_copy(update={"working_heads": None})) == ()
