"""The figure of one head over one text."""

from typing import Any

import altair as alt
import pandas as pd

from headwise.report.figures import Figure
from headwise.report.style import COLOURS, styled

CELL = 14  # pixels per token


def head_figure(rows: pd.DataFrame, title: str) -> Figure:
    """Attention of a head as a matrix: a row per query from the top, a column per key; `rows` as `headwise.look` gives
    them."""
    tokens = rows.drop_duplicates("query").sort_values("query")
    names = [
        f"{place} {token.strip() or '·'}" for place, token in zip(tokens["query"], tokens["query_token"], strict=True)
    ]
    labelled = pd.DataFrame(
        {
            "query": [names[place] for place in rows["query"]],
            "key": [names[place] for place in rows["key"]],
            "weight": rows["weight"],
        }
    )
    side = CELL * len(names)
    chart: Any = (
        alt.Chart(labelled, width=side, height=side, title=title)
        .mark_rect()
        .encode(
            x=alt.X("key:N", sort=names, title="Key", axis=alt.Axis(orient="top", labelAngle=-90)),
            y=alt.Y("query:N", sort=names, title="Query"),
            color=alt.Color(
                "weight:Q", title="Attention", scale=alt.Scale(domain=[0, 1], range=["#FFFFFF", COLOURS[0]])
            ),
        )
    )
    with alt.data_transformers.disable_max_rows():
        return Figure("head", title, "", "look", styled(chart).to_dict())
