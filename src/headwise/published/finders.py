"""What single experiments of a release hold beside indices: probes, curves of repetition, quotes, ranges of scale.

Each finder takes the fields of one object and yields what it knows there. What it does not know it leaves: files of
strangers hold other things under the same keys.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from headwise.published.fields import Fields
from headwise.published.items import (
    Failed,
    Item,
    NamedFile,
    OtherValue,
    Place,
    ProbedRegion,
    ProbeEffect,
    Quoted,
    RepetitionChange,
    RepetitionCurve,
    ScaleRange,
    Setting,
    Spread,
)
from headwise.published.values import UnusableError, number, shown

TESTS = ("noise_tests", "tests")
DOSES = ("noise_std", "noise", "sigma")
INDICES = ("specialization_index", "si")
BY_SEED = re.compile("(all|multi)_seed_results")
# Effects that the verdict of a probe prints, in per cent or percentage points.
EFFECTS = ("base_effect", "inst_effect", "gap_pp", "worst_inflation_pct")
# Effects that a file quotes of a model of another.
QUOTED_EFFECTS = ("collapsed_heal", "healthy_damage")
CURVES = ("curve", "degradation_curve")
FRAGILITIES = ("fragility", "fragility_score")
QUOTED_SLOPE = re.compile(r"((?P<source>e\d+[a-z]*)_)?(?P<model>.+?)_ppl_slope")
QUOTED_RATIO = re.compile(r"(?P<source>e\d+[a-z]*)_ratio")
SOURCE_IN_KEY = re.compile(r"(?P<source>e\d+[a-z]*)_reference")
PARAMETERS = re.compile(r"([0-9.]+)\s*([MB])", re.IGNORECASE)
TIMES = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*[x×]", re.IGNORECASE)
REFERENCES = {
    "base": ("base_si", "base_specialization"),
    "aligned": ("instruct_si", "instruct_specialization"),
}
SETTINGS = ("use_chat_template", "chat_template", "quantization", "attention_masked", "attention_mask", "dtype")
SPREADS = ("std", "si_std", "std_fragility", "std_error", "ci_width")


def found_beside(fields: Fields) -> Iterator[Item]:
    """Everything that the finders know in one object."""
    for finder in FINDERS:
        yield from finder(fields)


def _probes(fields: Fields) -> Iterator[Item]:
    value, place = fields.value, fields.place
    tests = next((value[key] for key in TESTS if isinstance(value.get(key), list)), None)
    if tests is not None and isinstance(value.get("region"), str):
        points = tuple(point for test in tests if isinstance(test, dict) for point in _points(test, place.seed or ""))
        if points:
            yield ProbedRegion(place, _series(place), shown(value["region"]), points)
    if place.keys[-1:] == ("verdict",):
        for key in EFFECTS:
            if (printed := _number(value.get(key))) is not None:
                yield ProbeEffect(place.below(key), printed)
        dose = _number(value.get("best_noise"))
        if dose is not None and isinstance(value.get("best_region"), str):
            yield ProbeEffect(place.below("best_region"), None, cell=(shown(value["best_region"]), dose))
    if isinstance(value.get("model"), str):
        for key in QUOTED_EFFECTS:
            if (printed := _number(value.get(key))) is not None:
                yield ProbeEffect(place.below(key), printed, shown(value["model"]))


def _points(test: Mapping[str, Any], seed: str) -> Iterator[tuple[float, str, float]]:
    """(dose, seed, index) of one dose: of each seed where they stand there, else the index itself."""
    dose = next((each for key in DOSES if (each := _number(test.get(key))) is not None), None)
    if dose is None or dose < 0:
        return
    by_seed, rows = test.get("seed_values"), test.get("seed_results")
    listed: list[tuple[str, float | None]]
    if isinstance(by_seed, dict):
        listed = [(shown(key), _number(each)) for key, each in by_seed.items()]
    elif isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows):
        listed = [(shown(str(row.get("seed", ""))), _number(row.get("si"))) for row in rows]
    else:
        listed = [(seed, next((each for key in INDICES if (each := _number(test.get(key))) is not None), None))]
    for name, index in listed:
        if index is not None:
            yield dose, name, index


def _series(place: Place) -> str:
    """The keys of a probe without the position of its region, and without the seed and the key that leads to it."""
    keys = list(place.keys[:-1])
    for position, key in enumerate(keys):
        if BY_SEED.fullmatch(key):
            del keys[position : position + 2]
            break
    return "/".join(keys)


def _repetition(fields: Fields) -> Iterator[Item]:
    value, place = fields.value, fields.place
    points = next((value[key] for key in CURVES if isinstance(value.get(key), list)), None)
    slope = next((each for key in FRAGILITIES if (each := _number(value.get(key))) is not None), None)
    if points is not None and slope is not None:
        pairs = [(_number(each[0]), _number(each[1])) for each in points if isinstance(each, list) and len(each) == 2]
        if len(pairs) == len(points) and not any(None in pair for pair in pairs):
            doses, values = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
            region = place.keys[-1] if place.keys and place.keys[-1] not in ("fragility", "results") else "all"
            yield RepetitionCurve(place, region, doses, values, slope)
    if place.keys[-2:-1] == ("deltas",) and (percent := _number(value.get("percent"))) is not None:
        yield RepetitionChange(place.below("percent"), place.keys[-1], percent)
    quoted = value.get("early_delta")
    if isinstance(quoted, str) and isinstance(value.get("source"), str):
        try:
            percent = float(quoted.strip().rstrip("%"))
        except ValueError:
            return
        yield RepetitionChange(place.below("early_delta"), "early", percent, shown(value["source"]))


def _quotes(fields: Fields) -> Iterator[Item]:
    value, place = fields.value, fields.place
    inherited = SOURCE_IN_KEY.fullmatch(place.keys[-1]) if place.keys else None
    for key, each in value.items():
        printed = _number(each)
        if printed is None:
            continue
        if slope := QUOTED_SLOPE.fullmatch(key):
            source = slope["source"] or (inherited["source"] if inherited else None)
            if source:
                yield Quoted(place.below(shown(key)), printed, source, slope["model"])
        elif ratio := QUOTED_RATIO.fullmatch(key):
            yield Quoted(place.below(shown(key)), printed, ratio["source"], None)
    yield from _listed_slopes(fields)


def _listed_slopes(fields: Fields) -> Iterator[Item]:
    """Slopes in a list of models, each with its mark; where else the file speaks of a model that is not verified."""
    for key, listed in fields.value.items():
        if not isinstance(listed, list):
            continue
        for position, each in enumerate(listed):
            if not isinstance(each, dict) or not isinstance(each.get("model_id"), str) or "data_verified" not in each:
                continue
            slope, name = _number(each.get("ppl_slope")), each["model_id"]
            if slope is None:
                continue
            place = fields.place.below(shown(key), str(position))
            confirmed = each["data_verified"] is not False
            others = {other: value for other, value in fields.value.items() if other != key}
            used = () if confirmed else tuple(_mentions(others, name, fields.place))
            named = Place(place.file, (*place.keys, "ppl_slope"), shown(name), place.side, place.seed)
            yield Quoted(named, slope, None, shown(name), confirmed, used)


def _mentions(value: Any, name: str, place: Place) -> Iterator[str]:
    """Places that hold the name, or whose key begins with that of its first part and speaks of a case."""
    if isinstance(value, dict):
        for key, each in value.items():
            inner = place.below(shown(key))
            if key.startswith(f"{name.split('_')[0]}_"):
                yield str(inner)
            else:
                yield from _mentions(each, name, inner)
    elif isinstance(value, list):
        for position, each in enumerate(value):
            yield from _mentions(each, name, place.below(str(position)))
    elif value == name:
        yield str(place)


def _scale(fields: Fields) -> Iterator[Item]:
    listed = fields.value.get("models")
    if not isinstance(listed, list):
        return
    parameters = tuple(
        (shown(str(each.get("name", position))), float(found[1]) * (1e9 if found[2].upper() == "B" else 1e6))
        for position, each in enumerate(listed)
        if isinstance(each, dict) and (found := PARAMETERS.fullmatch(str(each.get("params", "")).strip()))
        if found[1].count(".") <= 1 and found[1] != "."
    )
    claimed = tuple(
        (shown(key), float(found[1]))
        for key, text in fields.value.items()
        if isinstance(text, str) and "scale" in text.lower() and (found := TIMES.search(text))
    )
    if len(parameters) > 1 and claimed and all(each > 0 for _, each in parameters):
        yield ScaleRange(fields.place, parameters, claimed)


def _references(fields: Fields) -> Iterator[Item]:
    """Indices of a base and its aligned model that stand together, without data; and the settings of the file."""
    value, place = fields.value, fields.place
    for side, keys in REFERENCES.items():
        for key in keys:
            if (printed := _number(value.get(key))) is not None:
                yield OtherValue(Place(place.file, (*place.keys, key), place.model, side, place.seed), printed)
    if place.keys == ("methodology",):
        said = tuple((key, str(value[key])) for key in SETTINGS if isinstance(value.get(key), str | bool))
        if said:
            yield Setting(place, said)


def _spreads(fields: Fields) -> Iterator[Item]:
    inner = fields.value.get("specialization")
    for held, place in ((fields.value, fields.place), (inner, fields.place.below("specialization"))):
        # An index without a matrix keeps its own description: it is walked to by itself.
        if isinstance(held, dict) and (held is fields.value or "entropies" in fields.value):
            for key in SPREADS:
                if (value := _number(held.get(key))) is not None and value >= 0:
                    yield Spread(place, key, value)


def _files(fields: Fields) -> Iterator[Item]:
    """A run that failed, and files that this one names as its sources."""
    value, place = fields.value, fields.place
    if value.get("status") == "error" and isinstance(value.get("error"), str):
        yield Failed(place.below("error"), shown(value["error"]))
    for key in ("source_file", "source_notebook", "source_notebooks"):
        held = value.get(key)
        for name in held if isinstance(held, list) else [held]:
            if isinstance(name, str) and name:
                yield NamedFile(place.below(key), shown(PurePosixPath(name).name))


def _number(value: Any) -> float | None:
    try:
        return number(value)
    except UnusableError:
        return None


FINDERS = (_probes, _repetition, _quotes, _scale, _references, _spreads, _files)
