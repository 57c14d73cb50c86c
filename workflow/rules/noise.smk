# From checkpoints to their response to noise, to duplicated key and value heads, and to the probe's one dose.
from headwise.analyses.noise.jobs import TABLES as NOISE_TABLES
from headwise.analyses.noise.jobs import (
    aligned_checkpoints,
    files_of_family,
    perturbation_arguments,
    response_arguments,
)
from headwise.analyses.noise.needs import perturbation
from headwise.analyses.noise.bases import perturbed_bases

PERTURBED = ("losses", "specialization", "generated", "duplication")


rule perturb_model:
    """Measure one refit of a base under noise, with its key and value heads duplicated, and its descendants' probe."""
    input:
        **PROMPTS,
        base=of_refit(checkpoint_of),
        aligned=of_refit(aligned_checkpoints),
        files=of_refit(files_of_family),
        documents=rules.build_corpus.output.documents,
        library=library("perturb_model.py", *estimator_files()),
    output:
        **{table: results(f"noise/{{model}}/seed{{seed}}/{table}.parquet") for table in PERTURBED},
    log:
        results("logs/perturb_model/{model}/seed{seed}.log"),
    benchmark:
        results("benchmarks/perturb_model/{model}/seed{seed}.jsonl")
    wildcard_constraints:
        model=names(perturbed_bases(study)),
    conda:
        ENVIRONMENT
    resources:
        **needed(perturbation, gpu=True),
    params:
        arguments=of_refit(perturbation_arguments),
    script:
        "../../scripts/perturb_model.py"


rule summarize_perturbations:
    """Gather responses to noise into tables, contrast architectures, judge the probe, list published values."""
    input:
        **{
            table: per_seed(study, perturbed_bases(study), f"noise/{{model}}/seed{{seed}}/{table}.parquet")
            for table in PERTURBED
        },
        library=library("summarize_perturbations.py"),
    output:
        **finished(NOISE_TABLES),
    log:
        results("logs/summarize_perturbations.log"),
    benchmark:
        results("benchmarks/summarize_perturbations.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **shared(mem_mb=2000, runtime=20),
    params:
        arguments=response_arguments(study),
    script:
        "../../scripts/summarize_perturbations.py"
