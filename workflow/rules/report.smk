# From results to what people read: tidy tables, results.json, figures, report.html.
from headwise.analyses.jobs import gathered
from headwise.report.jobs import captions, figure_arguments, page_files, report_arguments


rule aggregate:
    """Gather all results into tidy tables, adjust for multiplicity, and write results.json."""
    input:
        **gathered(study),
        prompts=rules.verify_prompts.output.facts,
        library=library("aggregate.py"),
    output:
        tables=report(
            directory(results("tables")),
            patterns=["{name}.csv"],
            caption="../report/tables.rst",
            category="Tables",
        ),
        results=report(results("results.json"), caption="../report/results.rst", category="Results"),
    log:
        results("logs/aggregate.log"),
    benchmark:
        results("benchmarks/aggregate.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **shared(mem_mb=2000, runtime=10),
    params:
        arguments=report_arguments(study),
    script:
        "../../scripts/aggregate.py"


rule draw_figures:
    """Draw every figure as Vega-Lite specification, SVG and PDF."""
    input:
        tables=rules.aggregate.output.tables,
        library=library("draw_figures.py"),
    output:
        folder=report(
            directory(results("figures")),
            patterns=["{name}.svg"],
            caption="../report/figures.rst",
            category="Figures",
        ),
    log:
        results("logs/draw_figures.log"),
    benchmark:
        results("benchmarks/draw_figures.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **shared(mem_mb=2000, runtime=10),
    params:
        arguments=figure_arguments(study),
        # For `snakemake --report`; what a function makes of outputs is not compared, so it reruns nothing.
        captions=lambda wildcards, output: captions(output.folder),
    script:
        "../../scripts/draw_figures.py"


rule write_report:
    """Write the self-contained report."""
    input:
        tables=rules.aggregate.output.tables,
        results=rules.aggregate.output.results,
        figures=rules.draw_figures.output.folder,
        library=library("write_report.py", *page_files()),
    output:
        page=report(results("report.html"), caption="../report/page.rst", category="Results"),
    log:
        results("logs/write_report.log"),
    benchmark:
        results("benchmarks/write_report.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **shared(mem_mb=2000, runtime=10),
    params:
        arguments=report_arguments(study),
    script:
        "../../scripts/write_report.py"
