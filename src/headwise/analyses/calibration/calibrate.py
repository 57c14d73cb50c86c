"""Do tests reject as rarely as they promise, and do intervals cover? On simulated data of the study's own shape."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from headwise.analyses.calibration import between, refits, within
from headwise.analyses.calibration.rates import Rate
from headwise.analyses.calibration.settings import Calibration
from headwise.analyses.calibration.shape import Shape, shape_of
from headwise.runtime.json_files import read_json
from headwise.runtime.progress import track
from headwise.statistics.generators import generator_for
from headwise.tables.files import write_rows

CHECKS = (
    within.prompt_tests,
    within.profile_tests,
    within.layer_tests,
    within.prompt_intervals,
    within.equivalence_tests,
    between.mean_tests,
    between.difference_tests,
    between.family_summaries,
    between.confirmatory_set,
    between.further_tests,
    refits.pair_intervals,
    refits.layer_trends,
    refits.factor_orders,
)


def calibrate(
    prompts: Path, table: Path, *, study: str, units: Mapping[str, int], settings: Calibration, level: float
) -> None:
    """Simulate, test, count; write one row per procedure, scenario and effect (`Rate`).

    prompts  facts about the prompt set (prompts.json), for the sizes of its domains
    study    its name
    units    see `units_of`
    level    of the study's tests
    """
    facts = read_json(prompts)
    rows = rates(shape_of(facts["domains"], units), settings, level)
    write_rows(Rate, rows, table, {"study": study, "prompts_digest": facts["sha256"]})


def rates(shape: Shape, settings: Calibration, level: float) -> Iterator[Rate]:
    """All rates; each check draws from a generator of its own, so that none depends on another."""
    for check in track(CHECKS, "calibration", len(CHECKS)):
        rng = generator_for("calibration", check.__name__)
        yield from check(shape, settings, level, rng)
