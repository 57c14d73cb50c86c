# What makes tests credible: declared before they are computed, and tried out on simulated data.


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
        settings=lambda wildcards, output: study.comparison.model_dump(mode="json"),
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
        settings={"study": study.name, "comparison": study.comparison.model_dump(mode="json")},
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
    threads: 1
    resources:
        mem_mb=doubling(1000),
        runtime=doubling(20),
    params:
        settings=study.model_dump(mode="json", exclude={"title"}),
    script:
        "../../scripts/calibrate.py"


rule run_controls:
    """Ask the software in use questions whose answers are known."""
    input:
        checkpoint=[checkpoint_of(controlled().name, study.seeds_of(controlled())[0])] if controlled() else [],
        features=results(
            f"specialization/{study.bases()[0].name}/seed{study.seeds_of(study.bases()[0])[0]}/features.parquet"
        ),
        summaries=per_seed(study.models, "specialization/{model}/seed{seed}/summary.parquet"),
        prompts=rules.verify_prompts.output.prompts,
        released=inputs_of(released_results()),
        library=library("run_controls.py", *estimator_files()),
    output:
        table=results("analyses/controls.parquet"),
    log:
        results("logs/run_controls.log"),
    benchmark:
        results("benchmarks/run_controls.jsonl")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=shared_memory(2000),
        runtime=shared_time(20),
    params:
        settings={
            "study": study.name,
            "estimators": study.specialization.estimators,
            "comparison": study.comparison.model_dump(mode="json"),
            "controls": study.controls.model_dump(mode="json"),
            "measured": study.bases()[0].name,
            "model": controlled().name if controlled() else None,
        },
        no_inputs=lambda wildcards: digests_of_others(released_results()),
    script:
        "../../scripts/run_controls.py"
