"""Planning stays cheap where studies are large: processor seconds, since tests run side by side."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "benchmarks"))

from dag import plan, write_study


@pytest.mark.slow
def test_a_study_of_1210_models_is_planned_in_little_time_and_memory(tmp_path: Path) -> None:
    cost = plan(tmp_path, write_study(tmp_path, 1210), "-n", "--quiet", "rules")
    assert "extract_attention           1210" in cost.output
    # 40 alone (docs/scale.md); two busy threads of one core take up to twice as long.
    assert cost.processor_seconds < 100
    assert cost.memory_mb < 1000


def test_parsing_the_snakefile_takes_seconds(root: Path) -> None:
    # Every job on a cluster parses it twice. Two seconds on a machine that does nothing else.
    assert plan(root, root / "config" / "config.yaml", "--list-rules").processor_seconds < 6
