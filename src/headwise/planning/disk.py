"""The bytes that jobs leave on disk. What a value of a table takes was measured on `benchmarks/pilot.yaml`."""

from headwise.analyses.specialization.settings import Specialization
from headwise.analyses.stability.jobs import random_refits, refits_of
from headwise.models.files import corpus_files
from headwise.models.resources import corpus_bytes
from headwise.planning.jobs import Jobs
from headwise.planning.plan import Plan
from headwise.study.models import TrainedModel
from headwise.study.sections import pair_statistics

# Attention weights, per entry of the lower triangle: float16, compressed. 1.3 where prompts are long (docs/scale.md).
PER_ENTRY = 1.8
# Statistics of heads, per token and head; of pairs, per statistic, prompt, layer and pair of heads (both orders).
PER_TOKEN_OF_A_HEAD = 14
PER_PAIR = 3.4
# Features of estimators: per estimator, prompt and layer.
PER_FEATURE = 35
# A tokenizer, per token; mean outputs of heads, per value.
PER_TOKEN_OF_A_VOCABULARY = 61
PER_OUTPUT = 5.9
# A small table, which any other rule is taken to write, and rules that write as much in every study.
SMALL_TABLE = 10_000
SAME = {
    "aggregate": 1_200_000,
    "draw_figures": 1_200_000,
    "write_report": 2_000_000,
    "build_grammar": 1_200_000,
    "check_lengths": 0,
}


def bytes_left(plan: Plan, jobs: Jobs) -> float:
    """The bytes that each of these jobs leaves; of a download, in the cache of the hub."""
    study, rule, name = plan.study, jobs.rule, jobs.subject
    if rule in ("fetch_model", "convert_model"):
        return plan.shape(name).stored_bytes
    if rule in ("train_model", "align_model"):
        model = study.model(name)
        kept = len(study.training_of(model).checkpoints) if isinstance(model, TrainedModel) else 0
        return (1 + kept) * (plan.shape(name).stored_bytes + study.tokenizer.vocabulary * PER_TOKEN_OF_A_VOCABULARY)
    if rule == "extract_attention":
        return _extraction(plan, name)
    if rule == "evaluate_specialization":
        estimators = study.section(Specialization).estimators
        return PER_FEATURE * len(estimators) * len(plan.characters) * plan.shape(name).layers
    if rule == "probe_refits":
        return _probing(plan, name)
    if rule == "build_corpus":
        return corpus_bytes(study.corpus, corpus_files(study.corpus))
    if rule == "train_tokenizer":
        return study.tokenizer.vocabulary * PER_TOKEN_OF_A_VOCABULARY
    return SAME.get(rule, SMALL_TABLE) if jobs.runs else 0


def _attention(plan: Plan, name: str) -> float:
    shape, tokens = plan.shape(name), plan.tokens(name)
    return PER_ENTRY * shape.layers * shape.heads * sum(length * (length + 1) / 2 for length in tokens)


def _extraction(plan: Plan, name: str) -> float:
    shape, tokens = plan.shape(name), plan.tokens(name)
    heads = PER_TOKEN_OF_A_HEAD * shape.layers * shape.heads * sum(tokens)
    pairs = PER_PAIR * len(pair_statistics(plan.study)) * len(tokens) * shape.layers * shape.heads**2
    return heads + pairs + (_attention(plan, name) if plan.study.extraction.store == "tensors" else 0)


def _probing(plan: Plan, group_name: str) -> float:
    study = plan.study
    refits = [model for model, _ in refits_of(study, group_name)]
    shape = plan.shape(refits[0])
    model = study.model(refits[0])
    width = study.decoder_of(model).head_width if isinstance(model, TrainedModel) else shape.hidden // shape.heads
    outputs = len(refits) * len(plan.characters) * shape.layers * shape.heads * width * PER_OUTPUT
    return len(random_refits(study)) * _attention(plan, refits[0]) + outputs
