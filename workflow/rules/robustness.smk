# From checkpoints to robustness: noise and its dose, duplicated key and value heads, the probe, recursive generation.
from headwise.analyses.noise.jobs import perturbation_arguments, response_arguments
from headwise.analyses.recursion.jobs import arm_of, chain_arguments, survival_arguments


rule perturb_model:
    """Measure one refit of a base under noise, with its key and value heads duplicated, and its descendants' probe."""
    input:
        base=lambda wildcards: checkpoint_of(wildcards.model, int(wildcards.seed)),
        aligned=lambda wildcards: [
            checkpoint_of(model.name, int(wildcards.seed)) for model in descendants_of(wildcards)
        ],
        files=files_of_refit,
        documents=rules.build_corpus.output.documents,
        prompts=rules.verify_prompts.output.prompts,
        facts=rules.verify_prompts.output.facts,
        library=library("perturb_model.py", *estimator_files()),
    output:
        **{table: results(f"robustness/{{model}}/seed{{seed}}/{table}.parquet") for table in PERTURBED},
    log:
        results("logs/perturb_model/{model}/seed{seed}.log"),
    benchmark:
        results("benchmarks/perturb_model/{model}/seed{seed}.jsonl")
    wildcard_constraints:
        model=perturbed_names(),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=needed("memory_mb", perturbing),
        runtime=needed("minutes", perturbing),
        gpu=needed("gpus", perturbing),
    params:
        arguments=of_refit(perturbation_arguments),
    script:
        "../../scripts/perturb_model.py"


rule summarize_perturbations:
    """Gather responses to noise into tables, contrast architectures, judge the probe, list published values."""
    input:
        **{table: perturbed_refits(table) for table in PERTURBED},
        library=library("summarize_perturbations.py"),
    output:
        **{table: results(f"analyses/{table}.parquet") for table in PERTURBATION_TABLES},
    log:
        results("logs/summarize_perturbations.log"),
    benchmark:
        results("benchmarks/summarize_perturbations.jsonl")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=shared_memory(2000),
        runtime=shared_time(20),
    params:
        arguments=response_arguments(study),
    script:
        "../../scripts/summarize_perturbations.py"


rule recurse_model:
    """Feed a model's text back to it, generation after generation; a job that was killed goes on where it was."""
    input:
        checkpoint=lambda wildcards: checkpoint_of(writer_of(wildcards).model, int(wildcards.seed)),
        files=lambda wildcards: files_of(writer_of(wildcards).model, int(wildcards.seed)),
        prompts=rules.verify_prompts.output.prompts,
        facts=rules.verify_prompts.output.facts,
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
        mem_mb=needed("memory_mb", recursing),
        runtime=needed("minutes", recursing),
        gpu=needed("gpus", recursing),
    params:
        # No output: Snakemake removes the outputs of a job that failed, and the unfinished chains must outlive it.
        arguments=lambda wildcards: chain_arguments(
            study,
            wildcards.arm,
            int(wildcards.seed),
            results(f"recursion/{wildcards.arm}/seed{wildcards.seed}/unfinished"),
        ),
    script:
        "../../scripts/recurse_model.py"


rule summarize_recursion:
    """Gather chains of generations into tables: what generations were like, survival until degradation."""
    input:
        generations=arms("recursion/{arm}/seed{seed}/generations.parquet"),
        specialization=arms("recursion/{arm}/seed{seed}/specialization.parquet"),
        library=library("summarize_recursion.py"),
    output:
        **{table: results(f"analyses/{table}.parquet") for table in RECURSION_TABLES},
    log:
        results("logs/summarize_recursion.log"),
    benchmark:
        results("benchmarks/summarize_recursion.jsonl")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=shared_memory(2000),
        runtime=shared_time(20),
    params:
        arguments=survival_arguments(study),
    script:
        "../../scripts/summarize_recursion.py"
