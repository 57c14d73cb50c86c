"""What stands beside the measurements: ranges of scale, other values of one model, spreads of 0, runs that failed."""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from headwise.published.items import (
    Failed,
    Index,
    NamedFile,
    OtherValue,
    Pair,
    Place,
    ScaleRange,
    Setting,
    Spread,
)
from headwise.published.repetition import plain
from headwise.published.row import ROUNDING, Row, rounds_to, row

SCALE, ONE_MODEL, NO_SPREAD, FAILED, NAMED = "scale", "one model", "no spread", "failed run", "named file"
# Keys under which an index is of a part, under noise, or of one seed.
PARTS = re.compile("treatments.*|noise_tests|tests|baseline_local|.*seed_results|bootstrap_ci|per_seed")
SIZE = re.compile(r"(?<![0-9.])[0-9]+(?:\.[0-9]+)?b", re.IGNORECASE)
# A spread of this much, or of this much relative to what it is of, is rounding.
NOTHING = 1e-15


def scale_rows(ranges: Sequence[ScaleRange]) -> Iterator[Row]:
    """Largest over smallest number of parameters beside each range that the file claims in words."""
    for each in ranges:
        (small, least), (large, most) = (pick(each.parameters, key=lambda pair: pair[1]) for pick in (min, max))
        for field, claimed in each.claimed:
            yield row(
                each.place.below(field), SCALE, "largest over smallest number of parameters", printed=claimed,
                value=most / least, n=len(each.parameters), method="models/…/params",
                agreement="yes" if rounds_to(most / least, claimed) else "no",
                remark=f"from {least / 1e9:g} billion ({small}) to {most / 1e9:g} billion ({large})",
            )  # fmt: skip


def model_rows(
    indices: Sequence[Index], others: Sequence[OtherValue], pairs: Sequence[Pair], settings: Sequence[Setting]
) -> Iterator[Row]:
    """Of each model with several printed indices: how far they lie apart, and what the files say of how they measured.

    A reference that is another value rounded is no other value.
    """
    values: dict[str, list[tuple[Place, float, dict[str, str]]]] = {}
    said = {setting.place.file: dict(setting.values) for setting in settings}
    for index in indices:
        if index.printed is not None and index.place.model and not any(map(PARTS.fullmatch, index.place.keys)):
            measured = (index.place, index.printed, said.get(index.place.file, {}))
            values.setdefault(index.place.model, []).append(measured)
    models = [(pair.base.place, pair.aligned.place) for pair in pairs]
    for other in others:
        model = _model_of(other, models)
        if model is not None:
            known = values.setdefault(model, [])
            if not any(rounds_to(value, other.printed) for _, value, _ in known):
                # How a reference was measured is not said.
                known.append((other.place, other.printed, {}))
    for model, found in values.items():
        printed = [value for _, value, _ in found]
        if max(printed) - min(printed) <= ROUNDING:
            continue
        differ = _differing([setting for _, _, setting in found if setting])
        remark = "; ".join(
            f"{value:.6g} at {place.file}: {place}"
            + "".join(f", {key} {setting[key]}" for key in differ if key in setting)
            for place, value, setting in found
        )
        first = found[0][0]
        yield row(
            Place(first.file, first.keys, model), ONE_MODEL, "printed indices, largest minus smallest",
            value=max(printed) - min(printed), low=min(printed), high=max(printed), n=len(found),
            agreement="not printed", method="low and high: smallest and largest", remark=remark,
        )  # fmt: skip


def _model_of(other: OtherValue, pairs: Sequence[tuple[Place, Place]]) -> str | None:
    """The model that a reference is about: of the pair that its key, its model or its file names; None where none is.

    A key that names a size which the pair of its file has not is about another model.
    """
    position = 0 if other.place.side == "base" else 1
    key = other.place.keys[-2] if len(other.place.keys) > 1 else ""
    named = [pair for pair in pairs if key and plain(key) in map(_plain_short, pair)]
    size = SIZE.search(key)
    fitting = [pair for pair in pairs if size is None or size.group().lower() in _short(pair[0].model).lower()]
    if other.place.model:
        of_model = [pair for pair in fitting if plain(_short(other.place.model)) in map(_plain_short, pair)]
    else:
        of_model = [pair for pair in fitting if pair[0].file == other.place.file]
    return next((pair[position].model for pair in (*named, *of_model)), None)


def _plain_short(place: Place) -> str:
    return plain(_short(place.model))


def _short(model: str | None) -> str:
    return (model or "").rsplit("/", 1)[-1]


def _differing(settings: Sequence[dict[str, str]]) -> list[str]:
    keys = dict.fromkeys(key for each in settings for key in each)
    return [key for key in keys if len({each.get(key) for each in settings}) > 1]


def spread_rows(spreads: Sequence[Spread]) -> Iterator[Row]:
    """Per file and field: how many spreads are 0 but for rounding, of how many."""
    groups: dict[tuple[str, str], list[Spread]] = {}
    for each in spreads:
        groups.setdefault((each.place.file, each.field), []).append(each)
    for (file, field), group in groups.items():
        nothing = [each for each in group if each.value <= NOTHING]
        if nothing:
            yield row(
                Place(file, (*_shared([each.place.keys for each in nothing]), field)), NO_SPREAD,
                f"fields {field} that are 0", value=float(len(nothing)), n=len(group), agreement="not printed",
                method=f"at most {NOTHING:g}", remark=None if len(nothing) > 1 else str(nothing[0].place),
            )  # fmt: skip


def _shared(lists: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The keys with which all lists begin, and "…" where some go on."""
    if len(set(lists)) == 1:
        return lists[0]
    first: list[str] = []
    for keys in zip(*lists, strict=False):
        if len(set(keys)) > 1:
            break
        first.append(keys[0])
    return (*first, "…")


def file_rows(failed: Sequence[Failed], named: Sequence[NamedFile], files: Sequence[str]) -> Iterator[Row]:
    """Runs that ended in an error, and files that are named as sources and are not there."""
    for each in failed:
        yield row(each.place, FAILED, "run that ended in an error", agreement="not printed", remark=each.reason)
    there = {PurePosixPath(file).name for file in files}
    for source in named:
        if source.name not in there:
            yield row(
                source.place,
                NAMED,
                "file named as source",
                agreement="not printed",
                remark=f"{source.name} is not here",
            )
