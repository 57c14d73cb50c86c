# From attention statistics to specialization: per model, base against aligned, and across models.
from headwise.analyses.specialization.jobs import TABLES as SPECIALIZATION_TABLES
from headwise.analyses.specialization.jobs import (
    aligned_features,
    base_features,
    comparisons,
    contrast_arguments,
    evaluation_arguments,
    pair_arguments,
    summaries,
    summary_arguments,
)


rule evaluate_specialization:
    """Compute every selected estimator of one model at one seed, with its checks."""
    input:
        heads=rules.extract_attention.output.heads,
        pairs=rules.extract_attention.output.pairs,
        # A mark that nothing needs would not be missed.
        marks=rules.extract_attention.output.marks,
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
        **shared(mem_mb=1000, runtime=10),
    params:
        arguments=evaluation_arguments(study),
    script:
        "../../scripts/evaluate_specialization.py"


rule compare_pair:
    """Compare an aligned model with its base: paired per-prompt differences in each refit, and over refits."""
    input:
        base=of_model(base_features),
        aligned=of_model(aligned_features),
        prompts=rules.verify_prompts.output.prompts,
        library=library("compare_pair.py", *estimator_files()),
    output:
        table=results("specialization/{model}/comparison.parquet"),
    log:
        results("logs/compare_pair/{model}.log"),
    benchmark:
        results("benchmarks/compare_pair/{model}.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **doubling(mem_mb=2000, runtime=20),
    params:
        arguments=of_model(pair_arguments),
    script:
        "../../scripts/compare_pair.py"


rule contrast_models:
    """Contrast architectures, and what alignment did to them, with refits as the unit of replication."""
    input:
        summaries=summaries(study),
        comparisons=comparisons(study),
        curves=per_seed(study, from_sources(study, "train"), "training/{model}/seed{seed}.parquet"),
        library=library("contrast_models.py"),
    output:
        table=results("specialization/contrasts.parquet"),
    log:
        results("logs/contrast_models.log"),
    benchmark:
        results("benchmarks/contrast_models.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **shared(mem_mb=2000, runtime=20),
    params:
        arguments=contrast_arguments(study),
    script:
        "../../scripts/contrast_models.py"


rule summarize_specialization:
    """Gather what estimators and tests gave into tables, each test adjusted for how many there are."""
    input:
        summaries=summaries(study),
        heads=per_seed(study, study.models, "statistics/{model}/seed{seed}/descriptors.parquet"),
        pairs=comparisons(study),
        models=rules.contrast_models.output.table,
        declaration=results("analyses/declaration.parquet"),
        library=library("summarize_specialization.py"),
    output:
        **finished(SPECIALIZATION_TABLES),
    log:
        results("logs/summarize_specialization.log"),
    benchmark:
        results("benchmarks/summarize_specialization.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **shared(mem_mb=2000, runtime=10),
    params:
        arguments=summary_arguments(study),
    script:
        "../../scripts/summarize_specialization.py"
