"""What a re-analysis found beside indices and claims, in sentences; and what the files at hand do not hold."""

from collections.abc import Iterator, Sequence

from headwise.published import beside, probe, quotes, repetition
from headwise.published.row import Row, figure
from headwise.published.sources import sourced, where

# What each part of a release is for, and where it stands in that of D'Elia 2026.
LOOKED_FOR = {
    "matrix": ("a matrix of entropies", "E11/"),
    "claim": ("a p or a verdict of significance", "E06/, E11/, E21_E22/"),
    "noise slope": ("a curve of perplexity over noise", "E06/, E21_E22/"),
    probe.KIND: ("an index under noise by region and dose", "E11/"),
    repetition.SLOPE: ("a curve of repetition over noise", "E04/"),
    quotes.SLOPE: ("a quoted slope of perplexity", "E06/E06d…, E21_E22/"),
    quotes.RATIO: ("a quoted ratio of slopes", "E06/E06d…"),
    beside.SCALE: ("a range of scale with its models", "E08/"),
    beside.ONE_MODEL: ("two different indices of one model", "E11/"),
    beside.NO_SPREAD: ("a standard deviation, error or width that is 0", "E04/, E11/, E-ISO/"),
    "seeds": ("one number for several seeds", "E11/, E-ISO/"),
}


def missing(rows: Sequence[Row]) -> list[str]:
    """One sentence for each part of the release that no file at hand holds, and for each source that is not here."""
    kinds = {row.kind for row in rows}
    parts = [
        f"No file here holds {what}; in the release it stands in {folder}."
        for kind, (what, folder) in LOOKED_FOR.items()
        if kind not in kinds
    ]
    named = [sourced(f"{row.remark}.", [row]) for row in rows if row.kind == beside.NAMED]
    return [*parts, *dict.fromkeys(named)]


def of_probes(rows: Sequence[Row]) -> Iterator[str]:
    probes = [row for row in rows if row.kind == probe.KIND]
    for row in probes:
        chosen = (row.remark or "").startswith(probe.CHOSEN)
        if row.printed is None and not chosen:
            continue
        if row.quantity.startswith("gap"):
            yield sourced(
                f"The printed gap of {figure(row.printed, 4)} points takes the largest rise of one model and the "
                "largest fall of another.", [row],
            )  # fmt: skip
            yield sourced(
                f"Within one model the same choice gives {figure(row.low, 4)} and {figure(row.high, 4)} points.", [row]
            )
            continue
        if row.quantity.startswith("quoted"):
            found = row.remark if row.value is None else f"the nearest cell is {figure(row.value, 3)}% ({row.remark})"
            yield sourced(f"The {row.quantity.removesuffix(', in %')}, {figure(row.printed, 3)}%: {found}.", [row])
            continue
        which = "chosen cell" if row.printed is None else f"printed {figure(row.printed, 3)}%"
        beside_it = f" ({figure(row.value, 3)}%; {row.remark})" if chosen else ""
        yield sourced(
            f"The {which} of {row.model or 'a model without name'} is the {row.quantity.removesuffix(', in %')}"
            f"{beside_it}.", [row], "noise_tests, tests",
        )  # fmt: skip
        others = [each for each in probes if (each.file, each.place) == (row.file, row.place)]
        for each in others:
            if each.value is None or each is row:
                continue
            if each.quantity.startswith("largest of"):
                yield sourced(
                    f"If nothing but seeds differed, the largest of as many cells would be {figure(each.value, 3)}% on "
                    "average.", [each], "noise_tests, tests",
                )  # fmt: skip
            elif each.p is None:
                yield sourced(
                    f"In the same cells it has the {each.quantity.removesuffix(', in %')}: {figure(each.value, 3)}%.",
                    [each], "noise_tests, tests",
                )  # fmt: skip
            elif each.quantity.split()[1] == row.quantity.split()[1]:
                yield sourced(
                    f"Were each region's direction a coin's, the best would be {figure(each.value, 3)}% on average; "
                    f"in a share of {figure(each.p, 3)} as large as found.", [each], "noise_tests, tests",
                )  # fmt: skip


def of_quotes(rows: Sequence[Row]) -> Iterator[str]:
    for row in (row for row in rows if row.kind == quotes.RATIO and row.value is not None):
        if row.printed is None:
            yield sourced(f"{_upper(row.quantity)}: {figure(row.value, 4)} ({row.remark}).", [row])
        else:
            verb = "is" if row.agreement == "yes" else "is not"
            yield sourced(
                f"The quoted {row.quantity}, {figure(row.printed)}, {verb} that of the curves here: "
                f"{figure(row.value)} ({row.remark}).", [row],
            )  # fmt: skip
    slopes = [row for row in rows if row.kind == quotes.SLOPE]
    same, other, none = ([row for row in slopes if row.agreement == each] for each in ("yes", "no", "not recomputed"))
    if slopes:
        yield sourced(f"Of {len(slopes)} quoted slopes of perplexity {len(same)} are those of a curve here.", slopes)
    for those, what in ((other, "differ from every curve of their model here"), (none, "have no curve here")):
        if those:
            yield sourced(f"{len(those)} quoted slopes {what}.", those)
    marked = [row for row in slopes if quotes.NOT_VERIFIED in (row.remark or "")]
    if marked:
        named = ", ".join(f"{row.model} {figure(row.printed)}" for row in marked)
        yield sourced(f"{len(marked)} slopes are {quotes.NOT_VERIFIED} and have no curve: {named}.", marked)
    for row in marked:
        spoken = (row.remark or "").rsplit("; ", 1)[-1]
        if spoken.startswith(quotes.USED):
            yield sourced(f"Of {row.model}, whose slope is not verified, {spoken}.", [row])


def of_repetition(rows: Sequence[Row]) -> Iterator[str]:
    slopes = [row for row in rows if row.kind == repetition.SLOPE]
    if slopes:
        same = sum(row.agreement == "yes" for row in slopes)
        yield sourced(f"Of {len(slopes)} slopes of repetition {same} are reproduced.", slopes, "fragility")
    empty = [row for row in slopes if "nothing is repeated" in (row.remark or "")]
    if empty:
        yield sourced(f"In {len(empty)} of the curves nothing is repeated at any dose.", empty, "degradation_curve")
    changes = [row for row in rows if row.kind == repetition.CHANGE and row.p_attainable is not None]
    for model in dict.fromkeys((row.file, row.model) for row in changes):
        own = [row for row in changes if (row.file, row.model) == model]
        listed = ", ".join(f"{row.quantity.rsplit(' ', 1)[-1]} {figure(row.value, 3)}" for row in own)
        smallest = min(row.p_attainable for row in own if row.p_attainable is not None)
        tested = f"smallest p {figure(smallest, 2)}" if smallest < 1 else "one seed on each side, no test"
        yield sourced(
            f"Slope of repetition of {model[1] or 'a model without name'} minus base, by region: {listed} ({tested}).",
            own, "…/fragility",
        )  # fmt: skip
    quoted = [row for row in rows if row.kind == repetition.CHANGE and row.quantity.startswith("quoted")]
    for row in quoted:
        found = row.remark if row.value is None else f"computed: {figure(row.value, 4)}%"
        yield sourced(f"A change of {figure(row.printed)}% is quoted: {found}.", [row])
    for row in (row for row in rows if row.kind == beside.FAILED):
        yield sourced(f"A run ended in an error and measured nothing: {row.remark}.", [row])


def of_models(rows: Sequence[Row]) -> Iterator[str]:
    models = [row for row in rows if row.kind == beside.ONE_MODEL and row.value is not None]
    if models:
        yield sourced(f"{len(models)} models have several printed indices that differ.", models)
    for row in sorted(models, key=lambda row: -(row.value or 0)):
        yield f"{row.model}: {figure(row.low, 4)} to {figure(row.high, 4)}. [{row.remark}]"


def of_scale(rows: Sequence[Row]) -> Iterator[str]:
    claims: dict[object, list[Row]] = {}
    for row in (row for row in rows if row.kind == beside.SCALE):
        claims.setdefault((row.file, row.printed), []).append(row)
    for own in claims.values():
        row = own[0]
        yield sourced(
            f"A range of {figure(row.printed)} times is claimed; the {row.n} models listed span {figure(row.value, 3)} "
            f"times, {row.remark}.", own,
        )  # fmt: skip


def of_spreads(rows: Sequence[Row]) -> Iterator[str]:
    spreads = [row for row in rows if row.kind == beside.NO_SPREAD]
    by_field: dict[str, list[Row]] = {}
    for row in spreads:
        by_field.setdefault(row.quantity, []).append(row)
    for quantity, own in by_field.items():
        zero, of = sum(int(row.value or 0) for row in own), sum(row.n or 0 for row in own)
        fields = quantity.removesuffix(" that are 0")
        yield f"Of {of} {fields}, {zero} are 0: no interval can come from them. [{where(own)}]"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
