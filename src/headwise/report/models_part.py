"""The models of a study on the page: what they are, and how they were trained."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import altair as alt
import pandas as pd

from headwise.report.chart_parts import families, labelled, panels_by, spread, tooltip
from headwise.report.columns import Tables
from headwise.report.finding import Finding, described
from headwise.report.labels import BASE, amount, cell, labels_of_methods, missing, number, plain, same, share
from headwise.report.part import Chart, Light, Part, Passage
from headwise.report.rows import TABLES
from headwise.report.style import GREY, family_colour
from headwise.report.view import NAME, NUMBER, Row, View, view
from headwise.study.study import Study
from headwise.tables.frame import records

POINTS_OF_A_CURVE = 75
# Of many models, as 8 refits of 30 arms are, fewer: the page has to stay small.
POINTS_OF_A_STAGE, FEWEST_POINTS = 400, 8
SPLITS = {"train": "training text", "held_out": "held-out text"}


SOURCES = {
    "train": "trained from scratch",
    "align": "aligned here",
    "folder": "read from disk",
    "hub": "fetched",
    "transformer_lens": "converted",
}


def findings(study: Study, tables: Tables) -> Iterator[Finding]:
    """Whether training worked, and which seeds changed nothing."""
    yield from _training(tables)
    yield from _preferences(study, tables)
    yield from _repeats(tables)


def _training(tables: Tables) -> Iterator[Finding]:
    """Whether the bases that the study trained know more than how common each token is."""
    models = tables["models"]
    bases = models[models["base"].isna() & models["held_out_loss_nats"].notna()]
    bases = bases[bases["unigram_entropy_nats"].notna()]
    if bases.empty:
        return
    loss, entropy = bases["held_out_loss_nats"], bases["unigram_entropy_nats"]
    yield described(
        "a count",
        id="training",
        topic="training",
        headline=False,
        sentence=(
            f"{int((loss < entropy).sum())} of {amount(len(bases), 'trained base model')} (each refit "
            "counts) predict held-out text better than token frequencies do."
        ),
        numbers=(
            f"loss {number(loss.min(), 2)} to {number(loss.max(), 2)} nats per token; token frequencies alone: "
            f"{number(entropy.mean(), 2)} nats"
        ),
        n=len(bases),
        unit="refit",
    )


def _preferences(study: Study, tables: Tables) -> Iterator[Finding]:
    """Whether alignment taught the preference; if not, that heads stay as they are says nothing."""
    models = tables["models"]
    aligned = models[models["preference_accuracy_after"].notna()]
    aligned = aligned[aligned["preference_accuracy_before"].notna()]
    labels = labels_of_methods(study, tables)
    for method in records(aligned[["method"]].drop_duplicates()):
        rows = aligned[same(aligned["method"], method["method"])]
        before, after = rows["preference_accuracy_before"], rows["preference_accuracy_after"]
        yield described(
            "a description, not a test",
            id=f"training:{method['method'] or '-'}",
            topic="training",
            headline=False,
            sentence=(
                f"Before {labels[method['method']]} the preferred response is the likelier in "
                f"{share(before.mean())} of held-out pairs, afterwards in {share(after.mean())}."
            ),
            numbers=(
                f"it rose in {int((after > before).sum())} of {amount(len(rows), 'aligned model')} (each refit counts)"
            ),
            estimate=float((after - before).mean()),
            n=len(rows),
            unit="refit",
        )


def _repeats(tables: Tables) -> Iterator[Finding]:
    """Seeds that changed nothing."""
    models = tables["models"]
    repeats = models[models["repeats_seed"].notna()]
    if repeats.empty:
        return
    yield described(
        "a count",
        id="check:repeats",
        topic="check",
        headline=True,
        sentence=(
            f"{amount(len(repeats), 'seed')} of {amount(repeats['model'].nunique(), 'model')} changed nothing: the "
            "weights are those of an earlier seed."
        ),
        numbers="a check of determinism; they count for no test",
        n=len(repeats),
        unit="seed",
    )


def light(tables: Tables) -> Light | None:
    """Seeds that changed nothing."""
    repeats = int(tables["models"]["repeats_seed"].notna().sum())
    return Light(False, f"{amount(repeats, 'seed')} changed nothing") if repeats else None


def training_chart(study: Study, tables: Tables) -> Any:
    """Loss curves of everything that was trained: a panel per stage and family."""
    curves = tables["training"]
    if curves.empty:
        return None
    rows = labelled(study, curves)
    return [
        panel
        for method in dict.fromkeys(rows["method"])
        for panel in _stage(study, method, rows[rows["method"] == method], tables["models"])
    ]


def _stage(study: Study, method: str, rows: pd.DataFrame, models: pd.DataFrame) -> list[Any]:
    """A panel per family."""
    # Training loss exists for every step; a curve needs no more points than it has pixels.
    curves = rows.groupby(["model", "seed"]).ngroups
    every = max(1, int(rows["step"].max()) // min(POINTS_OF_A_CURVE, max(FEWEST_POINTS, POINTS_OF_A_STAGE // curves)))
    rows = rows[rows["split"].isin(list(SPLITS)) & (rows["split"].ne("train") | (rows["step"] % every == 0))]
    entropy = models.groupby("family")["unigram_entropy_nats"].mean()
    rows = rows.assign(split=rows["split"].map(SPLITS), unigram=rows["family"].map(entropy) if method == BASE else None)
    points = rows[["label", "model", "family", "seed", "step", "split", "loss_nats", "unigram"]]
    dashes = alt.Scale(domain=list(SPLITS.values()), range=[[2, 2], [1, 0]])
    shown = pd.concat([points["loss_nats"], points["unigram"].dropna().astype("float64")])
    scale = alt.Scale(domain=spread(shown), zero=False)

    def panel(own: pd.DataFrame) -> Any:
        base = alt.Chart(own, width=170, height=110)
        lines = base.mark_line(strokeWidth=1.2).encode(
            x=alt.X("step:Q", title="Step", axis=alt.Axis(tickCount=5)),
            y=alt.Y("loss_nats:Q", title="Loss (nats)", scale=scale),
            color=family_colour(families(study), legend=False),
            strokeDash=alt.StrokeDash("split:N", scale=dashes, legend=alt.Legend(title="Text", symbolType="stroke")),
            detail=["model:N", "seed:N"],
            tooltip=tooltip(Model="label:N", Seed="seed:O", Step="step:O", Loss="loss_nats:Q"),
        )
        rule = base.mark_rule(color=GREY, strokeDash=[6, 3]).encode(y="mean(unigram):Q")
        return alt.layer(rule, lines) if own["unigram"].notna().any() else alt.layer(lines)

    panels = panels_by(points, "family", panel)
    return panels if method == BASE else [each.properties(title=f"{each.title}, {method}") for each in panels]


def models_view(study: Study, tables: Tables) -> View:
    """One row per model; numbers of training are means over its refits."""
    numbers = ["held_out_loss_nats", "corpus_loss_nats_before", "corpus_loss_nats_after"]
    numbers += ["preference_accuracy_before", "preference_accuracy_after"]
    models = tables["models"]
    rows = models.drop_duplicates("model").set_index("model")
    refits = models[models["repeats_seed"].isna()].groupby("model", sort=False)
    rows = rows.assign(refits=refits.size())
    rows[numbers] = refits[numbers].mean()
    return view(
        rows.reset_index(),
        [
            ("Model", lambda row: plain(row["model"]), NAME),
            ("Made", partial(_made, labels_of_methods(study, tables)), NAME),
            ("Refits", lambda row: str(row["refits"]), NUMBER),
            ("Attention", lambda row: cell(row["attention"]), NAME),
            ("Layers", lambda row: cell(row["layers"]), NUMBER),
            ("Heads", lambda row: cell(row["heads"]), NUMBER),
            ("Key-value heads", lambda row: cell(row["key_value_heads"]), NUMBER),
            ("Head width", lambda row: cell(row["head_width"]), NUMBER),
            ("Window (tokens)", lambda row: _window(row), NUMBER),
            ("Crowding", lambda row: number(row["crowding"], 2), NUMBER),
            (
                "Parameters",
                lambda row: "–" if missing(row["parameters"]) else f"{row['parameters']:,}",
                NUMBER,
            ),
            ("Held-out loss (nats)", lambda row: _loss(row), NUMBER),
            ("Preference accuracy", lambda row: _preference(row), NUMBER),
        ],
    )


def _made(labels: Mapping[str | None, str], row: Row) -> str:
    if missing(row["base"]):
        return SOURCES.get(row["source"], plain(row["source"]))
    return f"{labels[row['method']]} of {plain(row['base'])}"


def _window(row: Row) -> str:
    if missing(row["window_layers"]):
        return "–"
    if not row["window_layers"]:
        return "none"
    everywhere = row["window_layers"] == row["layers"]
    window = f"{row['window_tokens']}" + ("" if everywhere else f" in {amount(row['window_layers'], 'layer')}")
    cannot_act = not missing(row["window_layers_acting"]) and not row["window_layers_acting"]
    return f"{window}, acts on no prompt" if cannot_act else window


def _loss(row: Row) -> str:
    if not missing(row["corpus_loss_nats_after"]):
        return f"{number(row['corpus_loss_nats_before'], 2)} → {number(row['corpus_loss_nats_after'], 2)}"
    return number(row["held_out_loss_nats"], 2)


def _preference(row: Row) -> str:
    if missing(row["preference_accuracy_after"]):
        return "–"
    return f"{number(row['preference_accuracy_before'], 2)} → {number(row['preference_accuracy_after'], 2)}"


def passages(study: Study, tables: Tables) -> Iterator[Passage]:
    """A row per model."""
    yield Passage(
        "What they are",
        (
            "Crowding is heads / key-value heads × heads / head width. Preference accuracy is the share of held-out "
            "preference pairs whose preferred text is the more likely one.",
        ),
        [
            (
                models_view(study, tables),
                "What the models are, read from their configurations; losses and accuracies are means over refits, "
                "before → after alignment",
            )
        ],
    )


PART = Part(
    name="models",
    title="Models",
    tables=TABLES,
    charts=lambda study: [
        Chart(
            "training",
            training_chart,
            "How the models were trained",
            "Loss on training and on held-out text, a line per refit. Dashed grey: entropy of the token "
            "frequencies, which a model reaches that knows nothing but how common each token is. The loss "
            "of DPO is not a loss of language modelling and starts at ln 2.",
        ),
    ],
    findings=findings,
    light=light,
    passages=passages,
)
