"""Whether what variants are measured against, the change under alignment, is a number that can be divided by."""

from headwise.report.columns import Tables, records
from headwise.report.labels import missing
from headwise.report.verdicts import REPEAT, side


def unbounded(tables: Tables) -> set[tuple[str, str]]:
    """Estimators and treatments of key 0 for which a ratio to the change under alignment has no bounds.

    No aligned model's change can be told from 0 there: the interval over refits holds it, or, with a single refit,
    that over prompts.
    """
    tests = tables["comparisons"]
    tests = tests[tests["level"].eq("model") & tests["role"].ne(REPEAT)]
    told: dict[tuple[str, str], bool] = {}
    over = {
        (row["estimator"], row["sink"], row["aligned"])
        for row in records(tests[tests["scope"].eq("refits")])
        if not missing(row["ci_low"])
    }
    for row in records(tests):
        key = (row["estimator"], row["sink"])
        counts = (row["scope"] == "refits") == ((*key, row["aligned"]) in over)
        sees = counts and side(row["delta_absolute"], row["ci_low"], row["ci_high"]) != 0
        told[key] = told.get(key, False) or sees
    return {key for key, known in told.items() if not known}
