# From text to checkpoints: corpus, tokenizer, base models trained from scratch, aligned descendants; and checkpoints
# that were made elsewhere, fetched from a hub or converted.
from headwise.models.files import corpus_files
from headwise.models.jobs import (
    alignment_arguments,
    conversion_arguments,
    corpus_arguments,
    fetching_arguments,
    grammar_arguments,
    lengths_arguments,
    tokenizer_arguments,
    training_arguments,
)
from headwise.models.places import (
    base_checkpoint,
    documents_of,
    fetched_files,
    from_sources,
    unconverted_files,
)
from headwise.models.needs import alignment, conversion, fetching, training


# On the machine that Snakemake runs on: compute nodes often reach no network, and a download needs no allocation.
localrules:
    fetch,
    fetch_model,


rule build_corpus:
    """Collect the documents that models are trained on, and split them into training and held-out text."""
    input:
        # A gate, not data: new prompts retrain nothing. Local prompts were verified before any job.
        verified=[ancient(results("prompts.json"))] if DOWNLOADED_PROMPTS else [],
        text=lambda wildcards: inputs_of(corpus_files(study.corpus)),
        library=library("build_corpus.py"),
    output:
        documents=results("corpus/documents.jsonl"),
        facts=results("corpus/corpus.json"),
    log:
        results("logs/build_corpus.log"),
    benchmark:
        results("benchmarks/build_corpus.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **doubling(mem_mb=1000, runtime=15),
    params:
        arguments=corpus_arguments(study),
        no_inputs=lambda wildcards: digests_of_others(corpus_files(study.corpus)),
    script:
        "../../scripts/build_corpus.py"


use rule build_corpus as build_grammar with:
    # Synthetic text for models that are trained on `grammar`.
    input:
        library=library("build_corpus.py"),
    output:
        documents=results("grammar/documents.jsonl"),
        facts=results("grammar/corpus.json"),
    log:
        results("logs/build_grammar.log"),
    benchmark:
        results("benchmarks/build_grammar.jsonl")
    params:
        arguments=grammar_arguments(study),
        no_inputs={},


rule train_tokenizer:
    """Train a byte-level BPE tokenizer on the training documents."""
    input:
        documents=rules.build_corpus.output.documents,
        library=library("train_tokenizer.py"),
    output:
        tokenizer=directory(results("tokenizer")),
    log:
        results("logs/train_tokenizer.log"),
    benchmark:
        results("benchmarks/train_tokenizer.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **doubling(mem_mb=2000, runtime=15),
    params:
        arguments=tokenizer_arguments(study),
    script:
        "../../scripts/train_tokenizer.py"


rule check_lengths:
    """Check that every prompt fits into the models that are going to be trained, in tokens of their tokenizer."""
    input:
        tokenizer=rules.train_tokenizer.output.tokenizer,
        prompts=prompts_as_gate(),
    output:
        checked=results("lengths.json"),
    log:
        results("logs/check_lengths.log"),
    benchmark:
        results("benchmarks/check_lengths.jsonl")
    conda:
        ENVIRONMENT
    resources:
        **doubling(mem_mb=500, runtime=5),
    params:
        # As of `declare`: the same prompts and tokenizer are not checked again for a new title.
        arguments=lambda wildcards, output: lengths_arguments(study),
    script:
        "../../scripts/check_lengths.py"


rule train_model:
    """Train one base model from scratch; the seed sets initialisation and data order."""
    input:
        documents=of_refit(documents_of),
        tokenizer=rules.train_tokenizer.output.tokenizer,
        checked=rules.check_lengths.output.checked,
        library=library("train_model.py"),
    output:
        checkpoint=directory(results("models/{model}/seed{seed}")),
        curve=results("training/{model}/seed{seed}.parquet"),
    log:
        results("logs/train_model/{model}/seed{seed}.log"),
    benchmark:
        results("benchmarks/train_model/{model}/seed{seed}.jsonl")
    wildcard_constraints:
        model=names(from_sources(study, "train")),
    conda:
        ENVIRONMENT
    resources:
        **needed(training, gpu=True),
    params:
        arguments=of_refit(training_arguments),
    script:
        "../../scripts/train_model.py"


rule align_model:
    """Align one refit of a base model: supervised fine-tuning or direct preference optimisation."""
    input:
        base=of_refit(base_checkpoint),
        documents=of_refit(documents_of),
        library=library("align_model.py"),
    output:
        checkpoint=directory(results("models/{model}/seed{seed}")),
        curve=results("training/{model}/seed{seed}.parquet"),
    log:
        results("logs/align_model/{model}/seed{seed}.log"),
    benchmark:
        results("benchmarks/align_model/{model}/seed{seed}.jsonl")
    wildcard_constraints:
        model=names(from_sources(study, "align")),
    conda:
        ENVIRONMENT
    resources:
        **needed(alignment),
    params:
        arguments=of_refit(alignment_arguments),
    script:
        "../../scripts/align_model.py"


rule fetch:
    """Fetch every model of a hub, and nothing else: for where there is a network, such as a login node."""
    input:
        fetched_files(study),


rule fetch_model:
    """Fetch a model of a hub into the user's own cache; the output says what it is, and holds no weights."""
    input:
        library=library("fetch_model.py"),
    output:
        fetched=results("models/{model}/seed{seed}.json"),
    log:
        results("logs/fetch_model/{model}/seed{seed}.log"),
    benchmark:
        results("benchmarks/fetch_model/{model}/seed{seed}.jsonl")
    wildcard_constraints:
        model=names(from_sources(study, "hub", "transformer_lens")),
    # A download that was cut off continues.
    retries: 2
    conda:
        ENVIRONMENT
    resources:
        **needed(fetching, local=True),
        # No parameter: a study file that moves, or is named by another path, fetches nothing again.
        study_file=LOCKED_STUDY,
    params:
        arguments=of_refit(fetching_arguments),
    script:
        "../../scripts/fetch_model.py"


rule convert_model:
    """Convert weights of TransformerLens to a checkpoint of transformers that computes the same."""
    input:
        unpack(of_refit(unconverted_files)),
        library=library("convert_model.py"),
    output:
        checkpoint=directory(results("models/{model}/seed{seed}")),
    log:
        results("logs/convert_model/{model}/seed{seed}.log"),
    benchmark:
        results("benchmarks/convert_model/{model}/seed{seed}.jsonl")
    wildcard_constraints:
        model=names(from_sources(study, "transformer_lens")),
    conda:
        ENVIRONMENT
    resources:
        **needed(conversion),
    params:
        arguments=of_refit(conversion_arguments),
    script:
        "../../scripts/convert_model.py"
