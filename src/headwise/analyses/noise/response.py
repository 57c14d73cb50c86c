"""How the estimators of specialization respond to noise."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial

from headwise.analyses.noise.dose import Dose, Subject
from headwise.analyses.noise.draws import NoiseRow
from headwise.analyses.noise.rows import Experiment, SpecializationUnderNoise
from headwise.analyses.noise.settings import Scale
from headwise.analyses.specialization.few_prompts import Value, specialization_of
from headwise.models.finite import NotFiniteError, why_not_finite
from headwise.statistics.ties import OF_ONE
from headwise.study.prompts import EncodedPrompt


def responses(
    subject: Subject,
    prompts: Sequence[EncodedPrompt],
    chosen: Sequence[Dose],
    draws: int,
    estimators: Sequence[str],
    experiment: Experiment,
) -> Iterator[SpecializationUnderNoise]:
    """The response of every estimator to every draw of every dose, dose by dose."""
    try:
        clean = specialization_of(subject.model, prompts, estimators)
    except NotFiniteError as error:
        raise NotFiniteError(f"{subject.name}: {error} without any noise: {why_not_finite(subject.model)}") from None
    for dose in chosen:
        if dose.scale == Scale.RELATIVE:
            subject.rms(dose.site)  # now, on texts side by side: within `measure` every pass is a prompt's
        for draw in range(draws):
            reason = None
            try:
                values = specialization_of(subject.model, prompts, estimators, partial(_under, subject, dose, draw))
            except NotFiniteError as error:
                values = dict.fromkeys(estimators, (None, None))
                reason = f"{subject.name} under {dose}, draw {draw}: {error}"
            for name in estimators:
                change, why = relative_change(clean[name], values[name])
                yield SpecializationUnderNoise(
                    model=subject.name,
                    heads=subject.heads,
                    **dose.columns(),
                    experiment=experiment,
                    draw=draw,
                    estimator=name,
                    clean=clean[name][0],
                    value=values[name][0],
                    change_percent=change,
                    reason=reason or why,
                )


def relative_change(clean: Value, noisy: Value) -> Value:
    """100 (noisy − clean) / |clean|; None, with the reason, where a value has none or clean is 0 but for rounding."""
    before, after = clean[0], noisy[0]
    if before is None or after is None:
        return None, clean[1] or noisy[1]
    if abs(before) <= OF_ONE:
        return None, "the value without noise is 0: no relative change"
    return 100 * (after - before) / abs(before), None


def _under(subject: Subject, dose: Dose, draw: int, prompt: EncodedPrompt) -> AbstractContextManager[None]:
    """Every prompt has its own noise."""
    return subject.under(dose, (NoiseRow(draw, prompt.id),))
