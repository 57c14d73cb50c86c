"""The tables of docs/findings.md, from the Parquet files in the folders beside this file.

python docs/findings/tables.py                              writes them into the page, between their marks
python docs/findings/tables.py collect results/controlled   first copies what they rest on from a study that has run

A last argument of `collect` is the commit that models and their measurements come from, where that is an earlier one.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import exp
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet

from headwise.analyses.questions.report.words import answer_words, found_words
from headwise.report.labels import interval, missing, number, p_value, plain, signed
from headwise.runtime.parquet import read_metadata
from headwise.runtime.provenance import file_digest
from headwise.tables.frame import records

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "findings.md"
TABLES = (
    "answers",
    "comparisons",
    "dose",
    "effect_refits",
    "effects",
    "factors",
    "noise_contrasts",
    "noise_sharing",
    "stability",
    "stability_quantities",
    "working_heads",
)
MARK = re.compile(r"(<!-- (\w+) of (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
Row = Mapping[str, Any]


def collect(results: Path, measured: str | None = None) -> None:
    """Copy the tables of a study that has run, those of heads without single heads, and what they were made with."""
    folder = FOLDER / results.name
    folder.mkdir(exist_ok=True)
    for name in TABLES:
        source = results / "tables" / f"{name}.parquet"
        if not source.exists():
            continue
        table = pyarrow.parquet.read_table(source)
        if name == "stability":
            whole = [table[column].is_null().to_numpy() for column in ("refit", "head", "words")]
            table = table.filter(whole[0] & whole[1] & whole[2])
        if name == "comparisons":
            table = table.filter(
                (table["level"].to_numpy() == "model") & (table["estimator"].to_numpy() == "hellinger")
            )
        pyarrow.parquet.write_table(table, folder / f"{name}.parquet", compression="zstd")
    carried = read_metadata(folder / "answers.parquet")
    file = next(path for path in Path("config").rglob("*.yaml") if f"\nname: {results.name}\n" in path.read_text())
    commit = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    facts = {
        "study": results.name,
        "study_file": str(file),
        "study_file_sha256": file_digest(file),
        "study_digest": carried["study_digest"],
        "commit": commit,
        "measured": measured or commit,
        "versions": carried["versions"],
    }
    (folder / "run.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def rendered(page: str) -> str:
    """The page with every table as its Parquet files have it."""
    return MARK.sub(lambda found: "\n".join([found[1], *RENDERERS[found[2]](found[3]), "", found[5]]), page)


def read(study: str, table: str) -> pd.DataFrame:
    """A table that stands beside this file."""
    return pd.read_parquet(FOLDER / study / f"{table}.parquet").convert_dtypes()  # whole numbers stay whole


def lines(headings: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    """A table in Markdown."""
    yield f"| {' | '.join(headings)} |"
    yield "|" + "---|" * len(headings)
    for row in rows:
        yield f"| {' | '.join(row)} |"


def run(study: str) -> Iterator[str]:
    """What the tables were made with."""
    facts = json.loads((FOLDER / study / "run.json").read_text(encoding="utf-8"))
    versions = ", ".join(f"{name} {facts['versions'][name]}" for name in ("python", "torch", "transformers", "numpy"))
    measured = facts.get("measured", facts["commit"])
    earlier = "" if measured == facts["commit"] else f" (models and what was measured of them: `{measured[:12]}`)"
    yield (
        f"`snakemake --configfile {facts['study_file']}` at commit `{facts['commit'][:12]}`{earlier}; study digest "
        f"`{facts['study_digest'][:12]}`, SHA-256 of its file `{facts['study_file_sha256'][:12]}`; {versions}."
    )


def answers(study: str) -> Iterator[str]:
    """A line per declared question."""

    def row(each: Row) -> Sequence[str]:
        sizes = [each[name] for name in ("n", "n_reference") if not missing(each[name])]
        units = f"{' + '.join(f'{size:.0f}' for size in sizes)} refits"
        tested = not missing(each["p"])
        beside = ""
        if not missing(each["alone"]):
            beside = (
                f"chance: {number(each['alone'], 2)}"
                if each["ask"] == "agreement"
                else f"placebo alone: {signed(each['alone'])}"
            )
        elif each["ask"] == "sharing":
            beside = "one draw per copy: 1"
        powers = [each.get("power"), each.get("power_published")]
        cells = [
            each["title"],
            f"**{answer_words(each)}**",
            f"{found_words(each)}, {units}",
            beside,
            f"{p_value(each['p_adjusted'])} ({p_value(each['p_attainable'])})" if tested else "interval",
            "; ".join("–" if missing(power) else number(power, 2) for power in powers) if tested else "",
        ]
        return cells[: len(headings)]

    rows = read(study, "answers")
    headings = ["question", "answer", "found", "without it", "adjusted p (smallest p)"]
    if "power" in rows:
        headings.append("power of the test: at what was found; published")
    return lines(headings, map(row, records(rows)))


def gate(study: str) -> Iterator[str]:
    """Working heads, by base."""
    rows = read(study, "working_heads")

    def span(values: "pd.Series[float]", digits: int) -> str:
        return f"{number(values.min(), digits)} to {number(values.max(), digits)}"

    def groups() -> Iterator[Sequence[str]]:
        for base, own in rows[rows["base"].isna()].groupby("model", sort=False):
            arms = rows[rows["base"].eq(base)]
            yield [
                plain(str(base)),
                f"{int(own['works'].sum())} of {len(own)}",
                f"{int(arms['works'].sum())} of {len(arms)}",
                span(own["attention_worth_nats"], 1),
                f"{span(own['loss_nats'], 2)} ({number(own['bigram_loss_nats'].max(), 2)})",
                span(own["previous_token"], 2),
            ]

    headings = [
        "base",
        "refits with working heads",
        "descendants with working heads",
        "attention is worth, nats",
        "held-out loss (bigram)",
        "best previous-token head",
    ]
    return lines(headings, groups())


def within(study: str) -> Iterator[str]:
    """How often tests within one refit, over prompts, reject for arms and for placebos."""
    rows = read(study, "comparisons")
    rows = rows[rows["scope"].eq("refit") & rows["sink"].eq("kept")]
    dose = read(study, "dose").drop_duplicates("model").set_index("model")

    def groups() -> Iterator[Sequence[str]]:
        made = rows.assign(
            how=rows["aligned"].map(dose["method"]),
            placebo=rows["aligned"].map(dose["placebo"]),
            dose=rows["aligned"].map(dose["dose"]),
        )
        for (how, times), own in made.groupby(["how", "dose"]):
            each = [own[own["placebo"].eq(placebo)] for placebo in (False, True)]
            yield [
                f"{str(how).upper()}, {times} × the steps",
                *(f"{int(part['p_adjusted'].le(0.05).sum())} of {len(part)}" for part in each),
                *(number(part["delta_absolute"].abs().mean(), 4) for part in each),
            ]

    headings = ["method", "arms: rejected", "placebos: rejected", "arms: mean size of change", "placebos"]
    return lines(headings, groups())


def doses(study: str) -> Iterator[str]:
    """Dose and effect, by base and arm."""
    rows, effects = read(study, "dose"), read(study, "effects")
    effects = effects[
        effects["estimator"].eq("hellinger") & effects["sink"].eq("kept") & effects["quantity"].eq("effect")
    ]
    effects = effects[effects["reference"].isna()].set_index(["group", "method", "dose"])

    def groups() -> Iterator[Sequence[str]]:
        for (base, method, times), own in rows.groupby(["base", "method", "dose"], sort=False):
            arm, placebo = (own[own["placebo"].eq(flag)].sort_values("seed") for flag in (False, True))
            effect = effects.loc[(base, method, times)]
            taught, sign = ("accuracy", 1) if method == "dpo" else ("answer_loss", -1)
            rises = [(part[f"{taught}_after"] - part[f"{taught}_before"]).astype(float) for part in (arm, placebo)]
            more = int((sign * (rises[0].to_numpy() - rises[1].to_numpy()) > 0).sum())
            yield [
                plain(str(base)),
                f"{str(method).upper()} × {times}",
                "; ".join(number(part["kl_nats"].mean(), 3) for part in (arm, placebo)),
                "; ".join(number(part["displacement"].mean(), 3) for part in (arm, placebo)),
                "; ".join(signed(rise.mean(), 3) for rise in rises),
                f"{more} of {len(arm)}",
                f"{signed(effect['estimate'])} ({interval(effect['ci_low'], effect['ci_high'])})",
            ]

    headings = [
        "base",
        "arm",
        "KL to the base, nats: arm; placebo",
        "weights moved by: arm; placebo",
        "taught (DPO: accuracy; SFT: answer loss): arm; placebo",
        "refits taught more than the placebo",
        "arm − placebo",
    ]
    return lines(headings, groups())


def noise(study: str) -> Iterator[str]:
    """Every architecture against the multi-head model, and sharing against copies."""
    rows, sharing = read(study, "noise_contrasts"), read(study, "noise_sharing")
    rows = rows[rows["kind"].eq("architecture") & rows["scale"].eq("relative") & rows["region"].eq("all")]
    sharing = sharing[sharing["scale"].eq("relative") & sharing["region"].eq("all")].set_index(["model", "site"])

    def groups() -> Iterator[Sequence[str]]:
        for each in records(rows):
            shared = ""
            if (each["group"], each["site"]) in sharing.index:
                own = sharing.loc[(each["group"], each["site"])]
                low, high = (number(exp(own[end]), 2) for end in ("log_low", "log_high"))
                shared = f"{number(own['ratio'], 2)} ({low} to {high})"
            bounds = (
                "no interval"
                if missing(each["geometric_low"])
                else f"{number(each['geometric_low'], 2)} to {number(each['geometric_high'], 2)}"
            )
            yield [
                plain(each["group"]),
                plain(each["site"]),
                f"{number(each['geometric_mean'], 2)} ({bounds})",
                p_value(each["p"]),
                shared,
            ]

    headings = ["model", "noise in", "against multi-head", "p", "shared over one draw per copy"]
    return lines(headings, groups())


def agreement(study: str) -> Iterator[str]:
    """Agreement of refits by what heads are compared on."""
    rows = read(study, "stability")
    rows = rows[
        rows["analysis"].eq("head_stability")
        & rows["version"].eq("corrected")
        & rows["weights"].eq("trained")
        & rows["layer"].isna()
    ].set_index(["group", "measure"])
    measures = {
        "cosine": "where they look",
        "writes_cka": "what they write",
        "ablation_profile": "what their loss costs",
    }

    def one(group: str, measure: str) -> str:
        own = rows.loc[(group, measure)]
        low, high = (number(own[end], 2) for end in ("corrected_low", "corrected_high"))
        beside = f"{number(own['value'], 2)}, chance {number(own['chance'], 2)}"
        return f"{number(own['chance_corrected'], 2)} ({low} to {high}); {beside}"

    def groups() -> Iterator[Sequence[str]]:
        for group in dict.fromkeys(rows.index.get_level_values(0)):
            yield [plain(group), *(one(group, measure) for measure in measures)]

    return lines(["refits of", *measures.values()], groups())


def factors(study: str) -> Iterator[str]:
    """Shares of the variance of arm − placebo, and of levels."""
    rows = read(study, "factors")
    rows = rows[rows["estimator"].eq("hellinger") & rows["sink"].eq("kept") & rows["quantity"].eq("share")]

    def one(each: Row) -> str:
        span = f"{number(each['estimate'], 2)} ({number(each['ci_low'], 2)} to {number(each['ci_high'], 2)})"
        return f"{span}, by chance {number(each['by_chance'], 2)}, p {p_value(each['p'])}"

    def groups() -> Iterator[Sequence[str]]:
        for factor in dict.fromkeys(rows["factor"]):
            cells = []
            for outcome in ("effect", "level"):
                own = records(rows[rows["factor"].eq(factor) & rows["outcome"].eq(outcome)])
                cells.append(one(own[0]) if own else "")
            yield [plain(factor), *cells]

    return lines(["factor", "share of arm − placebo", "share of levels"], groups())


def indices(study: str) -> Iterator[str]:
    """Arm − placebo by every estimator, all bases together."""
    rows = read(study, "effects")
    rows = rows[
        rows["sink"].eq("kept")
        & rows["quantity"].eq("effect")
        & rows["group"].eq("all")
        & rows["estimator"].isin(["hellinger", "entropy_profile", "output_cka"])
    ]

    def one(each: Row) -> Sequence[str]:
        span = f"{signed(each['estimate'])} ({interval(each['ci_low'], each['ci_high'])})"
        arm = f"{str(each['method']).upper()} × {each['dose']}"
        return [plain(each["estimator"]), arm, span, p_value(each["p"]), p_value(each["p_adjusted"]), str(each["n"])]

    return lines(["estimator", "arm", "arm − placebo", "p", "adjusted p", "refits"], map(one, records(rows)))


def claims(study: str) -> Iterator[str]:
    """Numbers that the claims of Bali et al. (2026) say to lie above zero, by group of refits."""
    rows = read(study, "stability_quantities")
    rows = rows[rows["version"].eq("corrected")].set_index(["group", "quantity"])
    words = {
        "stability_dip": "middle layers least stable",
        "distinctness_rise": "middle layers most distinct",
        "importance_of_unstable": "unstable deep heads matter more",
        "residual_above_heads": "residual stream more stable than heads",
    }

    def one(group: str, quantity: str) -> str:
        own = rows.loc[(group, quantity)]
        return f"{signed(own['value'], 2)} ({interval(own['ci_low'], own['ci_high'], 2)})"

    groups = dict.fromkeys(rows.index.get_level_values(0))
    table = ([plain(group), *(one(group, quantity) for quantity in words)] for group in groups)
    return lines(["refits of", *words.values()], table)


RENDERERS: dict[str, Callable[[str], Iterator[str]]] = {
    each.__name__: each for each in (run, answers, gate, within, doses, indices, noise, agreement, factors, claims)
}


if __name__ == "__main__":
    if sys.argv[1:2] == ["collect"]:
        collect(Path(sys.argv[2]), *sys.argv[3:4])
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
