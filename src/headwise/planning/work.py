"""How long the jobs of a study take, counted from what they compute; `rates` says how this compares with measurements.

Counted are passes of tokens through layers, products with weights, entries of attention that statistics read, and
comparisons of heads entry by entry. Constants are processor seconds of one core of a server, measured: products of
512 × 768 with 768 × 3,072 matrices, and of 640 × 576 with 576 × 49,152; steps of training with 2 and 4 layers, widths
64 and 256, 512 and 2,048 tokens; extraction at 1,024 and at 4,096 tokens (docs/scale.md).
"""

from collections.abc import Callable

from headwise.analyses.dose.settings import Dose, descendants_of
from headwise.analyses.noise.bases import probed_descendants
from headwise.analyses.noise.settings import Noise, Probe, Scale, measured_bases
from headwise.analyses.recursion.settings import Recursion
from headwise.analyses.specialization.settings import Specialization
from headwise.analyses.stability.jobs import refits_of
from headwise.analyses.stability.settings import Stability
from headwise.analyses.variants.settings import Variants
from headwise.analyses.working_heads.jobs import judged_models
from headwise.analyses.working_heads.settings import HELD_OUT_TOKENS
from headwise.models.files import corpus_files
from headwise.models.resources import FETCHING_BYTES_PER_SECOND, GPU_FLOPS, GPU_SPEEDUP, corpus_bytes
from headwise.models.shape import Shape
from headwise.planning.jobs import Jobs
from headwise.planning.plan import Plan
from headwise.study.models import AlignedModel, TrainedModel
from headwise.study.prompts import spread
from headwise.study.training import Dpo

# Per floating-point operation of a product in float32; half of the bits take a core twice as long.
OPERATION = 8e-12
LOW_PRECISION = 2
# Per token, layer and unit of the residual stream's width: what is read and written beside products.
UNIT = 4.7e-8
# Per layer of a pass, what its many small steps cost however small they are: forward, and for a step of training.
LAYER, TRAINING_LAYER = 1.5e-3, 6e-3
# A step back takes twice what the pass forward took. Per token and entry of the vocabulary: its loss with the gradient,
# and the loss alone.
WITH_GRADIENT = 3
LOGIT, LOSS = 2.6e-8, 4e-9
# Per byte of text that is collected, or learned a tokenizer from, or cut into tokens before training.
TOKENIZING = 1e-6
# Per byte of a checkpoint that is read: its SHA-256.
READING = 4e-9
# Per layer and prompt whose attention is reduced to statistics, and per entry of that attention (all T² of a head).
MEASURED_LAYER, ENTRY = 1e-2, 8e-8
# Per entry and pair of heads of statistics that take a logarithm of it (js_divergence).
PAIR_ENTRY = 1.7e-8
# Excerpts of held-out text that training is evaluated on, at most; and passes of a matched pair of prompt and response.
EVALUATED_EXCERPTS = 64
TOKENS_OF_A_PAIR = 56
# A matrix of cosines between all heads of two refits: a multiplication and an addition per entry.
PRODUCT = 2


def is_counted(rule: str) -> bool:
    """Whether the time of a rule follows from text and models; other rules take about the same in every study."""
    return rule in _COUNTS


def counted_seconds(plan: Plan, jobs: Jobs) -> float:
    """Seconds of each of these jobs by the counts above; their rule is one that `is_counted`."""
    return _COUNTS[jobs.rule](plan, jobs, jobs.needs.gpus)


def _forward(shape: Shape, tokens: float, gpus: int) -> float:
    """One pass of so many tokens, of one text or of several side by side."""
    return shape.layers * LAYER + _of_tokens(shape, tokens, gpus)


def _of_tokens(shape: Shape, tokens: float, gpus: int) -> float:
    operations = 2 * shape.parameters * tokens
    if gpus:
        return operations / GPU_FLOPS
    return operations * OPERATION + tokens * shape.layers * shape.hidden * UNIT


def _loss(shape: Shape, tokens: float, gpus: int) -> float:
    """The loss on so many tokens, beside their pass."""
    return 0 if gpus else tokens * shape.vocabulary * LOSS


def _measured(plan: Plan, name: str, tokens: list[int], gpus: int, *, dtype: str | None = None) -> float:
    """One pass per text, each layer's attention reduced to statistics."""
    study, shape = plan.study, plan.shape(name)
    low = (dtype or study.extraction_of(study.model(name)).dtype) != "float32" and not gpus
    entries = shape.layers * shape.heads * sum(length**2 for length in tokens)
    statistics = entries * ENTRY
    if "js_divergence" in study.section(Specialization).estimators:
        statistics += entries * (shape.heads - 1) / 2 * PAIR_ENTRY
    passes = sum(_forward(shape, length, gpus) for length in tokens) * (LOW_PRECISION if low else 1)
    return len(tokens) * shape.layers * MEASURED_LAYER + passes + statistics / (GPU_SPEEDUP if gpus else 1)


def _reading(plan: Plan, name: str) -> float:
    return plan.shape(name).stored_bytes * READING


def _training(plan: Plan, jobs: Jobs, gpus: int) -> float:
    model = plan.study.model(jobs.subject)
    assert isinstance(model, TrainedModel), "only bases are trained"
    training, shape = plan.study.training_of(model), plan.shape(jobs.subject)
    step = _step(plan, shape, training.batch * training.tokens, WITH_GRADIENT, gpus)
    evaluations = (1 + training.steps // training.evaluate_every) * (1 if training.until_loss is None else 2)
    evaluation = _forward(shape, EVALUATED_EXCERPTS * training.tokens, gpus)
    return training.steps * step + evaluations * evaluation + _tokenizing(plan)


def _alignment(plan: Plan, jobs: Jobs, gpus: int) -> float:
    model = plan.study.model(jobs.subject)
    assert isinstance(model, AlignedModel), "only descendants are aligned"
    settings, shape = plan.study.settings_of(model), plan.shape(jobs.subject)
    preferences = isinstance(settings, Dpo)
    tokens = settings.batch * TOKENS_OF_A_PAIR * (2 if preferences else 1)
    # The reference model reads preferences as well, without a gradient.
    step = _step(plan, shape, tokens, WITH_GRADIENT + preferences, gpus)
    return float(settings.steps * step) + _tokenizing(plan)


def _step(plan: Plan, shape: Shape, tokens: int, passes: int, gpus: int) -> float:
    logits = 0 if gpus else tokens * plan.study.tokenizer.vocabulary * LOGIT
    return shape.layers * TRAINING_LAYER + passes * _of_tokens(shape, tokens, gpus) + logits


def _text(plan: Plan, jobs: Jobs, gpus: int) -> float:
    return _tokenizing(plan)


def _tokenizing(plan: Plan) -> float:
    return corpus_bytes(plan.study.corpus, corpus_files(plan.study.corpus)) * TOKENIZING


def _fetching(plan: Plan, jobs: Jobs, gpus: int) -> float:
    return plan.shape(jobs.subject).stored_bytes / FETCHING_BYTES_PER_SECOND


def _extraction(plan: Plan, jobs: Jobs, gpus: int) -> float:
    return _reading(plan, jobs.subject) + _measured(plan, jobs.subject, plan.tokens(jobs.subject), gpus)


def _variants(plan: Plan, jobs: Jobs, gpus: int) -> float:
    section, name = plan.study.section(Variants), jobs.subject
    chosen = spread(plan.tokens(name), section.prompts)
    seconds = _reading(plan, name) + _measured(plan, name, chosen, gpus)
    for variant in section.variants:
        lengths = chosen if variant.padding == "none" else [max(length, variant.pad_to) for length in chosen]
        seconds += _measured(plan, name, lengths, gpus, dtype=variant.dtype)
    return seconds


def _perturbation(plan: Plan, jobs: Jobs, gpus: int) -> float:
    study, name = plan.study, jobs.subject
    noise, probe = study.find(Noise), study.find(Probe)
    seconds = _reading(plan, name)
    if noise is not None and name in measured_bases(study, noise):
        seconds += _noise(plan, name, noise, gpus) * (2 if name in noise.duplicate else 1)
    if probe is not None and name in measured_bases(study, probe):
        models = [name, *(model.name for model in probed_descendants(study, name, jobs.seeds[0]))]
        chosen = spread(plan.tokens(name), probe.prompts)
        seconds += sum(_reading(plan, each) for each in models[1:])
        seconds += (1 + probe.draws) * sum(_measured(plan, each, chosen, gpus) for each in models)
    return seconds


def _noise(plan: Plan, name: str, noise: Noise, gpus: int) -> float:
    sigmas = {scale: len(noise.sigmas(scale)) for scale in Scale}
    own, shape, tokens = noise.specialization, plan.shape(name), plan.tokens(name)
    losses = len(noise.sites) * sum(sigmas.values()) * len(noise.regions) * noise.draws
    read = noise.excerpts * noise.tokens
    seconds = (1 + losses) * (_forward(shape, read, gpus) + _loss(shape, read, gpus))
    responses = len(own.sites) * sum(sigmas[scale] for scale in own.scales) * len(own.regions) * own.draws
    if responses:
        seconds += (1 + responses) * _measured(plan, name, spread(tokens, own.prompts), gpus)
    if text := noise.generated_text:
        seconds += len(text.sigmas) * noise.draws * text.prompts * text.new_tokens * _forward(shape, 1, gpus)
    return seconds


def _dose(plan: Plan, jobs: Jobs, gpus: int) -> float:
    study, base = plan.study, jobs.subject
    pairs, seconds = descendants_of(study, base), 0.0
    chosen = spread(plan.tokens(base), study.section(Dose).prompts)
    for name in [base] * len({seed for _, seed in pairs}) + [model.name for model, _ in pairs]:
        seconds += _reading(plan, name)
    # Both models of each pair read every prompt, and what they predict is compared word by word.
    shape = plan.shape(base)
    read = sum(_forward(shape, length, gpus) + _loss(shape, length, gpus) for length in chosen)
    return seconds + 2 * len(pairs) * read


def _recursion(plan: Plan, jobs: Jobs, gpus: int) -> float:
    recursion = plan.study.section(Recursion)
    (name,) = [arm.model for arm in recursion.arms if arm.name == jobs.subject]
    steps = recursion.generations * recursion.new_tokens * -(-recursion.prompts // recursion.batch)
    written = [recursion.new_tokens] * recursion.prompts
    measured = _reading(plan, name) + (1 + recursion.generations) * _measured(plan, name, written, gpus)
    return steps * _forward(plan.shape(name), min(recursion.prompts, recursion.batch), gpus) + measured


def _probing(plan: Plan, jobs: Jobs, gpus: int) -> float:
    stability, refits = _group(plan, jobs.subject)
    shape, tokens = plan.shape(refits[0]), plan.tokens(refits[0])
    passes = sum(_forward(shape, length, gpus) for length in tokens)
    seconds = len(refits) * _reading(plan, refits[0])
    seconds += (len(refits) * 3 + stability.random_refits * 4) * passes
    if "ablation" in stability.analyses:
        # Each head is taken away in a copy of its own: twice from excerpts, once from the prompts of one refit.
        texts = 2 * len(refits) * stability.ablation_excerpts * stability.ablation_tokens + sum(tokens)
        read = shape.layers * shape.heads * texts
        seconds += _of_tokens(shape, read, gpus) + _loss(shape, read, gpus)
    return seconds


def _working_heads(plan: Plan, jobs: Jobs, gpus: int) -> float:
    """Two passes over held-out text of each model at each seed: with attention, and without."""
    study = plan.study
    seconds = _tokenizing(plan)
    for model in judged_models(study):
        shape = plan.shape(model.name)
        passes = 2 * (_forward(shape, HELD_OUT_TOKENS, gpus) + _loss(shape, HELD_OUT_TOKENS, gpus))
        seconds += len(study.seeds_of(model)) * (_reading(plan, model.name) + passes)
    return seconds


def _comparison(plan: Plan, jobs: Jobs, gpus: int) -> float:
    stability, refits = _group(plan, jobs.subject)
    shape, tokens = plan.shape(refits[0]), plan.tokens(refits[0])
    entries = sum(length * (length + 1) / 2 for length in tokens)
    pairs = len(refits) * (len(refits) - 1) / 2 + stability.random_refits * (stability.random_refits - 1) / 2
    heads = shape.layers * shape.heads
    return pairs * heads**2 * entries * PRODUCT * OPERATION + len(refits) * heads * entries * ENTRY


def _group(plan: Plan, name: str) -> tuple[Stability, list[str]]:
    """The section, and the model of each refit of a group."""
    study = plan.study
    return study.section(Stability), [model for model, _ in refits_of(study, name)]


_COUNTS: dict[str, Callable[[Plan, Jobs, int], float]] = {
    "build_corpus": _text,
    "train_tokenizer": _text,
    "train_model": _training,
    "align_model": _alignment,
    "fetch_model": _fetching,
    "extract_attention": _extraction,
    "measure_dose": _dose,
    "measure_variants": _variants,
    "perturb_model": _perturbation,
    "recurse_model": _recursion,
    "probe_refits": _probing,
    "compare_refits": _comparison,
    "measure_working_heads": _working_heads,
}
