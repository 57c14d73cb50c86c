# Result files that others released.


rule compute_released:
    """Compute printed indices of released files again, from the matrices of entropies beside them."""
    input:
        released=inputs_of(released_results()),
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
        mem_mb=shared_memory(2000),
        runtime=shared_time(20),
    params:
        arguments={"folder": study.controls.released_results},
        no_inputs=lambda wildcards: digests_of_others(released_results()),
    script:
        "../../scripts/compute_released.py"
