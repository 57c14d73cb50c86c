"""Published numbers of the noise, duplication and probe experiments, and what a study found of the same quantities."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd

from headwise.analyses.noise.rows import (
    GeneratedTextSlope,
    Heads,
    KeyValueDuplication,
    Kind,
    NoiseContrast,
    ProbeResponse,
)
from headwise.analyses.noise.settings import Region, Scale, Site
from headwise.statistics.ratio_verdict import RatioVerdict
from headwise.statistics.result import joined
from headwise.study.study import Study
from headwise.tables.frame import frame_of
from headwise.tables.row import Row, column

RELEASE = "D'Elia 2026, release, paper4/results/"
SLOPES = "D'Elia 2026, noise experiment, seeds 42, 123, 456"
SAME_FAMILY = RELEASE + "E06/E06d_Same_Family_20260116_130059.json"
DUPLICATION = RELEASE + "E21_E22/E22_Indra_Cure_v2_20260116_231418.json"
LLAMA_2 = RELEASE + "E11/E11T_indra_llama2_v3_20260113_131246.json"
GEMMA_2 = RELEASE + "E11/E11_indra_gemma_20260113_202833.json"

SLOPE, RATIO_OF_MEANS, MEDIAN_OF_RATIOS = "perplexity slope", "ratio of mean slopes", "median ratio of slopes"
CHANGE_BY_DUPLICATION = "perplexity at σ = 0 over that before duplication"
RESPONSE = "response of the index, per cent"
MULTI_HEAD, GROUPED = "Llama-2-7b (multi-head)", "Mistral-7B (grouped-query)"
# The cell of the noise experiment that was published.
PUBLISHED_CELL = {"site": Site.ATTENTION_OUTPUT, "scale": Scale.ABSOLUTE, "region": Region.ALL}
NOT_MEASURED = "not measured in this study"
Tables = Mapping[str, pd.DataFrame]
# A number of this study, of which models, and why there is none or what differs.
Ours = tuple[float | None, str | None, str | None]


@dataclass(frozen=True)
class PublishedValue:
    """One published number: experiment, quantity, which model, at which seed (None: over seeds), and its source."""

    experiment: str
    quantity: str
    subject: str
    seed: int | None
    value: float
    source: str


PUBLISHED = (
    PublishedValue("noise", SLOPE, MULTI_HEAD, 42, 16.73, SLOPES),
    PublishedValue("noise", SLOPE, MULTI_HEAD, 123, 156.96, SLOPES),
    PublishedValue("noise", SLOPE, MULTI_HEAD, 456, 46.35, SLOPES),
    PublishedValue("noise", SLOPE, GROUPED, 42, 451342.0, SLOPES),
    PublishedValue("noise", SLOPE, GROUPED, 123, 391573.0, SLOPES),
    PublishedValue("noise", SLOPE, GROUPED, 456, 440977.0, SLOPES),
    PublishedValue("noise", RATIO_OF_MEANS, "Mistral-7B / Llama-2-7b", None, 5834.0, SLOPES),
    PublishedValue("noise", MEDIAN_OF_RATIOS, "Mistral-7B / Llama-2-7b", None, 9515.0, SLOPES),
    PublishedValue("noise", SLOPE, "Llama-3-8B (grouped-query)", 456, 5612488.770763397, SAME_FAMILY),
    PublishedValue("noise", "ratio of slopes", "Llama-3-8B / Llama-2-7b", 456, 121096.77996893263, SAME_FAMILY),
    PublishedValue(
        "duplication", CHANGE_BY_DUPLICATION, "Llama-3-8B, 8 to 16 heads", 42, 120.41841201782226 / 2.4207610845565797,
        DUPLICATION,
    ),
    PublishedValue(
        "duplication", CHANGE_BY_DUPLICATION, "Llama-3-8B, 8 to 32 heads", 42, 52560.344960021976 / 2.4207610845565797,
        DUPLICATION,
    ),
    PublishedValue("probe", RESPONSE, "Llama-2-7b, all layers, best of 24 cells", None, 114.05269658271617, LLAMA_2),
    PublishedValue("probe", RESPONSE, "Llama-2-7b-chat, middle, best of 24 cells", None, -24.024344988069355, LLAMA_2),
    PublishedValue("probe", RESPONSE, "Llama-3.1-8B-Instruct, best of 24 cells", None, 28.6, LLAMA_2),
    PublishedValue("probe", RESPONSE, "Llama-3.1-8B, best of 24 cells", None, -30.5, LLAMA_2),
    PublishedValue("probe", RESPONSE, "Gemma-2-9b-it, late, best of 24 cells", None, 5.147889811201192, GEMMA_2),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PublishedPerturbation(Row):
    """A published number, and beside it what this study found of the same quantity."""

    table: ClassVar[str] = "published_perturbations"
    in_results: ClassVar[bool] = True
    experiment: str = column("noise, duplication or probe")
    quantity: str = column("What was published", heading="Quantity")
    subject: str = column("Of which model", heading="Model")
    seed: int | None = column("At which seed; null: over seeds", heading="Seed", default=None)
    published: float = column("The published value", heading="Published")
    source: str = column("Where it stands", heading="Source")
    ours: float | None = column("The nearest quantity of this study", heading="Here", default=None)
    our_subject: str | None = column("Of which model", heading="Of", default=None)
    reason: str | None = column("Why a number is missing, or how it was made", heading="Remark", default=None)


def published_slopes(subject: str) -> dict[int, float]:
    """Slopes of perplexity on σ of one model, by seed."""
    return {
        each.seed: each.value
        for each in PUBLISHED
        if each.quantity == SLOPE and each.subject == subject and each.seed is not None
    }


def beside_ours(study: Study, tables: Tables) -> dict[str, pd.DataFrame]:
    """The table of published values, where the study perturbs models; from its finished tables and that of models."""
    if NoiseContrast.table not in tables:
        return {}
    rows = []
    for each in PUBLISHED:
        ours, subject, reason = _ours(each, study.reference(), tables)
        rows.append(
            PublishedPerturbation(
                experiment=each.experiment,
                quantity=each.quantity,
                subject=each.subject,
                seed=each.seed,
                published=each.value,
                source=each.source,
                ours=ours,
                our_subject=subject,
                reason=reason,
            )
        )
    return {PublishedPerturbation.table: frame_of(PublishedPerturbation, rows)}


def _ours(each: PublishedValue, reference: str, tables: Tables) -> Ours:
    """What stands beside a published value; `reference`: the base that others are contrasted with."""
    if each.quantity == RATIO_OF_MEANS:
        return _our_ratio(tables, "ratio_of_means")
    if each.quantity == MEDIAN_OF_RATIOS:
        return _our_ratio(tables, "median_of_ratios")
    if each.quantity == CHANGE_BY_DUPLICATION:
        return _our_duplication(tables[KeyValueDuplication.table])
    if each.quantity == SLOPE and len(rows := tables[GeneratedTextSlope.table]):
        rows = rows[(rows["heads"] == Heads.AS_MADE) & (rows["model"] == reference)]
        return _mean(rows["slope"]), reference, "mean over refits and draws"
    if each.quantity == RESPONSE and len(rows := tables[ProbeResponse.table]):
        rows = rows[(rows["estimator"] == "entropy_profile") & rows["base"].isna()]
        return _mean(rows["change_percent"]), "all bases", "mean over refits, in the one declared cell"
    return None, None, NOT_MEASURED


def _mean(values: "pd.Series[float]") -> float | None:
    mean = values.astype("float64").mean()
    return None if pd.isna(mean) else float(mean)


def _our_ratio(tables: Tables, column: str) -> Ours:
    """The contrast of the first model whose query heads share key heads in groups, at the published site."""
    contrasts, models = tables[NoiseContrast.table], tables["models"]
    if contrasts.empty:
        return None, None, NOT_MEASURED
    grouped = models.loc[models["attention"] == "grouped-query", "model"]
    rows = contrasts[(contrasts["kind"] == Kind.ARCHITECTURE) & contrasts["group"].isin(grouped)]
    for name, value in PUBLISHED_CELL.items():
        rows = rows[rows[name] == value]
    if rows.empty:
        return None, None, "no grouped-query model is contrasted at this site"
    row = rows.iloc[0]
    words = joined(
        "areas under the change of the loss, not slopes of perplexity",
        f"unbounded: {row['why_unbounded']}" if row["verdict"] == RatioVerdict.UNBOUNDED else None,
    )
    return (None if pd.isna(row[column]) else float(row[column])), f"{row['group']} / {row['reference']}", words


def _our_duplication(duplication: pd.DataFrame) -> Ours:
    if duplication.empty:
        return None, None, NOT_MEASURED
    ratio = float(duplication["perplexity_ratio"].astype("float64").sub(1).abs().max()) + 1
    return ratio, ", ".join(dict.fromkeys(duplication["model"])), "farthest from 1 of all refits"
