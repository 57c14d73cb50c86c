"""The rules of stability, from checkpoints and stored attention of two refits to finished tables."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from headwise.analyses.stability.group import GroupFiles
from headwise.analyses.stability.jobs import comparison_arguments, probe_arguments, summary_arguments
from headwise.analyses.stability.packed import StabilityError
from headwise.analyses.stability.probe import Probes, probe_refits
from headwise.analyses.stability.report.part import PART
from headwise.analyses.stability.settings import Stability
from headwise.models.load import load_checkpoint
from headwise.report import parts
from headwise.runtime.parquet import read_metadata
from headwise.study.extraction import Extraction
from headwise.study.models import Loading
from headwise.study.prompts import read_prompts
from headwise.study.reading import Reading
from headwise.study.study import Study
from headwise.tables.frame import typed_columns

from .conftest import Measurement, RunScript

SETTINGS = Stability(
    words=[2, 4, 500],
    random_refits=2,
    residual_tokens=60,
    ablation_excerpts=2,
    ablation_tokens=16,
    head_map_perplexity=4,
    memory_mb=64,
)
TABLES = ("beginnings", "similarities", "residual", "importance", "losses", "norms", "outputs")


@dataclass(frozen=True)
class Products:
    """What the three rules leave behind."""

    group: Path
    analyses: Path


@pytest.fixture(scope="module")
def products(
    tmp_path_factory: pytest.TempPathFactory,
    study: Study,
    prompts: tuple[Path, Path],
    documents: Path,
    measure: Callable[[str, int], Measurement],
    run_script: RunScript,
) -> Products:
    """Two refits of the tiny study, compared."""
    comparison = study.comparison.model_copy(update={"resamples": 99})
    study = study.model_copy(update={"stability": SETTINGS, "comparison": comparison})
    group, analyses = tmp_path_factory.mktemp("group"), tmp_path_factory.mktemp("analyses")
    refits = [measure("multi_head", seed) for seed in (1, 2)]
    probed = {table: group / f"{table}.parquet" for table in TABLES}
    random = [group / f"random{number}.parquet" for number in range(2)]
    run_script(
        "probe_refits",
        input={"refits": [each.checkpoint for each in refits], "prompts": prompts[0], "documents": documents},
        output={**probed, "random": random},
        arguments=probe_arguments(study, "multi_head"),
    )
    compared = {table: group / f"{table}.parquet" for table in ("pairs", "heads", "origins")}
    run_script(
        "compare_refits",
        input={
            "tensors": [each.tensors for each in refits],
            "random": random,
            "beginnings": probed["beginnings"],
            "similarities": probed["similarities"],
        },
        output=compared,
        arguments=comparison_arguments(study, "multi_head"),
    )
    run_script(
        "summarize_stability",
        input={table: [group / f"{table}.parquet"] for table in GroupFiles.__dataclass_fields__},
        output={table: analyses / f"{table}.parquet" for table in PART.columns_by_table},
        arguments=summary_arguments(study),
    )
    return Products(group, analyses)


def test_the_finished_tables_have_the_columns_of_the_report(products: Products) -> None:
    for table in PART.columns_by_table:
        path = products.analyses / f"{table}.parquet"
        assert not typed_columns(table, parts.TABLES[table], pd.read_parquet(path)).empty
        assert read_metadata(path)["study"] == "tiny"


def test_correlations_are_calibrated_and_means_of_several_are_not(products: Products) -> None:
    table = pd.read_parquet(products.analyses / "stability.parquet")
    tests = table[table["p"].notna()]
    of_means = tests["method"].str.contains("the mean of")
    assert set(of_means) == {True, False}
    assert (tests["procedure"].isna() == of_means).all()
    assert tests.loc[tests["analysis"].eq("importance_correlation") & ~of_means, "version"].eq("published").all()


def test_every_undefined_number_says_why(products: Products) -> None:
    table = pd.read_parquet(products.analyses / "stability.parquet")
    assert table[table["value"].isna()]["reason"].notna().all()
    untrained = table[table["weights"].eq("random") & table["analysis"].eq("head_stability")]
    assert not untrained.empty
    words = set(table["words"].dropna())
    assert words == {2, 4}  # no prompt has 500 words


def test_the_first_words_are_as_many_tokens_as_they_are_alone(
    products: Products, prompts: tuple[Path, Path], measure: Callable[[str, int], Measurement]
) -> None:
    _, tokenizer = load_checkpoint(measure("multi_head", 1).checkpoint)
    beginnings = pd.read_parquet(products.group / "beginnings.parquet")
    for prompt in read_prompts(prompts[0])[:3]:
        alone = tokenizer(" ".join(prompt.text.split()[:4]))["input_ids"]
        row = beginnings[beginnings["prompt"].eq(prompt.id) & beginnings["words"].eq(4)].iloc[0]
        assert row["tokens"] == len(alone)


@torch.no_grad()
def test_losses_and_importance_are_those_of_the_models(
    products: Products, prompts: tuple[Path, Path], measure: Callable[[str, int], Measurement]
) -> None:
    """Perplexity over all prompts as published: exp of the summed loss over the number of predicted tokens."""
    model, tokenizer = load_checkpoint(measure("multi_head", 1).checkpoint)
    losses, count = 0.0, 0
    for prompt in read_prompts(prompts[0]):
        ids = torch.tensor([tokenizer(prompt.text)["input_ids"]])
        logits = model(ids).logits[0, :-1]
        losses += torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum").item()
        count += ids.shape[1] - 1
    table = pd.read_parquet(products.group / "losses.parquet")
    found = table[table["text"].eq("prompts")].iloc[0]
    assert found["tokens"] == count
    assert found["loss_nats"] == pytest.approx(losses / count, abs=1e-5)
    importance = pd.read_parquet(products.group / "importance.parquet")
    assert importance.groupby(["text", "replacement"])["refit"].nunique().to_dict() == {
        ("held_out", "mean"): 2,
        ("held_out", "zero"): 2,
        ("prompts", "value_bias"): 1,
    }
    assert np.isfinite(importance[["delta_loss_nats", "delta_perplexity"]]).all(axis=None)


@pytest.mark.parametrize("saved", ["copied", "in other files"])
def test_refits_with_the_same_weights_are_refused(
    saved: str,
    tmp_path: Path,
    prompts: tuple[Path, Path],
    documents: Path,
    measure: Callable[[str, int], Measurement],
) -> None:
    checkpoints = [measure("multi_head", seed).checkpoint for seed in (1, 2)]
    copy = shutil.copytree(checkpoints[0], tmp_path / "copy")
    if saved == "in other files":
        model, _ = load_checkpoint(copy)
        (copy / "model.safetensors").unlink()
        model.save_pretrained(copy, max_shard_size="20KB")
        assert len(list(copy.glob("*.safetensors"))) > 1
    refits = [Reading("multi_head", path, Extraction(), Loading()) for path in (*checkpoints, copy)]
    probes = Probes(*[tmp_path / f"{table}.parquet" for table in TABLES], random=[])
    metadata = {"group": "refits", "refits": ["a seed 1", "a seed 2", "b seed 1"]}
    settings = Stability(analyses=["heads"])
    with pytest.raises(StabilityError, match=r"group 'refits': a seed 1 and b seed 1 have the same weights.*leave one"):
        probe_refits(refits, prompts[0], probes, settings, metadata, documents)
    assert not list(tmp_path.glob("*.parquet"))


def test_the_residual_stream_is_read_on_whole_prompts_up_to_a_number_of_tokens(products: Products) -> None:
    residual = pd.read_parquet(products.group / "residual.parquet")
    assert residual["tokens"].nunique() == 1
    assert 8 <= residual["tokens"].iloc[0] <= 60
    assert set(residual["weights"]) == {"trained", "random"}
    assert residual["value"].dropna().le(1 + 1e-9).all()
