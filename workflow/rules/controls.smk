# Questions whose answers are known.
from headwise.analyses.controls.jobs import (
    control_arguments,
    controlled_checkpoint,
    measured_model,
    released_folder,
)


rule run_controls:
    """Ask the software in use questions whose answers are known."""
    input:
        **controlled_checkpoint(study),
        **({"released": rules.compute_released.output.table} if released_folder(study) else {}),
        features=per_seed(
            study, [measured_model(study)], "specialization/{model}/seed{seed}/features.parquet"
        )[0],
        summaries=per_seed(study, study.models, "specialization/{model}/seed{seed}/summary.parquet"),
        prompts=rules.verify_prompts.output.prompts,
        library=library("run_controls.py", *estimator_files()),
    output:
        table=results("analyses/controls.parquet"),
    log:
        results("logs/run_controls.log"),
    benchmark:
        results("benchmarks/run_controls.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **shared(mem_mb=2000, runtime=20),
    params:
        arguments=control_arguments(study),
    script:
        "../../scripts/run_controls.py"
