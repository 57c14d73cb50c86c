# What tests say of placebos of one arm, between which there is nothing to find.
from headwise.analyses.placebos.jobs import placebo_arguments, placebo_features


rule measure_placebos:
    """Count how often tests reject for placebos, with nothing to find and with an effect put in."""
    input:
        features=placebo_features(study),
        library=library("measure_placebos.py", *estimator_files()),
    output:
        table=results("analyses/placebo_tests.parquet"),
    log:
        results("logs/measure_placebos.log"),
    benchmark:
        results("benchmarks/measure_placebos.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **shared(mem_mb=1000, runtime=5),
    params:
        arguments=placebo_arguments(study),
    script:
        "../../scripts/measure_placebos.py"
