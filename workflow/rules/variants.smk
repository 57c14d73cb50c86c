# From a checkpoint to its estimators under other protocols of extraction, and what each choice of a protocol moves.
from headwise.analyses.variants.jobs import gathering_arguments, variant_arguments


rule measure_variants:
    """Measure one model under every variant of the extraction; it is loaded once per dtype."""
    input:
        checkpoint=lambda wildcards: checkpoint_of(wildcards.model, int(wildcards.seed)),
        files=lambda wildcards: files_of(wildcards.model, int(wildcards.seed)),
        prompts=rules.verify_prompts.output.prompts,
        facts=rules.verify_prompts.output.facts,
        library=library("measure_variants.py", *estimator_files()),
    output:
        table=results("variants/{model}/seed{seed}.parquet"),
    log:
        results("logs/measure_variants/{model}/seed{seed}.log"),
    benchmark:
        results("benchmarks/measure_variants/{model}/seed{seed}.jsonl")
    wildcard_constraints:
        model=names("train", "align", "folder", "hub", "transformer_lens"),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=needed("memory_mb", variants),
        runtime=needed("minutes", variants),
        gpu=needed("gpus", variants),
    params:
        arguments=of_refit(variant_arguments),
    script:
        "../../scripts/measure_variants.py"


rule gather_variants:
    """Gather the variants of all models, and set what each choice moves beside what alignment moves."""
    input:
        parts=[
            results(f"variants/{model.name}/seed{seed}.parquet")
            for model, seed in study.measured_with_variants()
        ],
        comparisons=[results(f"comparison/{model.name}.parquet") for model in study.descendants()],
        library=library("gather_variants.py"),
    output:
        variants=results("analyses/variants.parquet"),
        confounds=results("analyses/confounds.parquet"),
    log:
        results("logs/gather_variants.log"),
    benchmark:
        results("benchmarks/gather_variants.jsonl")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=shared_memory(1000),
        runtime=shared_time(10),
    params:
        arguments=gathering_arguments(study),
    script:
        "../../scripts/gather_variants.py"
