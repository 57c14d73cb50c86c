# From refits to how stable their heads are: what the models say, how their attention compares, and all groups together.
from headwise.analyses.stability.jobs import TABLES as STABILITY_TABLES
from headwise.analyses.stability.jobs import (
    comparison_arguments,
    comparison_memory_mb,
    per_group,
    probe_arguments,
    random_refits,
    refit_checkpoints,
    refit_tensors,
    summary_arguments,
    takes_heads_away,
)
from headwise.analyses.stability.needs import probe

PROBED = ("residual", "importance", "losses", "norms", "outputs")
COMPARED = ("pairs", "heads", "origins")
DOCUMENTS = {"documents": rules.build_corpus.output.documents} if takes_heads_away(study) else {}
OF_GROUP = "stability/{{group}}/{}.parquet".format


rule probe_refits:
    """Measure streams, writes, importance of heads and weights of a group's refits, and attention of random weights."""
    input:
        **DOCUMENTS,
        refits=of_group(refit_checkpoints),
        prompts=rules.verify_prompts.output.prompts,
        library=library("probe_refits.py"),
    output:
        **{table: results(OF_GROUP(table)) for table in ("beginnings", "similarities", *PROBED)},
        random=[results(OF_GROUP(name)) for name in random_refits(study)],
    log:
        results("logs/probe_refits/{group}.log"),
    benchmark:
        results("benchmarks/probe_refits/{group}.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **needed(probe, gpu=True),
    params:
        arguments=of_group(probe_arguments),
    script:
        "../../scripts/probe_refits.py"


rule compare_refits:
    """Compare all heads of all refits of a group: attention, in one pass over what was stored, and what heads do."""
    input:
        tensors=of_group(refit_tensors),
        random=rules.probe_refits.output.random,
        beginnings=rules.probe_refits.output.beginnings,
        similarities=rules.probe_refits.output.similarities,
        library=library("compare_refits.py"),
    output:
        **{table: results(OF_GROUP(table)) for table in COMPARED},
    log:
        results("logs/compare_refits/{group}.log"),
    benchmark:
        results("benchmarks/compare_refits/{group}.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **doubling(mem_mb=1000 + 2 * comparison_memory_mb(study), runtime=60),
    params:
        arguments=of_group(comparison_arguments),
    script:
        "../../scripts/compare_refits.py"


rule summarize_stability:
    """Intervals, chance levels and tests of all groups, contrasts between them, and the map of heads."""
    input:
        **per_group(study, (*COMPARED, *PROBED)),
        library=library("summarize_stability.py"),
    output:
        **finished(STABILITY_TABLES),
    log:
        results("logs/summarize_stability.log"),
    benchmark:
        results("benchmarks/summarize_stability.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **shared(mem_mb=2000, runtime=20),
    params:
        arguments=summary_arguments(study),
    script:
        "../../scripts/summarize_stability.py"
