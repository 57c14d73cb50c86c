"""What a folder of released result files holds: entropy matrices, printed indices, noise curves, claimed p-values.

The files of D'Elia 2026 have many shapes. Nothing is expected of a file: it is walked through, and every object that
holds something known is taken, with its place and with what is missing beside it. What cannot be used is named.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headwise.published import values
from headwise.published.fields import Fields
from headwise.published.files import released_files
from headwise.published.finders import found_beside
from headwise.published.items import Claim, Design, Index, Item, NoiseCurve, Pair, Place, Ratio, Seeds, Unread
from headwise.published.shapes import correlation_matrix, curve, entropy_matrix, mean_matrix
from headwise.published.values import Damaged, UnusableError, number, shown
from headwise.statistics.arrays import FloatArray

SIDES = {"base": "base", "instruct": "aligned", "aligned": "aligned", "chat": "aligned"}
NAMED = {"base_model": "base", "instruct_model": "aligned"}
INDEX = ("specialization_index", "si_mean")
# Objects from seed to result.
BY_SEED = ("all_seed_results", "multi_seed_results", "seed_results")
CHANGES = ("delta_si", "delta_specialization")
SHORT_INDEX = "si"
RELATIVE = ("delta_si_pct",)
RATIOS = ("ppl_ratio", "ratio_gqa_mha")
PROBABILITIES = ("p_value", "p", "p_val")
SIGNIFICANT = "significant"
UNITS = ("n", "n_samples", "n_models")
# What tells one test from another of the same p.
ESTIMATES = ("r", "correlation", "slope", "t_statistic", "point_estimate", "ci_lower", "ci_upper")
ABSOLUTE = "absolute_si"  # a metric: the index itself, not a change of it
MODELS = ("model_name", "name", "model")
NOTHING_KNOWN = "holds no index, change, noise curve, seeds or p-value that is known here"
# What nests deeper is no result; Python's own stack bears some ten times as much.
DEEPEST = 60


@dataclass(frozen=True)
class Release:
    """Everything known in a folder, and the SHA-256 of each JSON file by its name."""

    items: list[Item]
    digests: dict[str, str]


def read_release(folder: Path) -> Release:
    """Everything known in the files below a folder, file by file in the order of their paths.

    Raises ValueError where there is no such folder or no JSON file in it.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder: give the folder with the released result files")
    found: list[Item] = []
    digests: dict[str, str] = {}
    for file in released_files(folder):
        place = Place(file.name)
        if file.digest is not None:
            digests[file.name] = file.digest
        fields = Fields(file.content if isinstance(file.content, dict) else {}, place)
        top = Place(
            file.name, model=fields.first(MODELS, values.name) or None, seed=fields.first(("seed",), values.seed)
        )
        items = list(items_of(file.content, top))
        found += items or [Unread(place, NOTHING_KNOWN)]
    if not digests:
        raise ValueError(f"{folder} holds no .json file that can be opened: give the folder with the released results")
    return Release(found, digests)


def items_of(value: Any, place: Place, names: Mapping[str, str] | None = None) -> Iterator[Item]:
    """Everything known in a JSON value. `names`: of the models by side, as an outer object says."""
    if isinstance(value, Damaged):
        yield Unread(place, value.reason)
    elif len(place.keys) > DEEPEST and isinstance(value, list | dict):
        yield Unread(place, f"nested deeper than {DEEPEST} levels")
    elif isinstance(value, list):
        for position, each in enumerate(value):
            yield from items_of(each, _inner(place, str(position), each, names or {}, in_list=True), names)
    elif isinstance(value, dict):
        yield from _items_of_object(Fields(value, place), {**(names or {}), **_names(value)})


def _items_of_object(fields: Fields, names: Mapping[str, str]) -> Iterator[Item]:
    value, place = fields.value, fields.place
    index = _index(fields)
    if index is not None:
        yield index
    yield from _pair(fields, names)
    yield from _noise(fields)
    if (ratio := fields.first(RATIOS)) is not None:
        yield Ratio(place, ratio)
    yield from _claims(fields)
    yield from _seeds(fields)
    yield from found_beside(fields)
    fields.first(MODELS, values.name)
    fields.first(("seed",), values.seed)
    yield from fields.unread
    named = {unread.place.keys for unread in fields.unread}
    for key, each in value.items():
        # The numbers of a matrix or curve, and what an index already took, are not walked through.
        taken = key in ("head_correlation_matrix", "ppl_curve") or (index is not None and key == "specialization")
        if taken or ("entrop" in key.lower() and not isinstance(each, Damaged)):
            continue
        inner = _inner(place, key, each, names)
        if inner.keys not in named or not isinstance(each, Damaged):
            yield from items_of(each, inner, names)


def _inner(place: Place, key: str, value: Any, names: Mapping[str, str], in_list: bool = False) -> Place:
    """The place of a value under a key; what it says of its model and seed and cannot be used is named later."""
    side = SIDES.get(key, place.side)
    own = Fields(value if isinstance(value, dict) else {}, place)
    own_seed = own.first(("seed",), values.seed)
    if own_seed is None and not own.unread:
        by_key = place.keys and place.keys[-1] in BY_SEED and not in_list and values.SEED_IN_KEY.fullmatch(key)
        own_seed = key if by_key else place.seed
    model = own.first(MODELS, values.name) or (names.get(side) if side and side != place.side else None) or place.model
    return Place(place.file, (*place.keys, shown(key)), model or None, side, own_seed)


def _names(value: Mapping[str, Any]) -> dict[str, str]:
    """Names of models by side: base_model and instruct_model, or an object of names under base and instruct."""
    found = {side: shown(value[key]) for key, side in NAMED.items() if isinstance(value.get(key), str)}
    if found:
        return found
    for key in ("config", "models"):
        listed = value.get(key)
        if isinstance(listed, dict):
            found = {side: shown(listed[each]) for each, side in SIDES.items() if isinstance(listed.get(each), str)}
            if found:
                return found
    return {}


def _index(fields: Fields) -> Index | None:
    value, place = fields.value, fields.place
    described = fields.inner("specialization") if isinstance(value.get("specialization"), dict) else fields
    # "si" alone also stands in lists of seeds and doses: it is the index of an object that is a side.
    names = (*INDEX, SHORT_INDEX) if place.keys and place.keys[-1] in SIDES else INDEX
    if not any(key in described.value for key in names) and "entropies" not in value:
        return None
    printed = described.first(names)
    correlations = described.first(("head_correlation_matrix",), correlation_matrix)
    return Index(place, printed, _entropies(fields), correlations)


def _entropies(fields: Fields) -> FloatArray | None:
    """The matrix under `entropies`, else the first under a key that speaks of entropy, else the mean of the seeds'.

    Only what is called entropies must be one: other keys may hold anything.
    """
    keys = sorted((key for key in fields.value if "entrop" in key.lower()), key=lambda key: key != "entropies")
    refused = {}
    for key in keys:
        try:
            if fields.value[key] is not None:
                return entropy_matrix(fields.value[key])
        except UnusableError as error:
            refused[key] = str(error)
    for key, reason in refused.items():
        if key.lower().endswith(("entropies", "entropy_matrix")):
            fields.refuse(reason, key)
    rows = fields.value.get("seed_results")
    own = [row.get("entropies") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    if not any(each is not None for each in own):
        return None
    try:
        return mean_matrix(own)
    except UnusableError as error:
        fields.refuse(f"no mean of its matrices of entropies: {error}", "seed_results")
        return None


def _pair(fields: Fields, names: Mapping[str, str]) -> Iterator[Pair]:
    value, place = fields.value, fields.place
    found = {
        key: _index_below(value[key], _inner(place, key, value[key], names))
        for key in SIDES
        if isinstance(value.get(key), dict)
    }
    base = found.pop("base", None)
    aligned = [index for index in found.values() if index is not None]
    if base is None:
        return
    # Of several aligned models nothing says which one a printed change is about.
    stated = [fields.inner("verdict"), fields] if len(aligned) == 1 else []
    absolute, relative = (
        next((change for each in stated if (change := each.first(keys)) is not None), None)
        for keys in (CHANGES, RELATIVE)
    )
    for index in aligned:
        yield Pair(place, base, index, absolute, relative)


def _index_below(value: Mapping[str, Any], place: Place) -> Index | None:
    """The index of an object, or that of its baseline without noise. What it refuses is named where it is walked to."""
    for key in (None, "baseline_global", "baseline"):
        inner = value if key is None else value.get(key)
        if isinstance(inner, dict) and (index := _index(Fields(inner, place))) is not None:
            return index
    return None


def _noise(fields: Fields) -> Iterator[NoiseCurve]:
    if (held := fields.value.get("ppl_curve")) is None:
        return
    try:
        points, left_out = curve(held)
    except UnusableError as error:
        fields.refuse(str(error), "ppl_curve")
        return
    for key, reason in left_out:
        fields.refuse(reason, "ppl_curve", key)
    nested = isinstance(fields.value.get("ppl_slope"), dict)
    printed = fields.inner("ppl_slope").first(("slope",)) if nested else fields.first(("ppl_slope",))
    sigmas, means = np.array(points, dtype=np.float64).reshape(-1, 2).T
    yield NoiseCurve(fields.place, sigmas, means, printed, len(left_out))


def _claims(fields: Fields) -> Iterator[Claim]:
    """A printed p, a printed verdict of a mean whose number of units is said, or a printed effect of two groups."""
    value, place = fields.value, fields.place
    p = fields.first(PROBABILITIES, values.probability)
    significant = fields.first((SIGNIFICANT,), values.truth)
    units = fields.first(UNITS, values.count)
    if p is None and (significant is None or units is None):
        return
    numbers = tuple(each for key in ESTIMATES if (each := _number_or_none(value.get(key))) is not None)
    field = SIGNIFICANT if p is None else next(key for key in PROBABILITIES if _number_or_none(value.get(key)) == p)
    yield Claim(place, field, shown(_about(place)), p, units, _design(value, p), significant, numbers)


def _design(value: Mapping[str, Any], p: float | None) -> Design:
    if p is None:
        return Design.INDEX if value.get("metric") == ABSOLUTE else Design.MEAN
    for keys, design in (
        (("r", "correlation"), Design.CORRELATION), (("slope",), Design.SLOPE), (("t_statistic",), Design.GROUPS)
    ):  # fmt: skip
        if any(key in value for key in keys):
            return design
    return Design.UNKNOWN


def _about(place: Place) -> str:
    """The last keys, from the side on: they say what was tested."""
    sides = [number for number, key in enumerate(place.keys) if key in SIDES]
    return " ".join(place.keys[sides[-1] :] if sides else place.keys[-1:]) or "result"


def _seeds(fields: Fields) -> Iterator[Seeds]:
    for key in ("seed_results", "per_seed"):
        rows = fields.value.get(key)
        if isinstance(rows, dict):  # by seed
            rows = list(rows.values())
        if not isinstance(rows, list) or len(rows) < 2 or not all(isinstance(row, dict) for row in rows):
            continue
        inner_rows = [row["specialization"] if isinstance(row.get("specialization"), dict) else {} for row in rows]
        flat = [{**row, **inner} for row, inner in zip(rows, inner_rows, strict=True)]
        place = Place(fields.place.file, (*fields.place.keys, key), fields.place.model, fields.place.side)
        times = Counter(str(row["seed"]) for row in rows if "seed" in row)
        repeated = tuple(shown(each) for each in sorted(times) if times[each] > 1)
        for quantity in dict.fromkeys(each for row in flat for each in row):
            if quantity in ("seed", "num_layers", "num_heads"):
                continue
            numbers = [_number_or_none(row.get(quantity)) for row in flat]
            usable = tuple(each for each in numbers if each is not None)
            if len(usable) == len(rows):
                yield Seeds(place, shown(quantity), usable, repeated)
            elif usable:
                fields.refuse(f"{len(usable)} of {len(rows)} seeds have a number: not compared", key, quantity)


def _number_or_none(value: Any) -> float | None:
    try:
        return number(value)
    except UnusableError:
        return None
