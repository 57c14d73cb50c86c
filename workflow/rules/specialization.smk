# From attention statistics to specialization: per model, base against aligned, and across models.
from headwise.analyses.factors.jobs import factor_arguments
from headwise.analyses.specialization.jobs import contrast_arguments, evaluation_arguments, pair_arguments


rule evaluate_specialization:
    """Compute every selected estimator of one model at one seed, with its checks."""
    input:
        heads=rules.extract_attention.output.heads,
        pairs=rules.extract_attention.output.pairs,
        library=library("evaluate_specialization.py", *estimator_files()),
    output:
        features=results("specialization/{model}/seed{seed}/features.parquet"),
        summary=results("specialization/{model}/seed{seed}/summary.parquet"),
    log:
        results("logs/evaluate_specialization/{model}/seed{seed}.log"),
    benchmark:
        results("benchmarks/evaluate_specialization/{model}/seed{seed}.jsonl")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=shared_memory(1000),
        runtime=shared_time(10),
    params:
        arguments=evaluation_arguments(study),
    script:
        "../../scripts/evaluate_specialization.py"


rule compare_pair:
    """Compare an aligned model with its base: paired per-prompt differences in each refit, and over refits."""
    input:
        base=lambda wildcards: [
            results(f"specialization/{study.model(wildcards.model).base}/seed{seed}/features.parquet")
            for seed in study.seeds_of(study.model(wildcards.model))
        ],
        aligned=lambda wildcards: [
            results(f"specialization/{wildcards.model}/seed{seed}/features.parquet")
            for seed in study.seeds_of(study.model(wildcards.model))
        ],
        prompts=rules.verify_prompts.output.prompts,
        library=library("compare_pair.py", *estimator_files()),
    output:
        table=results("comparison/{model}.parquet"),
    log:
        results("logs/compare_pair/{model}.log"),
    benchmark:
        results("benchmarks/compare_pair/{model}.jsonl")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=doubling(2000),
        runtime=doubling(20),
    params:
        arguments=lambda wildcards: pair_arguments(study, wildcards.model),
    script:
        "../../scripts/compare_pair.py"


rule contrast_models:
    """Contrast architectures, and what alignment did to them, with refits as the unit of replication."""
    input:
        summaries=per_seed(study.models, "specialization/{model}/seed{seed}/summary.parquet"),
        comparisons=[results(f"comparison/{model.name}.parquet") for model in study.descendants()],
        library=library("contrast_models.py"),
    output:
        table=results("contrasts.parquet"),
    log:
        results("logs/contrast_models.log"),
    benchmark:
        results("benchmarks/contrast_models.jsonl")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=shared_memory(2000),
        runtime=shared_time(20),
    params:
        arguments=contrast_arguments(study),
    script:
        "../../scripts/contrast_models.py"


rule analyse_factors:
    """Divide specialization among the factors in which the models differ: effects, shares of variance, their order."""
    input:
        summaries=per_seed(study.models, "specialization/{model}/seed{seed}/summary.parquet"),
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
        mem_mb=shared_memory(1000),
        runtime=shared_time(10),
    params:
        arguments=factor_arguments(study),
    script:
        "../../scripts/analyse_factors.py"
