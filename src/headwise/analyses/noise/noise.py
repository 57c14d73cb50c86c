"""How much worse a model predicts held-out text when noise is added to its activations.

The text is fixed, and read rather than written by the model (teacher forcing): every dose is scored on the same tokens.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headwise.analyses.noise.dose import Dose, Subject
from headwise.analyses.noise.draws import NoiseRow
from headwise.analyses.noise.rows import LossUnderNoise
from headwise.analyses.noise.settings import Noise, Region, Scale, Site
from headwise.models.excerpts import held_out_excerpts, losses_per_excerpt, texts_per_pass
from headwise.models.finite import NotFiniteError, why_not_finite
from headwise.models.load import input_device
from headwise.study.extraction import FirstToken


@dataclass(frozen=True)
class HeldOutText:
    """Excerpts of held-out text: token ids `inputs` and `targets` (see `take_excerpts`), and their names."""

    inputs: Tensor
    targets: Tensor
    names: tuple[str, ...]


def held_out_text(
    documents: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    first_token: FirstToken,
    excerpts: int,
    tokens: int,
) -> HeldOutText:
    """Up to that many excerpts of held-out text, as a model reads text: see `held_out_excerpts`."""
    inputs, targets = held_out_excerpts(documents, model, tokenizer, first_token, tokens, excerpts)
    return HeldOutText(inputs, targets, tuple(f"excerpt {number}" for number in range(len(inputs))))


def doses(settings: Noise) -> list[Dose]:
    """Every site × scale × region × σ above 0 whose loss is measured, in the order of the study file, σ ascending."""
    return _grid(settings, settings.sites, tuple(Scale), settings.regions)


def specialization_doses(settings: Noise) -> list[Dose]:
    """The same for the response of estimators, which has its own sites, scales and regions."""
    declared = settings.specialization
    return _grid(settings, declared.sites, declared.scales, declared.regions)


def _grid(settings: Noise, sites: Sequence[Site], scales: Sequence[Scale], regions: Sequence[Region]) -> list[Dose]:
    return [
        Dose(site, scale, region, sigma)
        for site in sites
        for scale in scales
        for region in regions
        for sigma in settings.sigmas(scale)
    ]


def clean_losses(subject: Subject, text: HeldOutText) -> Tensor:
    """Loss of each excerpt without noise, nats per token. Raises NotFiniteError where one is not finite."""
    losses = _losses(subject, text)
    if not losses.isfinite().all():
        excerpt = text.names[int((~losses.isfinite()).nonzero()[0])]
        raise NotFiniteError(
            f"{subject.name}: its loss on {excerpt} is not finite without any noise: {why_not_finite(subject.model)}"
        )
    return losses


def losses_under_noise(
    subject: Subject, text: HeldOutText, chosen: Sequence[Dose], draws: int
) -> Iterator[LossUnderNoise]:
    """The loss under every draw of every dose, dose by dose."""
    clean = clean_losses(subject, text)
    for dose in chosen:
        for draw in range(draws):
            losses = _losses(subject, text, dose, draw)
            bad = [name for name, finite in zip(text.names, losses.isfinite().tolist(), strict=True) if not finite]
            reason = (
                f"{subject.name} under {dose}, draw {draw}: the loss on {', '.join(bad)} is not finite" if bad else None
            )
            loss = None if bad else float(losses.double().mean())
            change = None if bad else float((losses.double() - clean.double()).mean())
            yield LossUnderNoise(
                model=subject.name,
                heads=subject.heads,
                **dose.columns(),
                draw=draw,
                nll_nats=loss,
                delta_nll_nats=change,
                reason=reason,
            )


@torch.inference_mode()
def _losses(subject: Subject, text: HeldOutText, dose: Dose | None = None, draw: int = 0) -> Tensor:
    """Loss of each excerpt under one draw of a dose, nats per token. Noise is drawn by the excerpt's name, so that how
    many are read at once changes rounding alone."""
    device, losses = input_device(subject.model), []
    at_once = texts_per_pass(subject.model, text.inputs.shape[1])
    for first in range(0, len(text.inputs), at_once):
        part = slice(first, first + at_once)
        rows = tuple(NoiseRow(draw, name) for name in text.names[part])
        with nullcontext() if dose is None else subject.under(dose, rows):
            inputs, targets = text.inputs[part].to(device), text.targets[part].to(device)
            losses.append(losses_per_excerpt(subject.model, inputs, targets).cpu())
    return torch.cat(losses)
