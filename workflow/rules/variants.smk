# From a checkpoint to its estimators under other protocols of extraction, and what each choice of a protocol moves.
from headwise.analyses.specialization.jobs import comparisons
from headwise.analyses.variants.jobs import TABLES as VARIANTS_TABLES
from headwise.analyses.variants.jobs import gathering_arguments, measured_variants, variant_arguments
from headwise.analyses.variants.needs import variants


rule measure_variants:
    """Measure one model under every variant of the extraction; it is loaded once per dtype."""
    input:
        **PROMPTS,
        checkpoint=of_refit(checkpoint_of),
        files=of_refit(files_of),
        library=library("measure_variants.py", *estimator_files()),
    output:
        table=results("variants/{model}/seed{seed}.parquet"),
    log:
        results("logs/measure_variants/{model}/seed{seed}.log"),
    benchmark:
        results("benchmarks/measure_variants/{model}/seed{seed}.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **needed(variants, gpu=True),
    params:
        arguments=of_refit(variant_arguments),
    script:
        "../../scripts/measure_variants.py"


rule gather_variants:
    """Gather the variants of all models, and set what each choice moves beside what alignment moves."""
    input:
        parts=measured_variants(study),
        comparisons=comparisons(study),
        library=library("gather_variants.py"),
    output:
        **finished(VARIANTS_TABLES),
    log:
        results("logs/gather_variants.log"),
    benchmark:
        results("benchmarks/gather_variants.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **shared(mem_mb=1000, runtime=10),
    params:
        arguments=gathering_arguments(study),
    script:
        "../../scripts/gather_variants.py"
