# Whether the heads of trained models do anything: one job for all, since each model takes a second and Python four.
from headwise.analyses.working_heads.jobs import judged_inputs, working_heads_arguments
from headwise.analyses.working_heads.needs import working_heads


rule measure_working_heads:
    """Measure what attention is worth, whether a bigram predicts as well, and the best previous-token head."""
    input:
        **judged_inputs(study),
        library=library("measure_working_heads.py"),
    output:
        table=results("analyses/working_heads.parquet"),
    log:
        results("logs/measure_working_heads.log"),
    benchmark:
        results("benchmarks/measure_working_heads.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **needed(working_heads),
    params:
        arguments=working_heads_arguments(study),
    script:
        "../../scripts/measure_working_heads.py"
