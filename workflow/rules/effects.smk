# What alignment does beyond its placebo.
from headwise.analyses.effects.jobs import TABLES as EFFECT_TABLES
from headwise.analyses.effects.jobs import effect_arguments
from headwise.analyses.specialization.jobs import summaries


rule measure_effects:
    """Set every arm of alignment against its placebo, refit by refit and over refits."""
    input:
        summaries=summaries(study),
        specialization=results("analyses/specialization.parquet"),
        library=library("measure_effects.py"),
    output:
        **finished(EFFECT_TABLES),
    log:
        results("logs/measure_effects.log"),
    benchmark:
        results("benchmarks/measure_effects.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **shared(mem_mb=1000, runtime=5),
    params:
        arguments=effect_arguments(study),
    script:
        "../../scripts/measure_effects.py"
