# The study's own tests, tried out on simulated data; made on request.
from headwise.analyses.calibration.jobs import calibration_arguments


rule calibration:
    """Calibrate the tests; the next report shows the result."""
    input:
        results("analyses/calibration.parquet"),


rule calibrate:
    """Simulate data of the study's shape, and count false rejections, coverage and power."""
    input:
        prompts=rules.verify_prompts.output.facts,
        library=library("calibrate.py"),
    output:
        table=results("analyses/calibration.parquet"),
    log:
        results("logs/calibrate.log"),
    benchmark:
        results("benchmarks/calibrate.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **doubling(mem_mb=1000, runtime=20),
    params:
        arguments=calibration_arguments(study),
    script:
        "../../scripts/calibrate.py"
