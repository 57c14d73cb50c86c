"""What jobs leave behind for the report, over all analyses.

Imported by the Snakefile: nothing heavy is imported here.
"""

from headwise.analyses.specialization.jobs import summaries
from headwise.models.places import from_sources, per_seed, results
from headwise.study.sections import analysis_modules
from headwise.study.study import Study


def gathered(study: Study) -> dict[str, str | list[str]]:
    """What rule aggregate reads, but for the prompts, as `report.tables.Inputs` names it."""
    trained = from_sources(study, "train", "align")
    finished = [table for jobs in analysis_modules("jobs") for table in jobs.tables(study)]
    return {
        "checkpoints": per_seed(study, trained, "models/{model}/seed{seed}"),
        "training": per_seed(study, trained, "training/{model}/seed{seed}.parquet"),
        "measured": summaries(study),
        "analyses": [results(study, f"analyses/{table}.parquet") for table in finished],
    }
