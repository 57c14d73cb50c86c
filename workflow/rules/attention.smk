# From a checkpoint to its attention: one forward pass per prompt, without padding.
from headwise.attention.jobs import extraction_arguments, pair_statistics


rule extract_attention:
    """Stream one model's attention, layer by layer, into tensor Parquet and statistics."""
    input:
        checkpoint=lambda wildcards: checkpoint_of(wildcards.model, int(wildcards.seed)),
        files=lambda wildcards: files_of(wildcards.model, int(wildcards.seed)),
        prompts=rules.verify_prompts.output.prompts,
        facts=rules.verify_prompts.output.facts,
        # A gate, not data: what the study declares is kept before anything can be known.
        declaration=ancient(results("declaration.json")),
        library=library("extract_attention.py"),
    output:
        **(
            {"tensors": results("attention/{model}/seed{seed}.parquet")}
            if study.extraction.store == "tensors"
            else {}
        ),
        heads=results("statistics/{model}/seed{seed}/heads.parquet"),
        pairs=results("statistics/{model}/seed{seed}/pairs.parquet"),
        descriptors=results("statistics/{model}/seed{seed}/descriptors.parquet"),
        # Of each statistic in `pairs`: a longer list of estimators may lack one, a shorter list lacks none.
        marks=[
            touch(results(f"statistics/{{model}}/seed{{seed}}/{name}.computed"))
            for name in pair_statistics(study)
        ],
    log:
        results("logs/extract_attention/{model}/seed{seed}.log"),
    benchmark:
        results("benchmarks/extract_attention/{model}/seed{seed}.jsonl")
    wildcard_constraints:
        model=names("train", "align", "folder", "hub", "transformer_lens"),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=needed("memory_mb", extraction),
        runtime=needed("minutes", extraction),
        gpu=needed("gpus", extraction),
    params:
        arguments=of_refit(extraction_arguments),
        # A function of `output` is no reason to run again: the marks are.
        untracked=lambda wildcards, output: {"pair_statistics": pair_statistics(study)},
    script:
        "../../scripts/extract_attention.py"
