"""What a folder of released result files holds: entropy matrices, printed indices, noise curves, claimed p-values.

The files of D'Elia 2026 have many shapes. Nothing is expected of a file: it is walked through, and every object that
holds something known is taken, with its place and with what is missing beside it.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headwise.arrays import FloatArray
from headwise.reanalysis.shapes import curve, first_number, matrix, matrix_under, mean_matrix, number

SIDES = {"base": "base", "instruct": "aligned", "aligned": "aligned", "chat": "aligned"}
INDEX = ("specialization_index", "si_mean")
CHANGES = ("delta_si", "delta_specialization")
SHORT_INDEX = "si"
RELATIVE = ("delta_si_pct",)
RATIOS = ("ppl_ratio", "ratio_gqa_mha")


@dataclass(frozen=True)
class Place:
    """Where something stands: file, keys that lead to it, and the model that it is about, as far as it is said."""

    file: str
    keys: tuple[str, ...]
    model: str | None
    side: str | None
    seed: int | None

    def __str__(self) -> str:
        return "/".join(self.keys) or "(top)"


@dataclass(frozen=True, eq=False)
class Index:
    """A specialization index.

    entropies     (layers, heads) normalised entropies, from which it was computed: its own, or the mean of its seeds'
    correlations  (heads, heads) correlations of heads over layers
    Each is None where the file does not hold it.
    """

    place: Place
    printed: float | None
    entropies: FloatArray | None
    correlations: FloatArray | None


@dataclass(frozen=True, eq=False)
class Pair:
    """A base and its aligned descendant, with the changes printed for them: absolute, and relative in per cent."""

    place: Place
    base: Index
    aligned: Index
    absolute: float | None
    relative_percent: float | None


@dataclass(frozen=True, eq=False)
class NoiseCurve:
    """Perplexity over the size of noise: (k,) each; `slope` and `p` as printed, None where they are not."""

    place: Place
    architecture: str | None
    sigmas: FloatArray
    perplexities: FloatArray
    slope: float | None


@dataclass(frozen=True)
class Ratio:
    """A printed ratio of slopes of perplexity."""

    place: Place
    printed: float


@dataclass(frozen=True)
class Claim:
    """A printed p-value, or a printed verdict "significant", with what is said about its design.

    units  observations behind it, None where the file does not say
    """

    place: Place
    quantity: str
    p: float | None
    units: int | None
    design: str


@dataclass(frozen=True)
class Seeds:
    """One number for several seeds."""

    place: Place
    quantity: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Unread:
    """A file, or a part of one, of which nothing could be used, and why."""

    file: str
    reason: str


Item = Index | Pair | NoiseCurve | Ratio | Claim | Seeds | Unread


def read_release(folder: Path) -> list[Item]:
    """Everything known in the files below a folder, file by file in the order of their paths.

    Raises ValueError where there is no such folder or no JSON file in it.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder: give the folder with the released result files")
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    if not any(path.suffix == ".json" for path in paths):
        raise ValueError(f"{folder} holds no .json file: give the folder with the released result files")
    found: list[Item] = []
    for path in paths:
        name = path.relative_to(folder).as_posix()
        if path.suffix != ".json":
            found.append(Unread(name, "not a JSON file"))
            continue
        try:
            # Some editors begin a file with a byte order mark.
            content = json.loads(path.read_text(encoding="utf-8-sig"))
            seed = content.get("seed") if isinstance(content, dict) else None
            items = list(items_of(content, Place(name, (), None, None, seed if isinstance(seed, int) else None)))
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            found.append(Unread(name, f"not readable as JSON: {error}"))
            continue
        except RecursionError:
            found.append(Unread(name, "nested too deeply to be read"))
            continue
        found += items or [Unread(name, "holds no index, change, noise curve, seeds or p-value that is known here")]
    return found


def items_of(value: Any, place: Place, names: Mapping[str, str] | None = None) -> Iterator[Item]:
    """Everything known in a JSON value. `names`: of the models by side, as an outer object says."""
    if isinstance(value, list):
        for position, each in enumerate(value):
            yield from items_of(each, _inner(place, str(position), each, names or {}), names)
        return
    if not isinstance(value, dict):
        return
    names = {**(names or {}), **_names(value)}
    index = _index(value, place)
    if index is not None:
        yield index
    yield from _pair(value, place, names)
    yield from _noise(value, place)
    if (ratio := first_number(value, RATIOS)) is not None:
        yield Ratio(place, ratio)
    yield from _claims(value, place)
    yield from _seeds(value, place)
    for key, each in value.items():
        # The numbers of a matrix, and what an index already took, are not walked through.
        if (
            "entrop" in key.lower()
            or key == "head_correlation_matrix"
            or (index is not None and key == "specialization")
        ):
            continue
        yield from items_of(each, _inner(place, key, each, names), names)


def _inner(place: Place, key: str, value: Any, names: Mapping[str, str]) -> Place:
    side = SIDES.get(key, place.side)
    own = value if isinstance(value, dict) else {}
    stated = next((own[name] for name in ("model_name", "name", "model") if isinstance(own.get(name), str)), None)
    seed = own.get("seed", int(key) if key.isdigit() and place.keys[-1:] == ("all_seed_results",) else place.seed)
    model = stated or (names.get(side) if side and side != place.side else None) or place.model
    return Place(place.file, (*place.keys, key), model or None, side, seed if isinstance(seed, int) else None)


def _names(value: Mapping[str, Any]) -> dict[str, str]:
    """Names of models by side, from an object `config` or `models` with names under base and instruct."""
    for key in ("config", "models"):
        listed = value.get(key)
        if isinstance(listed, dict):
            found = {side: listed[name] for name, side in SIDES.items() if isinstance(listed.get(name), str)}
            if found:
                return found
    return {}


def _index(value: Mapping[str, Any], place: Place) -> Index | None:
    inner = value.get("specialization")
    described = inner if isinstance(inner, dict) else value
    # "si" alone also stands in lists of seeds and doses: it is the index of an object that is a side.
    names = (*INDEX, SHORT_INDEX) if place.keys and place.keys[-1] in SIDES else INDEX
    printed = first_number(described, names)
    if not any(key in described for key in names) and "entropies" not in value:
        return None
    entropies = matrix_under(value)
    if entropies is None and isinstance(value.get("seed_results"), list):
        entropies = mean_matrix([row.get("entropies") for row in value["seed_results"] if isinstance(row, dict)])
    return Index(place, printed, entropies, matrix(described.get("head_correlation_matrix")))


def _pair(value: Mapping[str, Any], place: Place, names: Mapping[str, str]) -> Iterator[Pair]:
    sides = {SIDES[key]: key for key in ("base", "instruct", "aligned", "chat") if isinstance(value.get(key), dict)}
    if set(sides) != {"base", "aligned"}:
        return
    found = {side: _index_below(value[key], _inner(place, key, value[key], names)) for side, key in sides.items()}
    base, aligned = found["base"], found["aligned"]
    if base is None or aligned is None:
        return
    verdict = value.get("verdict")
    stated = {**value, **verdict} if isinstance(verdict, dict) else value
    absolute, relative = (first_number(stated, keys) for keys in (CHANGES, RELATIVE))
    yield Pair(place, base, aligned, absolute, relative)


def _index_below(value: Mapping[str, Any], place: Place) -> Index | None:
    """The index of an object, or that of its baseline without noise."""
    for key in (None, "baseline_global", "baseline"):
        inner = value if key is None else value.get(key)
        if isinstance(inner, dict) and (index := _index(inner, place)) is not None:
            return index
    return None


def _noise(value: Mapping[str, Any], place: Place) -> Iterator[NoiseCurve]:
    points = curve(value["ppl_curve"]) if "ppl_curve" in value else None
    if points is None:
        return
    slope = value.get("ppl_slope")
    printed = first_number(slope, ("slope",)) if isinstance(slope, dict) else number(slope)
    sigmas, means = np.array(points, dtype=np.float64).reshape(-1, 2).T
    architecture = value.get("architecture")
    yield NoiseCurve(place, architecture if isinstance(architecture, str) else None, sigmas, means, printed)


def _claims(value: Mapping[str, Any], place: Place) -> Iterator[Claim]:
    p = first_number(value, ("p_value", "p", "p_val"))
    p = p if p is not None and 0 <= p <= 1 else None
    units = next((value[key] for key in ("n", "n_samples", "n_models") if isinstance(value.get(key), int)), None)
    quantity = place.keys[-1] if place.keys else "result"
    if p is not None:
        kind = "correlation" if "r" in value or "correlation" in value else "slope" if "slope" in value else "unknown"
        yield Claim(place, quantity, p, units, kind)
    elif value.get("significant") is True and units is not None:
        yield Claim(place, quantity, None, units, "mean")


def _seeds(value: Mapping[str, Any], place: Place) -> Iterator[Seeds]:
    for key in ("seed_results", "per_seed"):
        rows = value.get(key)
        if isinstance(rows, dict):  # by seed
            rows = list(rows.values())
        if not isinstance(rows, list) or len(rows) < 2 or not all(isinstance(row, dict) for row in rows):
            continue
        inner_rows = [row["specialization"] if isinstance(row.get("specialization"), dict) else {} for row in rows]
        flat = [{**row, **inner} for row, inner in zip(rows, inner_rows, strict=True)]
        for name in flat[0]:
            values = [number(row.get(name)) for row in flat]
            if name not in ("seed", "num_layers", "num_heads") and all(each is not None for each in values):
                inner = Place(place.file, (*place.keys, key), place.model, place.side, None)
                yield Seeds(inner, name, tuple(each for each in values if each is not None))
