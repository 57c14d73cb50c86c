# What the study declares, kept before anything is measured.
from headwise.analyses.declaration.jobs import check_arguments, declaration_arguments


rule declare:
    """Keep what the study declares, before attention is measured; written once, whatever is edited later."""
    output:
        declaration=results("declaration.json"),
    log:
        results("logs/declare.log"),
    benchmark:
        results("benchmarks/declare.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **doubling(mem_mb=500, runtime=5),
    params:
        # A function of `output` is no reason to run again: a later change must not make this file anew.
        arguments=lambda wildcards, output: declaration_arguments(study),
    script:
        "../../scripts/declare.py"


rule check_declaration:
    """Compare what was declared with what the study file says now."""
    input:
        declaration=rules.declare.output.declaration,
        library=library("check_declaration.py"),
    output:
        table=results("analyses/declaration.parquet"),
    log:
        results("logs/check_declaration.log"),
    benchmark:
        results("benchmarks/check_declaration.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **shared(mem_mb=500, runtime=5),
    params:
        arguments=check_arguments(study),
    script:
        "../../scripts/check_declaration.py"
