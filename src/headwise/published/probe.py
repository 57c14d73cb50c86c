"""Probes of an index by noise: the printed effect is the best of many cells; what chance gives for the best.

A cell is a region of layers and a size of noise; its change is that of the index, in per cent of the index without
noise. Choosing the largest rise in one model and the largest fall in another makes a gap out of any responses: the same
choice within one model gives the gap that it is to be compared with.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from headwise.published.items import Place, ProbedRegion, ProbeEffect
from headwise.published.repetition import plain
from headwise.published.row import Row, rounds_to, row

KIND = "probe"
CHOSEN = "chosen at"
SAME = 1e-6  # relative distance of a printed effect and a computed one, below which they are the same
# Sign patterns of regions are all tried: 2 to the power of this many.
MOST_REGIONS = 12
GRID = np.linspace(-10.0, 10.0, 20001)  # standard deviations, for the mean of the largest of n normal numbers


@dataclass(frozen=True)
class Cell:
    region: str
    dose: float
    changes: tuple[float, ...]  # per cent, by seed

    @property
    def mean(self) -> float:
        return float(np.mean(self.changes))


@dataclass(frozen=True)
class _Probe:
    """Its cells with noise, and how many there are with those without."""

    place: Place
    cells: tuple[Cell, ...]
    total: int

    @property
    def rise(self) -> Cell:
        return max(self.cells, key=lambda cell: cell.mean)

    @property
    def fall(self) -> Cell:
        return min(self.cells, key=lambda cell: cell.mean)


def probe_rows(regions: Sequence[ProbedRegion], effects: Sequence[ProbeEffect]) -> Iterator[Row]:
    """Largest rise and fall of each probe with what chance gives, then the printed gaps of two models."""
    probes = list(_probes(regions))
    own = [effect for effect in effects if effect.model is None]
    for probe in probes:
        yield from _of_one(probe, [each for each in own if each.place.file == probe.place.file])
    for effect in effects:
        if effect.model is not None and effect.printed is not None:
            yield _quoted(effect, effect.printed, effect.model, probes)
    for effect in own:
        if effect.printed is None:
            continue
        same_file = [probe for probe in probes if probe.place.file == effect.place.file]
        pairs = [(one, other) for one, other in product(same_file, repeat=2) if one is not other]
        for one, other in pairs:
            gap = one.rise.mean - other.fall.mean
            if _same(gap, effect.printed) and not _same(one.rise.mean, effect.printed):
                within = [probe.rise.mean - probe.fall.mean for probe in (one, other)]
                yield row(
                    effect.place, KIND, "gap: largest rise of one model minus largest fall of another, in points",
                    printed=effect.printed, value=gap, low=min(within), high=max(within), scale=abs(gap),
                    n=len(one.cells) + len(other.cells), method="low and high: the same choice within one model",
                )  # fmt: skip
                break


def _quoted(effect: ProbeEffect, printed: float, model: str, probes: Sequence[_Probe]) -> Row:
    """A quoted effect beside the nearest cell of any probe of its model, or of a model whose name goes on from it."""
    cells = [
        (cell, probe) for probe in probes for cell in probe.cells
        if plain((probe.place.model or "").rsplit("/", 1)[-1]).startswith(plain(model))
    ]  # fmt: skip
    name = f"quoted effect of {model}, in %"
    if not cells:
        return row(effect.place, KIND, name, printed=printed, remark="no probe of this model is here")
    cell, probe = min(cells, key=lambda pair: abs(pair[0].mean - printed))
    return row(
        effect.place, KIND, name, printed=printed, value=cell.mean, n=len(cells),
        agreement="yes" if rounds_to(cell.mean, printed) else "no",
        method="nearest of the n cells with noise of its probes",
        remark=f"nearest: {cell.region}, σ {cell.dose:g}, at {probe.place.file}: {probe.place}",
    )  # fmt: skip


def _probes(regions: Sequence[ProbedRegion]) -> Iterator[_Probe]:
    groups: dict[tuple[str, str], list[ProbedRegion]] = {}
    for region in regions:
        groups.setdefault((region.place.file, region.series), []).append(region)
    seen: list[tuple[str, set[tuple[str, float, float]]]] = []
    # The larger first: a series of one seed that stands there again is a part of it.
    for (file, series), group in sorted(groups.items(), key=lambda item: -len(item[1])):
        points = {(each.region, dose, index) for each in group for dose, _, index in each.points}
        if any(file == other and points <= known for other, known in seen):
            continue
        seen.append((file, points))
        first = group[0].place
        place = Place(first.file, tuple(series.split("/")), first.model, first.side)
        cells = _cells(group)
        with_noise = tuple(cell for cell in cells if cell.dose > 0)
        if len(with_noise) > 1:
            yield _Probe(place, with_noise, len(cells))


def _cells(group: Sequence[ProbedRegion]) -> list[Cell]:
    by_cell: dict[tuple[str, float], list[float]] = {}
    clean = {(each.region, seed): index for each in group for dose, seed, index in each.points if dose == 0}
    for each in group:
        for dose, seed, index in each.points:
            base = clean.get((each.region, seed))
            if base:  # neither missing nor 0
                by_cell.setdefault((each.region, dose), []).append(100 * (index / base - 1))
    return [Cell(region, dose, tuple(changes)) for (region, dose), changes in by_cell.items()]


def _of_one(probe: _Probe, effects: Sequence[ProbeEffect]) -> Iterator[Row]:
    count = f"{probe.total} cells, {len(probe.cells)} with noise"
    for name, cell, sign in (("rise", probe.rise, 1), ("fall", probe.fall, -1)):
        printed = next(
            (each.printed for each in effects if each.printed is not None and _same(each.printed, cell.mean)), None
        )
        named = next((each.place for each in effects if each.cell == (cell.region, cell.dose)), None)
        seeds = len(cell.changes)
        yield row(
            probe.place, KIND, f"largest {name} of {count}: {cell.region}, σ {cell.dose:g}, in %", printed=printed,
            value=cell.mean, low=min(cell.changes), high=max(cell.changes), n=seeds, scale=abs(cell.mean),
            method="mean, least and most over seeds", remark=f"{CHOSEN} {named}" if named else None,
        )  # fmt: skip
        largest, p, smallest = by_coin(probe.cells, sign)
        yield row(
            probe.place, KIND, f"largest {name} of {count}, by chance, in %", value=sign * largest, p=p,
            p_attainable=smallest, n=len({each.region for each in probe.cells}), agreement="not printed",
            method="mean over all signs of the regions' responses, each a coin's; p: at least as large as found",
        )  # fmt: skip
    if seeds > 1:
        spread = float(np.sqrt(np.mean([np.var(each.changes, ddof=1) for each in probe.cells]) / seeds))
        yield row(
            probe.place, KIND, f"largest of {len(probe.cells)} cells, were there nothing but the spread of seeds, in %",
            value=largest_of_normal(len(probe.cells)) * spread, n=seeds, agreement="not printed",
            method="mean of the largest of as many independent normal numbers with the error of a cell",
        )  # fmt: skip


def by_coin(cells: Sequence[Cell], sign: int) -> tuple[float, float, float]:
    """Mean largest response in the direction of `sign`, were the sign of each region's responses a coin's.

    Then how often it is at least as large as with the signs found, and how often it is at the least. All cells of a
    region turn together: their doses act on the same layers. All sign patterns of the first MOST_REGIONS are tried.
    """
    regions: dict[str, list[float]] = {}
    for cell in cells:
        regions.setdefault(cell.region, []).append(sign * cell.mean)
    ends = [(max(each), -min(each)) for each in list(regions.values())[:MOST_REGIONS]]
    largest = np.array([max(pattern) for pattern in product(*ends)])
    found = max(end for end, _ in ends)
    return float(largest.mean()), float((largest >= found * (1 - SAME)).mean()), 1 / len(largest)


def largest_of_normal(n: int) -> float:
    """Mean of the largest of n independent standard normal numbers."""
    from scipy.stats import norm

    return float(np.trapezoid(GRID * n * norm.pdf(GRID) * norm.cdf(GRID) ** (n - 1), GRID))


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= SAME * max(abs(one), abs(other))
