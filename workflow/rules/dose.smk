# From checkpoints to how far alignment moved each descendant of a base, and what it taught.
from headwise.analyses.dose.jobs import TABLES as DOSE_TABLES
from headwise.analyses.dose.jobs import (
    base_checkpoints,
    descendant_checkpoints,
    dose_arguments,
    files_of_descendants,
    gathering_arguments as gathering_doses_arguments,
    measured_doses,
)
from headwise.analyses.dose.settings import dosed_bases
from headwise.analyses.dose.needs import dose


rule measure_dose:
    """Measure how far the descendants of one base are from it, at all seeds: predictions, weights, what was taught."""
    input:
        **PROMPTS,
        bases=of_model(base_checkpoints),
        aligned=of_model(descendant_checkpoints),
        files=of_model(files_of_descendants),
        library=library("measure_dose.py"),
    output:
        table=results("dose/{model}.parquet"),
    log:
        results("logs/measure_dose/{model}.log"),
    benchmark:
        results("benchmarks/measure_dose/{model}.jsonl")
    wildcard_constraints:
        model=names(dosed_bases(study)),
    conda:
        ENVIRONMENT
    resources:
        **needed(dose, gpu=True),
    params:
        arguments=of_model(dose_arguments),
    script:
        "../../scripts/measure_dose.py"


rule gather_doses:
    """Gather the doses of all bases into one table."""
    input:
        parts=measured_doses(study),
        library=library("gather_doses.py"),
    output:
        table=finished(DOSE_TABLES)["dose"],
    log:
        results("logs/gather_doses.log"),
    benchmark:
        results("benchmarks/gather_doses.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **shared(mem_mb=1000, runtime=5),
    params:
        arguments=gathering_doses_arguments(study),
    script:
        "../../scripts/gather_doses.py"
