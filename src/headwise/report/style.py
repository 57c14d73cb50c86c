"""The look of the figures: one font, full opacity, colours that any colour vision can tell apart."""

from collections.abc import Sequence
from typing import Any

import altair as alt

# Okabe & Ito 2008, without black and yellow, which vanish on a dark or a light page; then a grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
SHAPES = (
    "circle",
    "triangle-up",
    "square",
    "diamond",
    "cross",
    "triangle-down",
    "triangle-right",
    "triangle-left",
)
DASHES = ([1, 0], [6, 3], [2, 2], [8, 2, 2, 2], [4, 4], [1, 3])
GREY = "#808080"
BAND = "#ECECEC"
# One weight of one font, and nothing translucent: with more, the PDF writer numbers its resources at random.
FONT = "Liberation Sans, Arimo, Arial, Helvetica, sans-serif"
LONGEST_LEGEND = len(COLOURS)  # with more families colours repeat, and names stand beside the rows
PLAIN_LABEL = "replace(datum.label, /_/g, ' ')"
ROW = 20  # pixels


def family_scale(families: Sequence[str]) -> alt.Scale:
    """A colour per family, the same in every figure. Where families outnumber colours, these repeat."""
    return alt.Scale(
        domain=list(families), range=[COLOURS[position % len(COLOURS)] for position in range(len(families))]
    )


def family_colour(families: Sequence[str], legend: bool = True) -> alt.Color:
    """Colour by family."""
    shown = legend and 1 < len(families) <= LONGEST_LEGEND
    return alt.Color(
        "family:N",
        scale=family_scale(families),
        legend=alt.Legend(title="Family", symbolType="square", labelExpr=PLAIN_LABEL) if shown else None,
    )


def method_shape(methods: Sequence[str], shown: Sequence[str]) -> alt.Shape:
    """Shape by method of alignment, the same in every figure; the legend lists the methods in `shown`."""
    shapes = [SHAPES[position % len(SHAPES)] for position in range(len(methods))]
    return alt.Shape(
        "method:N",
        scale=alt.Scale(domain=list(methods), range=shapes),
        legend=alt.Legend(title="Alignment", values=list(shown), symbolFillColor=GREY, symbolStrokeColor=GREY)
        if len(shown) > 1
        else None,
    )


def method_dash(methods: Sequence[str]) -> alt.StrokeDash:
    """Line by method of alignment; bases are solid. The symbols on the lines have the legend."""
    dashes = [DASHES[position % len(DASHES)] for position in range(len(methods))]
    return alt.StrokeDash("method:N", scale=alt.Scale(domain=list(methods), range=dashes), legend=None)


def styled(chart: Any) -> Any:
    """The chart with the look that all figures share."""
    return (
        # What is read aloud is the figure's own text: single marks say nothing.
        chart.configure(font=FONT, background="white", padding=4, aria=False)
        .configure_mark(aria=False)
        .configure_view(stroke="#BBBBBB", strokeWidth=1)
        .configure_axis(
            titleFontWeight="normal",
            titleFontSize=12,
            labelFontSize=11,
            gridColor="#E4E4E4",
            domainColor=GREY,
            tickColor=GREY,
            labelFlush=False,
            labelOverlap="greedy",
            labelSeparation=5,
            labelLimit=0,  # none: two names must not be cut to one text
        )
        .configure_title(fontWeight="normal", fontSize=13, anchor="start", frame="group", offset=6)
        .configure_header(
            titleFontWeight="normal",
            labelFontWeight="normal",
            labelFontSize=12,
            labelAnchor="start",
            title=None,
        )
        .configure_legend(titleFontWeight="normal", labelFontSize=11, titleFontSize=12, labelLimit=0)
        .configure_point(opacity=1, size=42)
        .configure_line(opacity=1, strokeWidth=1.6)
        .configure_rule(opacity=1)
        .configure_tick(opacity=1)
    )
