# Result files that others released.
from headwise.analyses.controls.jobs import released_folder, released_results


rule compute_released:
    """Compute printed indices of released files again, from the matrices of entropies beside them."""
    input:
        released=inputs_of(released_results(study)),
        library=library("compute_released.py"),
    output:
        table=results("released/indices.parquet"),
    log:
        results("logs/compute_released.log"),
    benchmark:
        results("benchmarks/compute_released.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **shared(mem_mb=2000, runtime=5),
    params:
        arguments={"folder": released_folder(study)},
        no_inputs=lambda wildcards: digests_of_others(released_results(study)),
    script:
        "../../scripts/compute_released.py"
