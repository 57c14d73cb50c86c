# From the prompt file that the study names to a verified, normalised prompt set.
from headwise.study.jobs import prompts_arguments


rule verify_prompts:
    """Check the prompt file against its pinned digest; nothing else starts before this has passed."""
    input:
        files=local_prompts(),
        library=library("verify_prompts.py"),
    output:
        prompts=results("prompts.jsonl"),
        facts=results("prompts.json"),
    log:
        results("logs/verify_prompts.log"),
    benchmark:
        results("benchmarks/verify_prompts.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **doubling(mem_mb=500, runtime=5),
    params:
        arguments=prompts_arguments(study),
        no_inputs=digests_of_others(prompt_files()),
    script:
        "../../scripts/verify_prompts.py"


# What most jobs that measure read of them: the prompts, and the facts with their digest.
PROMPTS = {name: getattr(rules.verify_prompts.output, name) for name in ("prompts", "facts")}
