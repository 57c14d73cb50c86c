"""The published outcome of the noise experiment: the perplexity of text that the perturbed model wrote itself.

D'Elia (2026) lets a model write 50 tokens after each of five prompts under each of six doses, and fits a line through
mean perplexity against σ. What it wrote is scored here without noise; the release does not say how it was scored. The
number is kept for comparison with the published ones: it confounds how likely text is with how text was chosen, a loop
scores better than prose, and a mean of perplexities is the largest of them.
"""

from collections.abc import Iterator, Sequence

import torch
from torch.nn.functional import cross_entropy

from headwise.analyses.noise.dose import Dose, Subject
from headwise.analyses.noise.draws import NoiseRow
from headwise.analyses.noise.rows import GeneratedText
from headwise.analyses.noise.settings import Region, Scale, Site
from headwise.models.generation import GenerationError, Written, write
from headwise.models.load import input_device
from headwise.study.prompts import EncodedPrompt


def generated_text(
    subject: Subject,
    prompts: Sequence[EncodedPrompt],
    sigmas: Sequence[float],
    draws: int,
    new_tokens: int,
    stop: set[int],
) -> Iterator[GeneratedText]:
    """Text under noise after all output projections, greedily chosen: one row per σ, prompt and draw."""
    for sigma in sigmas:
        dose = Dose(Site.ATTENTION_OUTPUT, Scale.ABSOLUTE, Region.ALL, sigma)
        for prompt in prompts:
            rows = tuple(NoiseRow(draw, prompt.id) for draw in range(draws))
            inputs = torch.tensor([prompt.token_ids] * draws, device=input_device(subject.model))
            failed, texts = None, [Written([], []) for _ in rows]
            try:
                # Without a cache every token meets the same noise at every step.
                with subject.under(dose, rows):
                    texts = write(subject.model, inputs, new_tokens, stop=stop, use_cache=False)
            except GenerationError as error:
                failed = f"{subject.name} under {dose}: {error}"
            for draw, text in enumerate(texts):
                silent = f"{subject.name} under {dose}, draw {draw}: it wrote no token after '{prompt.id}'"
                yield GeneratedText(
                    model=subject.name,
                    heads=subject.heads,
                    sigma=sigma,
                    draw=draw,
                    prompt=prompt.id,
                    tokens=len(text.tokens),
                    nll_nats=_clean_nll(subject, prompt.token_ids, text.tokens) if text.tokens else None,
                    reason=None if text.tokens else failed or silent,
                )


@torch.inference_mode()
def _clean_nll(subject: Subject, prompt: list[int], written: list[int]) -> float:
    """Mean negative ln p of what was written after the prompt, nats per token, without noise."""
    ids = torch.tensor([prompt + written], device=input_device(subject.model))
    logits = subject.model(input_ids=ids[:, :-1], use_cache=False).logits[0, len(prompt) - 1 :]
    return float(cross_entropy(logits.float(), ids[0, len(prompt) :]))
