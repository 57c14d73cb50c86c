# The questions that a study declares, and their answers.
from headwise.analyses.questions.jobs import needed_tables, question_arguments
from headwise.analyses.specialization.jobs import summaries


rule answer_questions:
    """Answer every declared question: yes, no, equivalent to nothing, or undecided; their tests are one set."""
    input:
        summaries=summaries(study),
        declaration=results("analyses/declaration.parquet"),
        finished=needed_tables(study),
        library=library("answer_questions.py"),
    output:
        table=results("analyses/answers.parquet"),
    log:
        results("logs/answer_questions.log"),
    benchmark:
        results("benchmarks/answer_questions.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **shared(mem_mb=1000, runtime=5),
    params:
        arguments=question_arguments(study),
    script:
        "../../scripts/answer_questions.py"
