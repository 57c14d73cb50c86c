"""All controls that need nothing but the code, one model and the results of a study: controls.parquet."""

from collections.abc import Sequence
from pathlib import Path

from headwise.analyses.controls.circuit import circuit_controls, circuit_not_run
from headwise.analyses.controls.control import Control
from headwise.analyses.controls.measured_results import head_orders, itself
from headwise.analyses.controls.released import released_control
from headwise.analyses.controls.settings import Controls
from headwise.analyses.controls.trained_model import model_controls
from headwise.analyses.controls.written_attention import written_attention_controls
from headwise.study.comparison import Comparison
from headwise.tables.files import write_rows


def run_controls(
    study: str,
    estimators: list[str],
    comparison: Comparison,
    settings: Controls,
    model: str | None,
    measured: str,
    features: Path,
    summaries: Sequence[Path],
    prompts: Path,
    table: Path,
    checkpoint: Path | None = None,
    released: Path | None = None,
) -> None:
    """Run the controls and write one row each.

    study               name of the study
    model, checkpoint   a small model that controls may run; None where there is none
    measured, features  name and features.parquet of a model that is compared with itself
    summaries           summary.parquet of every model and seed
    prompts             prompts.jsonl
    released            printed indices of released files, computed again; None where the study names no such files
    """
    controls = [
        itself(features, prompts, measured, comparison),
        *written_attention_controls(estimators),
        *head_orders(summaries, estimators),
        *(model_controls(checkpoint, prompts, model) if checkpoint and model else []),
        released_control(released),
        *(circuit_controls() if settings.learned_circuit else [circuit_not_run()]),
    ]
    write_rows(Control, controls, table, {"study": study})
