# What makes tests credible: declared before they are computed, and tried out on simulated data.
from headwise.analyses.calibration.jobs import calibration_arguments
from headwise.analyses.controls.jobs import control_arguments, controlled_model, measured_model
from headwise.analyses.declaration.jobs import check_arguments, declaration_arguments

CONTROLLED = controlled_model(study)


rule declare:
    """Keep what the study declares, before attention is measured; written once, whatever is edited later."""
    output:
        declaration=results("declaration.json"),
    log:
        results("logs/declare.log"),
    benchmark:
        results("benchmarks/declare.jsonl")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=doubling(500),
        runtime=doubling(5),
    params:
        # A function of `output` is no reason to run again: a later change must not make this file anew.
        arguments=lambda wildcards, output: declaration_arguments(study),
    script:
        "../../scripts/declare.py"


rule check_declaration:
    """Compare what was declared with what the study file says now."""
    input:
        declaration=rules.declare.output.declaration,
        library=library("check_declaration.py"),
    output:
        table=results("analyses/declaration.parquet"),
    log:
        results("logs/check_declaration.log"),
    benchmark:
        results("benchmarks/check_declaration.jsonl")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=shared_memory(500),
        runtime=shared_time(5),
    params:
        arguments=check_arguments(study),
    script:
        "../../scripts/check_declaration.py"


rule calibration:
    """Calibrate the tests; the next report shows the result."""
    input:
        results("analyses/calibration.parquet"),


rule calibrate:
    """Simulate data of the study's shape, and count false rejections, coverage and power."""
    input:
        prompts=rules.verify_prompts.output.facts,
        library=library("calibrate.py", *estimator_files()),
    output:
        table=results("analyses/calibration.parquet"),
    log:
        results("logs/calibrate.log"),
    benchmark:
        results("benchmarks/calibrate.jsonl")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=doubling(1000),
        runtime=doubling(20),
    params:
        arguments=calibration_arguments(study),
    script:
        "../../scripts/calibrate.py"


rule run_controls:
    """Ask the software in use questions whose answers are known."""
    input:
        **(
            {"checkpoint": checkpoint_of(CONTROLLED.name, study.seeds_of(CONTROLLED)[0])}
            if CONTROLLED
            else {}
        ),
        **({"released": rules.compute_released.output.table} if study.controls.released_results else {}),
        features=per_seed([measured_model(study)], "specialization/{model}/seed{seed}/features.parquet")[0],
        summaries=per_seed(study.models, "specialization/{model}/seed{seed}/summary.parquet"),
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
        mem_mb=shared_memory(2000),
        runtime=shared_time(20),
    params:
        arguments=control_arguments(study),
    script:
        "../../scripts/run_controls.py"
