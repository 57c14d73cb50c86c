# A model's text fed back to it, generation after generation, and when it degrades.
from headwise.analyses.recursion.jobs import TABLES as RECURSION_TABLES
from headwise.analyses.recursion.jobs import (
    chain_arguments,
    per_arm,
    survival_arguments,
    writer_checkpoint,
    writer_files,
)
from headwise.analyses.recursion.needs import recursion


rule recurse_model:
    """Feed a model's text back to it, generation after generation; a job that was killed goes on where it was."""
    input:
        **PROMPTS,
        checkpoint=of_arm(writer_checkpoint),
        files=of_arm(writer_files),
        library=library("recurse_model.py", *estimator_files()),
    output:
        generations=results("recursion/{arm}/seed{seed}/generations.parquet"),
        specialization=results("recursion/{arm}/seed{seed}/specialization.parquet"),
    log:
        results("logs/recurse_model/{arm}/seed{seed}.log"),
    benchmark:
        results("benchmarks/recurse_model/{arm}/seed{seed}.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **needed(recursion, gpu=True),
    params:
        arguments=of_arm(chain_arguments),
    script:
        "../../scripts/recurse_model.py"


rule summarize_recursion:
    """Gather chains of generations into tables: what generations were like, survival until degradation."""
    input:
        generations=per_arm(study, "generations"),
        specialization=per_arm(study, "specialization"),
        library=library("summarize_recursion.py"),
    output:
        **finished(RECURSION_TABLES),
    log:
        results("logs/summarize_recursion.log"),
    benchmark:
        results("benchmarks/summarize_recursion.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **shared(mem_mb=2000, runtime=20),
    params:
        arguments=survival_arguments(study),
    script:
        "../../scripts/summarize_recursion.py"
