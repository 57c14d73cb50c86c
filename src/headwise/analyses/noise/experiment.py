"""The perturbation experiments on one refit of a base model: noise, its twin with duplicated heads, and the probe."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from headwise.analyses.noise.dose import Dose, Subject
from headwise.analyses.noise.generated_text import generated_text
from headwise.analyses.noise.noise import (
    HeldOutText,
    doses,
    held_out_text,
    losses_under_noise,
    specialization_doses,
)
from headwise.analyses.noise.response import responses
from headwise.analyses.noise.rows import (
    Experiment,
    GeneratedText,
    Heads,
    LossUnderNoise,
    SpecializationUnderNoise,
    Twin,
    TwinDifferences,
)
from headwise.analyses.noise.settings import Noise, Probe
from headwise.analyses.noise.sites import PerturbationError
from headwise.attention.capture import LayerAttention, attention_layers, capturing
from headwise.models.checkpoint import weights_digest
from headwise.models.encoding import encode, limits_of
from headwise.models.generation import stop_tokens
from headwise.models.load import input_device, load_checkpoint
from headwise.models.optimization import one_thread
from headwise.models.surgery import duplicate_checkpoint
from headwise.runtime.progress import track
from headwise.study.prompts import EncodedPrompt, prompts_by_id, spread
from headwise.study.reading import Reading
from headwise.tables.files import write_rows


@dataclass(frozen=True)
class Outputs:
    """Tables of one refit: `LossUnderNoise`, `SpecializationUnderNoise`, `GeneratedText`, `Twin`."""

    losses: Path
    specialization: Path
    generated: Path
    duplication: Path


@dataclass(frozen=True)
class Settings:
    """What of a study the experiments on one refit need; `noise` and `probe` None where they leave this base out."""

    noise: Noise | None
    probe: Probe | None
    duplicate: bool
    estimators: Sequence[str]


@one_thread()
def perturb_refit(
    base: Reading,
    aligned: Sequence[Reading],
    documents: Path,
    prompts: Path,
    settings: Settings,
    seed: int,
    outputs: Outputs,
    metadata: Mapping[str, Any],
) -> None:
    """Perturb one refit of a base and, for the probe, its aligned descendants; each model is loaded once.

    base, aligned  models as they are read
    documents      the corpus, whose held-out documents losses are measured on
    prompts        the prompt set, some of which estimators are measured on
    seed           of the noise

    Raises PerturbationError where a site cannot be reached, a region holds no layer, or the model predicts no next
    token (an encoder); SurgeryError where heads cannot be duplicated; NotFiniteError where a model is not finite
    without noise. What is not finite under noise is a row without a value and with the reason.
    """
    found = _Found()
    texts = documents, prompts
    model, tokenizer = load_to_perturb(base)
    _measure(found, base, Heads.AS_MADE, model, tokenizer, texts, settings, seed, noise=True)
    if settings.duplicate:
        with TemporaryDirectory(dir=outputs.losses.parent) as folder:
            duplicate_checkpoint(base.checkpoint, Path(folder) / "twin")
            twin, _ = load_to_perturb(replace(base, checkpoint=Path(folder) / "twin"))
        _measure(found, base, Heads.DUPLICATED, twin, tokenizer, texts, settings, seed, noise=True)
        text = held_out_text(
            documents, twin, tokenizer, base.extraction.first_token, 1, (settings.noise or Noise()).tokens
        )
        found.duplication.append(Twin(model=base.name, **asdict(differences(model, twin, text))))
        del twin
    del model
    for other in aligned if settings.probe else ():
        model, tokenizer = load_to_perturb(other)
        _measure(found, other, Heads.AS_MADE, model, tokenizer, texts, settings, seed, noise=False)
        del model
    digests = {each.name: weights_digest(each.checkpoint) for each in (base, *aligned)}
    read = base.extraction.as_recorded()
    metadata = {**metadata, **read, "weights_digest": digests[base.name], "weights_digests": digests}
    write_rows(LossUnderNoise, found.losses, outputs.losses, metadata)
    write_rows(SpecializationUnderNoise, found.specialization, outputs.specialization, metadata)
    write_rows(GeneratedText, found.generated, outputs.generated, metadata)
    write_rows(Twin, found.duplication, outputs.duplication, metadata)


def differences(model: PreTrainedModel, twin: PreTrainedModel, text: HeldOutText) -> TwinDifferences:
    """What sets two models apart on an excerpt without noise."""
    found, losses = [], []
    for each in (model, twin):
        layers: list[torch.Tensor] = []

        def receive(attention: LayerAttention, kept: list[torch.Tensor] = layers) -> None:
            kept.append(attention.weights)

        with torch.inference_mode(), capturing(each, receive):
            logits = each(input_ids=text.inputs[:1].to(input_device(each)), use_cache=False).logits.float()
        found.append((logits, layers))
        predictions = logits[0, -text.targets.shape[1] :].double().cpu()
        losses.append(float(cross_entropy(predictions, text.targets[0])))
    (logits, weights), (other_logits, other_weights) = found
    largest = float((logits - other_logits).abs().max())
    attention = max(float((one - two).abs().max()) for one, two in zip(weights, other_weights, strict=True))
    return TwinDifferences(
        largest_logit_difference=largest,
        largest_relative_logit_difference=largest / float(logits.abs().max()),
        largest_attention_difference=attention,
        perplexity_ratio=math.exp(losses[1] - losses[0]),
    )


@dataclass(frozen=True)
class _Found:
    """Rows of all models of a refit."""

    losses: list[LossUnderNoise] = field(default_factory=list)
    specialization: list[SpecializationUnderNoise] = field(default_factory=list)
    generated: list[GeneratedText] = field(default_factory=list)
    duplication: list[Twin] = field(default_factory=list)


def load_to_perturb(reading: Reading) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model that attends eagerly, as noise in the logits needs; the same for all sites, so that they compare.

    Raises PerturbationError for a model that predicts no next token.
    """
    extraction = reading.extraction
    model, tokenizer = load_checkpoint(
        reading.checkpoint, extraction.dtype, extraction.device, reading.loading, head=True
    )
    if model.config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and "ForCausalLM" not in type(model).__name__:
        raise PerturbationError(
            f"{reading.name}: model type '{model.config.model_type}' predicts masked tokens and no next one, so it "
            "has no loss on held-out text: leave it out of noise.models"
        )
    if attention_layers(model)[0].uses_interface:
        model.set_attn_implementation("eager")
    return model, tokenizer


def _measure(
    found: _Found,
    reading: Reading,
    heads: Heads,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: tuple[Path, Path],
    settings: Settings,
    seed: int,
    *,
    noise: bool,
) -> None:
    """Append what the experiments find on one model."""
    name, extraction = reading.name, reading.extraction
    shape = settings.noise or Noise()
    text = held_out_text(texts[0], model, tokenizer, extraction.first_token, shape.excerpts, shape.tokens)
    subject = Subject(name, model, seed, text.inputs.to(input_device(model)), heads)
    everything = prompts_by_id(texts[1])
    prompts = encode(everything, tokenizer, extraction, limits_of(model))
    if noise and settings.noise is not None:
        chosen = doses(settings.noise)
        rows = losses_under_noise(subject, text, chosen, settings.noise.draws)
        total = len(chosen) * settings.noise.draws
        found.losses.extend(track(rows, f"loss of {name} under noise", total))
        found.specialization.extend(_responses(subject, prompts, settings.noise, settings.estimators))
        found.generated.extend(_generated(subject, prompts, settings.noise, tokenizer))
    if heads == Heads.AS_MADE and settings.probe is not None:
        probe = settings.probe
        chosen, asked = [Dose(probe.site, probe.scale, probe.region, probe.sigma)], spread(prompts, probe.prompts)
        found.specialization.extend(
            responses(subject, asked, chosen, probe.draws, settings.estimators, Experiment.PROBE)
        )


def _responses(
    subject: Subject, prompts: Sequence[EncodedPrompt], settings: Noise, estimators: Sequence[str]
) -> Iterable[SpecializationUnderNoise]:
    declared, chosen = settings.specialization, specialization_doses(settings)
    if not chosen:
        return []
    asked = spread(prompts, declared.prompts)
    rows = responses(subject, asked, chosen, declared.draws, estimators, Experiment.NOISE)
    total = len(chosen) * declared.draws * len(estimators)
    return track(rows, f"specialization of {subject.name} under noise", total)


def _generated(
    subject: Subject, prompts: Sequence[EncodedPrompt], settings: Noise, tokenizer: PreTrainedTokenizerBase
) -> Iterable[GeneratedText]:
    text = settings.generated_text
    if text is None:
        return []
    asked = spread(prompts, text.prompts)
    stop = stop_tokens(subject.model, tokenizer)
    rows = generated_text(subject, asked, text.sigmas, settings.draws, text.new_tokens, stop)
    total = len(asked) * len(text.sigmas) * settings.draws
    return track(rows, f"text of {subject.name} under noise", total)
