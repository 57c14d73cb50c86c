# The factors in which models differ, and what each explains of their specialization.
from headwise.analyses.factors.jobs import factor_arguments


rule analyse_factors:
    """Divide specialization among the factors in which the models differ: effects, shares of variance, their order."""
    input:
        summaries=per_seed(study, study.models, "specialization/{model}/seed{seed}/summary.parquet"),
        library=library("analyse_factors.py"),
    output:
        table=results("analyses/factors.parquet"),
    log:
        results("logs/analyse_factors.log"),
    benchmark:
        results("benchmarks/analyse_factors.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **shared(mem_mb=1000, runtime=10),
    params:
        arguments=factor_arguments(study),
    script:
        "../../scripts/analyse_factors.py"
