# Whether the study's own tests and intervals keep what they promise, tried out on simulated data.


rule calibration:
    """Calibrate the tests; the next report shows the result."""
    input:
        results("analyses/calibration.parquet"),


rule calibrate:
    """Simulate data of the study's shape, and count false rejections, coverage and power."""
    input:
        prompts=rules.verify_prompts.output.facts,
        library=library("calibrate.py", *estimator_files()),
    output:
        table=results("analyses/calibration.parquet"),
    log:
        results("logs/calibrate.log"),
    benchmark:
        results("benchmarks/calibrate.jsonl")
    retries: 1
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=doubling(1000),
        runtime=doubling(20),
    params:
        settings=study.model_dump(mode="json"),
    script:
        "../../scripts/calibrate.py"
