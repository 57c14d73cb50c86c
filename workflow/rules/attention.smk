# From a checkpoint to its attention: one forward pass per prompt, without padding.
from headwise.attention.jobs import extraction_arguments
from headwise.attention.needs import extraction
from headwise.study.sections import pair_statistics

KEPT = study.extraction.store == "tensors"
TENSORS = {"tensors": results("attention/{model}/seed{seed}.parquet")} if KEPT else {}


rule extract_attention:
    """Stream one model's attention, layer by layer, into tensor Parquet and statistics."""
    input:
        **PROMPTS,
        checkpoint=of_refit(checkpoint_of),
        files=of_refit(files_of),
        declaration=ancient(results("declaration.json")),  # a gate: it is kept before anything is known
        library=library("extract_attention.py"),
    output:
        **TENSORS,
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
    conda:
        ENVIRONMENT
    resources:
        **needed(extraction, gpu=True),
    params:
        arguments=of_refit(extraction_arguments),
        # A function of `output` is no reason to run again: the marks are.
        untracked=lambda wildcards, output: {"pair_statistics": pair_statistics(study)},
    script:
        "../../scripts/extract_attention.py"
