"""Comparisons of the study that differ in more than alignment: template, first token or precision."""

from dataclasses import dataclass

from headwise.report.columns import Tables
from headwise.report.labels import missing
from headwise.tables.frame import records

# What is recorded of every measurement, and is a second factor where a pair differs in it.
FACTORS = ("template", "first_token", "dtype")


@dataclass(frozen=True)
class Confounded:
    """A pair of models that were not measured alike: `factor` is that of the aligned model and of its base."""

    aligned: str
    base: str
    factor: str
    of_aligned: str
    of_base: str


def confounded_pairs(tables: Tables) -> list[Confounded]:
    """Every pair and factor in which a model and its base were measured differently, in the order of the study."""
    models = records(tables["models"].drop_duplicates("model"))
    by_name = {row["model"]: row for row in models}
    found = []
    for row in models:
        if missing(row["base"]) or row["base"] not in by_name:
            continue
        for factor in FACTORS:
            of_aligned, of_base = row[factor], by_name[row["base"]][factor]
            if not missing(of_aligned) and not missing(of_base) and of_aligned != of_base:
                found.append(Confounded(row["model"], row["base"], factor, of_aligned, of_base))
    return found
