"""Loss under noise: what is measured, on what text, and what is said where a value is not finite."""

import math

import pytest
import torch
from attention_examples import tiny_model
from noise_examples import subject, texts

from headwise.analyses.noise.dose import Dose
from headwise.analyses.noise.draws import NoiseRow, standard_noise
from headwise.analyses.noise.noise import (
    HeldOutText,
    clean_losses,
    doses,
    losses_under_noise,
    specialization_doses,
)
from headwise.analyses.noise.settings import Noise, NoiseSpecialization, Region, Scale, Site
from headwise.models import resources
from headwise.models.finite import NotFiniteError

DOSES = [
    Dose(site, Scale.ABSOLUTE, Region.ALL, sigma)
    for site in (Site.ATTENTION_OUTPUT, Site.RESIDUAL)
    for sigma in (0.1, 1.0)
]


def held_out() -> HeldOutText:
    ids = texts()
    return HeldOutText(ids[:, :-1], ids[:, 1:], ("excerpt 0", "excerpt 1", "excerpt 2"))


def test_the_clean_loss_is_the_mean_negative_log_probability_of_the_targets():
    one, text = subject(), held_out()
    with torch.no_grad():
        probabilities = one.model(input_ids=text.inputs).logits.double().softmax(-1)
    for excerpt, loss in enumerate(clean_losses(one, text).tolist()):
        found = [-math.log(probabilities[excerpt, position, text.targets[excerpt, position]]) for position in range(11)]
        assert loss == pytest.approx(sum(found) / 11, rel=1e-5)


def test_the_loss_under_noise_is_that_of_a_model_whose_projections_add_it():
    """The same noise, put in as the bias of a hand-made copy of every output projection, text by text."""
    one, text = subject(), held_out()
    (row,) = losses_under_noise(one, text, [Dose(Site.ATTENTION_OUTPUT, Scale.ABSOLUTE, Region.ALL, 0.5)], 1)
    total = 0.0
    for excerpt, name in enumerate(text.names):
        hooks = []
        for index, layer in enumerate(one.model.model.layers):
            added = 0.5 * standard_noise(1, (NoiseRow(0, name),), index, (11, 32))
            hooks.append(layer.self_attn.register_forward_hook(
                lambda module, _, output, added=added: (output[0] + added, *output[1:])
            ))  # fmt: skip
        with torch.no_grad():
            logits = one.model(input_ids=text.inputs[excerpt][None]).logits[0]
        total += float(torch.nn.functional.cross_entropy(logits, text.targets[excerpt]))
        for hook in hooks:
            hook.remove()
    assert row.nll_nats == pytest.approx(total / 3, rel=1e-5)
    assert row.delta_nll_nats == pytest.approx(total / 3 - float(clean_losses(one, text).mean()), rel=1e-4)


def test_rows_are_the_same_again_and_do_not_depend_on_what_else_is_measured():
    one, text = subject(), held_out()
    rows = list(losses_under_noise(one, text, DOSES, 2))
    assert rows == list(losses_under_noise(subject(), text, DOSES, 2))
    assert [(row.site, row.sigma, row.draw) for row in rows[:3]] == [
        ("attention_output", 0.1, 0),
        ("attention_output", 0.1, 1),
        ("attention_output", 1.0, 0),
    ]
    alone = list(losses_under_noise(one, text, DOSES[3:], 1))
    assert alone[0] == rows[6]
    assert rows[0].nll_nats != rows[1].nll_nats
    other_seed = next(iter(losses_under_noise(subject(seed=2), text, DOSES, 1)))
    assert other_seed.nll_nats != rows[0].nll_nats


def test_the_loss_of_an_excerpt_does_not_depend_on_its_batch():
    text = held_out()
    (together,) = losses_under_noise(subject(), text, DOSES[1:2], 1)
    alone = []
    for excerpt in range(3):
        one = HeldOutText(text.inputs[excerpt][None], text.targets[excerpt][None], text.names[excerpt : excerpt + 1])
        (row,) = losses_under_noise(subject(), one, DOSES[1:2], 1)
        alone.append(row.nll_nats)
    assert together.nll_nats == pytest.approx(sum(alone) / 3, rel=1e-6)


def test_excerpts_of_many_words_are_read_one_after_another_with_the_same_result(monkeypatch):
    one, text, sizes = subject(), held_out(), []
    expected = list(losses_under_noise(one, text, DOSES, 2))
    monkeypatch.setattr(resources, "LOGITS_BYTES", 1)
    one = subject()
    one.model.register_forward_hook(lambda module, inputs, output: sizes.append(len(output.logits)))
    found = list(losses_under_noise(one, text, DOSES, 2))
    assert set(sizes) == {1}
    for row, together in zip(found, expected, strict=True):
        assert row.nll_nats == pytest.approx(together.nll_nats, abs=1e-5)
        assert row.delta_nll_nats == pytest.approx(together.delta_nll_nats, abs=1e-5)


def test_a_loss_that_is_not_finite_is_a_row_with_model_dose_and_draw():
    text = held_out()
    rows = list(
        losses_under_noise(subject(), text, [Dose(Site.RESIDUAL, Scale.ABSOLUTE, Region.LATE, 1e38), DOSES[0]], 1)
    )
    assert (rows[0].nll_nats, rows[0].delta_nll_nats) == (None, None)
    for part in ("tiny", "absolute σ 1e+38 at residual, region late", "draw 0", "excerpt 0", "not finite"):
        assert part in rows[0].reason
    assert rows[1].nll_nats is not None
    assert rows[1].reason is None


def test_a_model_that_is_not_finite_without_noise_is_refused():
    model = tiny_model("llama", num_key_value_heads=2)
    with torch.no_grad():
        model.lm_head.weight[5] = math.nan
    with pytest.raises(
        NotFiniteError, match=r"tiny: its loss on excerpt 0 is .* noise: the weights of 'lm_head.weight'"
    ):
        list(losses_under_noise(subject(model), held_out(), DOSES, 1))


def test_doses_are_the_grid_of_the_study_without_zero():
    settings = Noise(
        sites=["residual"], regions=["all", "late"], absolute=[0.0, 0.2, 0.1], relative=[0.5],
        specialization=NoiseSpecialization(sites=["attention_output"], scales=["relative"], regions=["early"]),
    )  # fmt: skip
    assert [str(dose) for dose in doses(settings)] == [
        "absolute σ 0.1 at residual, region all",
        "absolute σ 0.2 at residual, region all",
        "absolute σ 0.1 at residual, region late",
        "absolute σ 0.2 at residual, region late",
        "relative σ 0.5 at residual, region all",
        "relative σ 0.5 at residual, region late",
    ]
    assert specialization_doses(settings) == [Dose(Site.ATTENTION_OUTPUT, Scale.RELATIVE, Region.EARLY, 0.5)]
