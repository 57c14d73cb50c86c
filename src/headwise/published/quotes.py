"""Slopes of perplexity, and ratios of them, that files quote without the curves behind them."""

from collections.abc import Iterator, Sequence

import numpy as np

from headwise.published.items import NoiseCurve, Quoted
from headwise.published.noise import slope
from headwise.published.repetition import of_experiment, plain
from headwise.published.row import Row, rounds_to, row
from headwise.statistics.result import joined

SLOPE, RATIO, ALL_CURVES = "quoted slope", "quoted ratio", "ratio of mean slopes over every curve of the two models"
USED = "the file speaks of it at"
NOT_VERIFIED = "marked data_verified: false"


def quote_rows(quotes: Sequence[Quoted], curves: Sequence[NoiseCurve]) -> Iterator[Row]:
    """Each quote beside what the curves of the experiment that it names give, or those of all files.

    A quote that a file repeats is one.
    """
    groups: dict[object, list[Quoted]] = {}
    for quote in quotes:
        identity = (quote.place.file, quote.source, quote.model, quote.printed)
        groups.setdefault(identity if quote.source else quote.place, []).append(quote)
    for first, *again in groups.values():
        if first.model is not None:
            yield _slope(first, _of_model(first, curves), 1 + len(again))
    for first, *again in groups.values():
        if first.model is None:
            yield from _ratio(first, [group[0] for group in groups.values()], curves, 1 + len(again))


def _of_model(quote: Quoted, curves: Sequence[NoiseCurve]) -> list[NoiseCurve]:
    """The curves of a quote's model in the files of its experiment; in all files where it names none."""
    return [
        curve
        for curve in curves
        if quote.source is None or of_experiment(curve.place.file, quote.source)
        if curve.place.keys and plain(curve.place.keys[-1]).startswith(plain(str(quote.model)))
    ]


def _fit(curve: NoiseCurve) -> float:
    estimate = slope(curve.sigmas, curve.perplexities, "")[0].estimate
    return np.nan if estimate is None else estimate


def _slope(quote: Quoted, curves: Sequence[NoiseCurve], times: int) -> Row:
    fits = {curve: _fit(curve) for curve in curves}
    nearest = min(
        (curve for curve in curves if np.isfinite(fits[curve])), default=None,
        key=lambda curve: abs(fits[curve] - quote.printed),
    )  # fmt: skip
    value = None if nearest is None else fits[nearest]
    reason = None
    if nearest is None:
        where = f"of {quote.source}" if quote.source else "of any file"
        reason = f"no curve {where} here is of this model"
    return row(
        quote.place, SLOPE, f"slope of perplexity of {quote.model}", printed=quote.printed, value=value,
        agreement="" if value is None else _agreement(value, quote.printed), n=len(curves), times=times,
        method="" if nearest is None else f"curve at {_where(nearest)}",
        remark=joined(
            reason, None if quote.confirmed else NOT_VERIFIED,
            f"{USED} {', '.join(quote.used)}" if quote.used else None,
        ),
    )  # fmt: skip


def _ratio(quote: Quoted, quotes: Sequence[Quoted], curves: Sequence[NoiseCurve], times: int) -> Iterator[Row]:
    """The ratio of the curves of the experiment, seeds that both models have; then that of all their curves."""
    siblings = [
        each for each in quotes
        if each.model is not None and each.source == quote.source and each.place.file == quote.place.file
    ]  # fmt: skip
    name = f"ratio of slopes of {quote.source}"
    own_curves = [curve for curve in curves if of_experiment(curve.place.file, str(quote.source))]
    of_quotes = None
    if len(siblings) == 2:
        top, bottom = sorted(siblings, key=lambda each: -each.printed)
        of_quotes = f"the quoted slopes give {top.printed / bottom.printed:,.1f}" if bottom.printed else None
        own = [_by_seed(_of_model(each, curves)) for each in (top, bottom)]
    elif len(own_curves) == 2:
        own = [_by_seed([curve]) for curve in sorted(own_curves, key=_fit, reverse=True)]
    else:
        remark = "nothing says of which two slopes"
        yield row(quote.place, RATIO, name, printed=quote.printed, times=times, remark=remark)
        return
    shared = [seed for seed in own[0] if seed in own[1]]
    if not shared:
        reason = f"no seed has a curve of both models in a file of {quote.source} here"
        yield row(quote.place, RATIO, name, printed=quote.printed, times=times, remark=joined(of_quotes, reason))
        return
    means = [float(np.mean([_fit(each[seed]) for seed in shared])) for each in own]
    value = means[0] / means[1] if means[1] else None
    yield row(
        quote.place, RATIO, name, printed=quote.printed, value=value, n=len(shared), times=times,
        agreement="" if value is None else _agreement(value, quote.printed),
        method=f"{_where(own[0][shared[0]])} over {_where(own[1][shared[0]])}",
        remark=joined(of_quotes, f"curves of both models are there for seed {', '.join(shared)} alone"),
    )  # fmt: skip
    models = [own[position][shared[0]].place.model for position in (0, 1)]
    every = [[curve for curve in curves if model and curve.place.model == model] for model in models]
    if all(every) and len(every[0]) + len(every[1]) > 2 * len(shared):
        means = [float(np.mean([_fit(curve) for curve in each])) for each in every]
        seeds = [", ".join(dict.fromkeys(curve.place.seed or "?" for curve in each)) for each in every]
        yield row(
            quote.place, RATIO, ALL_CURVES, value=means[0] / means[1] if means[1] else None,
            n=min(map(len, every)), agreement="not printed", method="ratio of means over seeds",
            remark=f"{models[0]}: seed {seeds[0]}; {models[1]}: seed {seeds[1]}",
        )  # fmt: skip


def _by_seed(curves: Sequence[NoiseCurve]) -> dict[str, NoiseCurve]:
    return {curve.place.seed or "?": curve for curve in reversed(curves)}


def _where(curve: NoiseCurve) -> str:
    seed = f" (seed {curve.place.seed})" if curve.place.seed else ""
    return f"{curve.place.file}: {curve.place}/ppl_curve{seed}"


def _agreement(value: float, printed: float) -> str:
    return "yes" if rounds_to(value, printed) else "no"
