"""Planning stays cheap where studies are large. Seconds are the benchmark's subject, since tests run side by side."""

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "benchmarks"))

from dag import Cost, plan, write_study


@pytest.mark.slow
def test_planning_1210_models_costs_ten_times_what_121_cost(tmp_path: Path) -> None:
    def cost(models: int) -> tuple[Cost, float]:
        """A dry run, and its processor seconds beyond reading the Snakefile."""
        folder = tmp_path / str(models)
        folder.mkdir()
        study = write_study(folder, models)
        planned, parsed = plan(folder, study, "-n", "--quiet", "rules"), plan(folder, study, "--list-rules")
        return planned, planned.processor_seconds - parsed.processor_seconds

    (_, few), (large, many) = cost(121), cost(1210)
    assert re.search(r"extract_attention +1210", large.output)
    assert large.memory_mb < 1000
    # Another test on the same core takes up to half of it at any moment; quadratic growth would be 100 times.
    assert many < 30 * few


def test_parsing_the_snakefile_takes_seconds(root: Path) -> None:
    # Every job on a cluster parses it twice. Two seconds on a machine that does nothing else.
    assert plan(root, root / "config" / "config.yaml", "--list-rules").processor_seconds < 10
