"""All controls that need nothing but the code, one model and the results of a study: controls.parquet."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwise.controls.control import Control
from headwise.controls.made_up import made_up_controls
from headwise.controls.of_model import model_controls
from headwise.controls.of_results import head_orders, itself
from headwise.provenance import write_table
from headwise.study.study import Study

if TYPE_CHECKING:
    import pyarrow


def run_controls(
    study: Study, model: str, checkpoint: Path, features: Path, summaries: Sequence[Path], prompts: Path, table: Path
) -> None:
    """Run the controls and write one row each.

    model      name of the model that controls on one model use; checkpoint, features: of it
    summaries  summary.parquet of every model and seed
    prompts    prompts.jsonl
    """
    names = study.specialization.estimators
    controls = [
        itself(features, prompts, model, study.comparison),
        *made_up_controls(names),
        *head_orders(summaries, names),
        *model_controls(checkpoint, prompts, model),
    ]
    write_table(_table(controls), table, {"study": study.name})


def _table(controls: Sequence[Control]) -> "pyarrow.Table":
    import pyarrow

    numbers = dict.fromkeys(("found", "tolerance"), pyarrow.float64())
    types: dict[str, Any] = {field.name: numbers.get(field.name, pyarrow.string()) for field in fields(Control)}
    return pyarrow.Table.from_pylist([asdict(control) for control in controls], schema=pyarrow.schema(types))
