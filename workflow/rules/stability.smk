# From refits to how stable their heads are: what the models say, how their attention compares, and all groups together.
from headwise.analyses.stability.jobs import comparison_arguments, probe_arguments, summary_arguments


rule probe_refits:
    """Measure residual streams, importance of heads and weights of a group's refits, and attention of random weights."""
    input:
        **(
            {"documents": rules.build_corpus.output.documents}
            if study.stability and "ablation" in study.stability.analyses
            else {}
        ),
        refits=lambda wildcards: [
            checkpoint_of(model, seed) for model, seed in study.refits_of(REFIT_GROUPS[wildcards.group])
        ],
        prompts=rules.verify_prompts.output.prompts,
        library=library("probe_refits.py"),
    output:
        beginnings=results("stability/{group}/beginnings.parquet"),
        residual=results("stability/{group}/residual.parquet"),
        importance=results("stability/{group}/importance.parquet"),
        losses=results("stability/{group}/losses.parquet"),
        norms=results("stability/{group}/norms.parquet"),
        outputs=results("stability/{group}/outputs.parquet"),
        random=random_refits(),
    log:
        results("logs/probe_refits/{group}.log"),
    benchmark:
        results("benchmarks/probe_refits/{group}.jsonl")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=needed("memory_mb", probing),
        runtime=needed("minutes", probing),
        gpu=needed("gpus", probing),
    params:
        arguments=lambda wildcards: probe_arguments(study, wildcards.group),
    script:
        "../../scripts/probe_refits.py"


rule compare_refits:
    """Compare the attention of all heads of all refits of a group, in one pass over what was stored."""
    input:
        tensors=per_refit("attention/{model}/seed{seed}.parquet"),
        random=rules.probe_refits.output.random,
        beginnings=rules.probe_refits.output.beginnings,
        library=library("compare_refits.py"),
    output:
        pairs=results("stability/{group}/pairs.parquet"),
        heads=results("stability/{group}/heads.parquet"),
        origins=results("stability/{group}/origins.parquet"),
    log:
        results("logs/compare_refits/{group}.log"),
    benchmark:
        results("benchmarks/compare_refits/{group}.jsonl")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=doubling(1000 + (2 * study.stability.memory_mb if study.stability else 0)),
        runtime=doubling(60),
    params:
        arguments=lambda wildcards: comparison_arguments(study, wildcards.group),
    script:
        "../../scripts/compare_refits.py"


rule summarize_stability:
    """Intervals, chance levels and tests of all groups, contrasts between them, the map of heads, and the claims."""
    input:
        pairs=of_groups("pairs"),
        heads=of_groups("heads"),
        origins=of_groups("origins"),
        residual=of_groups("residual"),
        importance=of_groups("importance"),
        losses=of_groups("losses"),
        norms=of_groups("norms"),
        outputs=of_groups("outputs"),
        library=library("summarize_stability.py"),
    output:
        **{table: results(f"analyses/{table}.parquet") for table in STABILITY_TABLES},
    log:
        results("logs/summarize_stability.log"),
    benchmark:
        results("benchmarks/summarize_stability.jsonl")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=shared_memory(2000),
        runtime=shared_time(20),
    params:
        arguments=summary_arguments(study),
    script:
        "../../scripts/summarize_stability.py"
