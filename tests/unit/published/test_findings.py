"""Sentences of a re-analysis say what its rows hold, and nothing of what they do not."""

from headwise.published.claims import Verdict
from headwise.published.findings import findings
from headwise.published.row import Row, figure


def made(kind: str, place: str = "a", **values: object) -> Row:
    return Row(kind, "file.json", place, "model", "1", str(values.pop("quantity", "index")), **values)


def test_no_rows_say_nothing() -> None:
    assert findings([]) == []
    assert findings([made("not used")]) == []


def test_indices_are_counted_by_what_became_of_them() -> None:
    rows = [
        made("index", "a", printed=0.5, value=0.5, agreement="yes"),
        made("index", "b", printed=0.5, value=0.6, agreement="no"),
        made("index", "c", printed=0.5, agreement="not recomputed"),
        made("head order", "a", value=0.4),
        made("head order", "b", value=0.61),
    ]
    reproduced, missing, order = findings(rows)
    assert reproduced == (
        "Of 2 printed indices whose matrix of entropies is there, 1 are reproduced. [file.json: …/entropies]"
    )
    assert missing.startswith("1 printed indices cannot")
    assert "2 indices move by 0.1 at most" in order


def test_a_ratio_has_bounds_or_is_called_unbounded() -> None:
    rows = [
        made("noise ratio", quantity="denominator of a over b", value=3.0),
        made("noise ratio", quantity="ratio of slopes, a over b", value=2494.7, printed=2494.7),
        made("noise ratio", quantity="ratio of slopes, c over d", value=0.5, low=-0.25, high=2.0),
        made("noise ratio", quantity="ratio without a curve", printed=2.0),
    ]
    assert findings(rows) == [
        "Ratio of slopes, a over b: 2,495, interval unbounded (printed: 2,495). [file.json: a/ppl_curve]",
        "Ratio of slopes, c over d: 0.5, interval −0.25 to 2. [file.json: a/ppl_curve]",
    ]


def test_claims_and_seeds_are_counted() -> None:
    rows = [
        made("claim", "x/p", p_attainable=0.25, n=3, times=4, verdict=Verdict.OUT_OF_REACH),
        made("claim", "y/p", p=0.01, p_attainable=0.003, verdict=Verdict.AGREES),
        made("claim", "z/p", verdict=Verdict.UNKNOWN_DESIGN),
        made("seeds", value=0.0),
        made("seeds", value=2.0),
        made("absolute change", printed=0.1, value=0.1),
        made("relative change", printed=10.0, value=10.0),
    ]
    assert findings(rows) == [
        "6 fields print a p or a verdict of significance: they are 3 distinct claims. [file.json: …/p]",
        "1 of them, in 4 fields: no p below .05 is attainable (n = 3; smallest p 0.25). [file.json: x/p]",
        "1 of them, in 1 fields: an exact test agrees (p up to 0.01); each is about one curve of one seed, "
        "no more. [file.json: y/p]",
        "1 of them, in 1 fields: its design is not said. [file.json: z/p]",
        "Changes are printed in two units: 1 in those of the index, 1 in per cent of the base. "
        "[file.json: a/delta_si, delta_specialization, delta_si_pct]",
        "In 1 of 2 sets of seeds all seeds have one result: they were no repetitions. [file.json: a]",
    ]


def test_figures_have_their_digits() -> None:
    assert [figure(None), figure(-0.123456), figure(1234567.8), figure(0.00001234, 2)] == [
        "–",
        "−0.12346",
        "1,234,568",
        "1.2e−05",
    ]
