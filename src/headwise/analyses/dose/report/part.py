"""The dose of alignment in the report."""

from collections.abc import Iterator
from typing import Any

import altair as alt
import pandas as pd

from headwise.analyses.dose.rows import TABLES, AlignmentDose
from headwise.analyses.dose.taught import compared_with_placebos
from headwise.report.chart_parts import families, model_labels, tooltip
from headwise.report.columns import Tables
from headwise.report.finding import Finding, described
from headwise.report.labels import amount, arm_label, ends, method_label, missing, number, share, signed
from headwise.report.part import Chart, Part, Passage
from headwise.report.style import family_colour
from headwise.report.view import NAME, NUMBER, TEXT, view
from headwise.study.study import Study

ARM, PLACEBO = "arm", "placebo"
ARM_OF = ["method", "dose"]  # columns that tell arms of a base apart


def chart(study: Study, tables: Tables) -> Any:
    """KL against optimiser steps, a panel per method: a symbol per refit, a line through the doses of each."""
    rows = tables[AlignmentDose.table]
    rows = rows[rows["steps"].notna() & rows["kl_nats"].gt(0)]
    if rows.empty:
        return None
    labels = model_labels(study)
    points = pd.DataFrame(
        {
            "label": [labels[name] for name in rows["model"]],
            "family": [study.family_of(study.model(name)) for name in rows["model"]],
            "kind": [PLACEBO if placebo else ARM for placebo in rows["placebo"]],
            "method": [method_label(row.method) for row in rows.itertuples()],
            "line": [f"{row.base} {row.seed}" for row in rows.itertuples()],
            "seed": list(rows["seed"]),
            "steps": list(rows["steps"]),
            "kl_nats": list(rows["kl_nats"]),
        }
    )
    return [_panel(study, own, str(method)) for method, own in points.groupby("method", sort=False)]


def _panel(study: Study, points: pd.DataFrame, title: str) -> Any:
    steps = sorted(set(points["steps"]))
    base = alt.Chart(points, width=250, height=200, title=title).encode(
        x=alt.X("steps:Q", title="Optimiser steps", scale=alt.Scale(type="log", nice=False, padding=12)).axis(
            values=steps, format="d"
        ),
        y=alt.Y("kl_nats:Q", title="KL from its base (nats per token)", scale=alt.Scale(type="log")),
        color=family_colour(families(study)),
    )
    kinds = alt.Scale(domain=[ARM, PLACEBO], range=["circle", "cross"])
    lines = base.mark_line(strokeWidth=1).encode(
        detail="line:N",
        strokeDash=alt.StrokeDash(
            "kind:N", scale=alt.Scale(domain=[ARM, PLACEBO], range=[[1, 0], [4, 3]]), legend=None
        ),
    )
    symbols = base.mark_point().encode(
        shape=alt.Shape("kind:N", scale=kinds, title="Made as"),
        tooltip=tooltip(Model="label:N", Seed="seed:O", Steps="steps:O", KL="kl_nats:Q"),
    )
    return alt.layer(lines, symbols)


def findings(study: Study, tables: Tables) -> Iterator[Finding]:
    """Of each arm with a placebo: in how many refits it taught more."""
    for (method, dose), of_arm in compared_with_placebos(tables[AlignmentDose.table]).groupby(ARM_OF, sort=False):
        accuracy, loss = (int(of_arm[name].gt(0).sum()) for name in ("accuracy_more", "loss_less"))
        n = len(of_arm)
        yield described(
            "a count of refits",
            id=f"dose:{method}:{dose}",
            topic="training",
            headline=False,
            sentence=(
                f"{arm_label(method, dose)} raised held-out preference accuracy more than its placebo in {accuracy} of "
                f"{amount(n, 'refit')}, and lowered answer loss more in {loss}."
            ),
            n=n,
            unit="refit",
        )


def passages(study: Study, tables: Tables) -> Iterator[Passage]:
    """What arms taught beside their placebos, and the table of all refits."""
    rows = tables[AlignmentDose.table]
    if rows.empty:
        return
    compared = compared_with_placebos(rows)
    if not compared.empty:
        summaries = (
            compared.groupby(["base", *ARM_OF], sort=False)
            .agg(
                n=("seed", "size"),
                **{
                    f"{name}_{end}": (name, end)
                    for name in ("accuracy_more", "loss_less", "kl_ratio")
                    for end in ("min", "max")
                },
            )
            .reset_index()
        )
        yield Passage(
            "What was taught, beside the placebo",
            (
                "Change under the arm less change under its placebo in the same refit: smallest and largest. Above 0 "
                "the arm taught more.",
            ),
            [
                (
                    view(
                        summaries,
                        [
                            ("Base", lambda row: row["base"], NAME),
                            ("Arm", lambda row: arm_label(row["method"], row["dose"]), NAME),
                            ("Refits", lambda row: str(row["n"]), NUMBER),
                            ("Accuracy", lambda row: _signed_ends(row, "accuracy_more"), NUMBER),
                            ("Fall of answer loss (nats)", lambda row: _signed_ends(row, "loss_less"), NUMBER),
                            (
                                "KL, times placebo's",
                                lambda row: ends(row["kl_ratio_min"], row["kl_ratio_max"], 2),
                                NUMBER,
                            ),
                        ],
                    ),
                    "Taught by an arm and not by its placebo",
                )
            ],
        )
    table = view(
        rows,
        [
            ("Model", lambda row: row["model"], NAME),
            ("Arm", lambda row: arm_label(row["method"], row["dose"], row["placebo"]), NAME),
            ("Refit", lambda row: str(row["seed"]), NUMBER),
            ("Steps", lambda row: _whole(row["steps"]), NUMBER),
            ("KL (nats per token)", lambda row: number(row["kl_nats"], 4), NUMBER),
            (
                "Weights moved by",
                lambda row: share(row["displacement"], 1) if not missing(row["displacement"]) else "–",
                NUMBER,
            ),
            ("Preference accuracy", lambda row: _change(row, "accuracy", 3), NUMBER),
            ("Answer loss (nats)", lambda row: _change(row, "answer_loss", 3), NUMBER),
            ("Remark", lambda row: row["reason"] or "", TEXT),
        ],
    )
    yield Passage(
        "How far alignment moved each model",
        (
            "KL is that of the next token from its base, mean over all positions of the prompts. Accuracy and "
            "answer loss are of held-out pairs, before and after.",
        ),
        [(table, "Dose of alignment")],
    )


def _signed_ends(row: Any, name: str) -> str:
    return f"{signed(row[f'{name}_min'], 3)} to {signed(row[f'{name}_max'], 3)}"


def _change(row: Any, name: str, digits: int) -> str:
    before, after = row[f"{name}_before"], row[f"{name}_after"]
    return "–" if missing(before) else f"{number(before, digits)} → {number(after, digits)}"


def _whole(value: Any) -> str:
    return "–" if missing(value) else str(int(value))


PART = Part(
    name="dose",
    title="Dose of alignment",
    tables=TABLES,
    charts=lambda study: [
        Chart(
            "dose",
            chart,
            "Distance of aligned models from their bases",
            "KL of the aligned model's next token from its base's, against optimiser steps, per refit; both axes are "
            "logarithmic. Lines join the doses of one refit.",
        )
    ],
    findings=findings,
    passages=passages,
)
