# From text to checkpoints: corpus, tokenizer, base models trained from scratch, aligned descendants; and checkpoints
# that were made elsewhere, fetched from a hub or converted.
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


# On the machine that Snakemake runs on: compute nodes often reach no network, and a download needs no allocation.
localrules:
    fetch,
    fetch_model,


rule build_corpus:
    """Collect the documents that models are trained on, and split them into training and held-out text."""
    input:
        # A gate, not data: new prompts retrain nothing. Local prompts were verified before any job.
        verified=[ancient(results("prompts.json"))] if DOWNLOADED_PROMPTS else [],
        text=corpus_text,
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
        mem_mb=doubling(1000),
        runtime=doubling(15),
    params:
        arguments=corpus_arguments(study),
        no_inputs=lambda wildcards: digests_of_others(corpus_files(study.corpus)),
    script:
        "../../scripts/build_corpus.py"


rule build_grammar:
    """Generate synthetic text for models that are trained on `grammar`, split as the corpus is."""
    input:
        library=library("build_corpus.py"),
    output:
        documents=results("grammar/documents.jsonl"),
        facts=results("grammar/corpus.json"),
    log:
        results("logs/build_grammar.log"),
    benchmark:
        results("benchmarks/build_grammar.jsonl")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=doubling(1000),
        runtime=doubling(15),
    params:
        arguments=grammar_arguments(study),
    script:
        "../../scripts/build_corpus.py"


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
        mem_mb=doubling(2000),
        runtime=doubling(15),
    params:
        arguments=tokenizer_arguments(study),
    script:
        "../../scripts/train_tokenizer.py"


rule check_lengths:
    """Check that every prompt fits into the models that are going to be trained, in tokens of their tokenizer."""
    input:
        tokenizer=rules.train_tokenizer.output.tokenizer,
        # A gate, not data: new prompts train nothing again, nor does new code of this check. Once the tokenizer is there,
        # both count whenever Snakemake starts.
        prompts=[
            ancient(file)
            for file in ([results("prompts.jsonl")] if DOWNLOADED_PROMPTS else local_prompts(None))
        ],
    output:
        checked=results("lengths.json"),
    log:
        results("logs/check_lengths.log"),
    benchmark:
        results("benchmarks/check_lengths.jsonl")
    conda:
        ENVIRONMENT
    resources:
        mem_mb=doubling(500),
        runtime=doubling(5),
    params:
        # As of `declare`: the same prompts and tokenizer are not checked again for a new title.
        arguments=lambda wildcards, output: lengths_arguments(study),
    script:
        "../../scripts/check_lengths.py"


rule train_model:
    """Train one base model from scratch; the seed sets initialisation and data order."""
    input:
        documents=lambda wildcards: documents_of(wildcards.model),
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
        model=names("train"),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=needed("memory_mb", training),
        runtime=needed("minutes", training),
        gpu=needed("gpus", training),
    params:
        arguments=of_refit(training_arguments),
    script:
        "../../scripts/train_model.py"


rule align_model:
    """Align one refit of a base model: supervised fine-tuning or direct preference optimisation."""
    input:
        base=lambda wildcards: checkpoint_of(study.model(wildcards.model).base, wildcards.seed),
        documents=lambda wildcards: documents_of(wildcards.model),
        library=library("align_model.py"),
    output:
        checkpoint=directory(results("models/{model}/seed{seed}")),
        curve=results("training/{model}/seed{seed}.parquet"),
    log:
        results("logs/align_model/{model}/seed{seed}.log"),
    benchmark:
        results("benchmarks/align_model/{model}/seed{seed}.jsonl")
    wildcard_constraints:
        model=names("align"),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=needed("memory_mb", alignment),
        runtime=needed("minutes", alignment),
    params:
        arguments=of_refit(alignment_arguments),
    script:
        "../../scripts/align_model.py"


rule fetch:
    """Fetch every model of a hub, and nothing else: for where there is a network, such as a login node."""
    input:
        fetched("hub", "transformer_lens"),


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
        model=names("hub", "transformer_lens"),
    # A download that was cut off continues.
    retries: 2
    conda:
        ENVIRONMENT
    resources:
        mem_mb=needed("memory_mb", fetching),
        runtime=needed("minutes", fetching),
        # No parameter: a study file that moves, or is named by another path, fetches nothing again.
        study_file=LOCKED_STUDY,
    params:
        arguments=of_refit(fetching_arguments),
    script:
        "../../scripts/fetch_model.py"


rule convert_model:
    """Convert weights of TransformerLens to a checkpoint of transformers that computes the same."""
    input:
        unpack(unconverted),
        library=library("convert_model.py"),
    output:
        checkpoint=directory(results("models/{model}/seed{seed}")),
    log:
        results("logs/convert_model/{model}/seed{seed}.log"),
    benchmark:
        results("benchmarks/convert_model/{model}/seed{seed}.jsonl")
    wildcard_constraints:
        model=names("transformer_lens"),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=needed("memory_mb", conversion),
        runtime=needed("minutes", conversion),
    params:
        arguments=of_refit(conversion_arguments),
    script:
        "../../scripts/convert_model.py"
