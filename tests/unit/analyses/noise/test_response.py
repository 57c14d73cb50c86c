"""The response of estimators to noise: the study's own estimators, on a model under a dose."""

import math

import numpy as np
import pytest
import torch
from attention_examples import tiny_model, token_ids
from noise_examples import subject

from headwise.analyses.noise.dose import Dose, Subject
from headwise.analyses.noise.response import responses
from headwise.analyses.noise.rows import Experiment
from headwise.analyses.noise.settings import SITES, Region, Scale, Site
from headwise.analyses.specialization.few_prompts import specialization_of
from headwise.models.finite import NotFiniteError
from headwise.study.prompts import EncodedPrompt

NOISE = Experiment.NOISE
DOSE = Dose(Site.ATTENTION_OUTPUT, Scale.ABSOLUTE, Region.ALL, 0.5)


def prompts(count: int = 3) -> list[EncodedPrompt]:
    return [EncodedPrompt(f"p{number}", token_ids(8 + 3 * number, seed=number)[0].tolist()) for number in range(count)]


def test_change_is_relative_to_the_size_of_the_clean_value():
    rows = list(responses(subject(), prompts(), [DOSE], 2, ["hellinger", "entropy_profile"], NOISE))
    assert [(row.estimator, row.draw) for row in rows] == [
        ("hellinger", 0), ("entropy_profile", 0), ("hellinger", 1), ("entropy_profile", 1),
    ]  # fmt: skip
    for row in rows:
        assert row.change_percent == pytest.approx(100 * (row.value - row.clean) / abs(row.clean))
        assert row.value != row.clean
    assert rows[0].clean == rows[2].clean
    assert rows[0].value != rows[2].value
    assert rows == list(responses(subject(), prompts(), [DOSE], 2, ["hellinger", "entropy_profile"], NOISE))


def test_no_noise_is_no_change_and_noise_in_late_layers_leaves_earlier_attention_alone():
    (row,) = responses(
        subject(), prompts(), [Dose(Site.RESIDUAL, Scale.ABSOLUTE, Region.ALL, 0.0)], 1, ["hellinger"], NOISE
    )
    assert row.change_percent == 0
    # What is added to the last layer's output reaches no attention at all.
    (row,) = responses(
        subject(), prompts(), [Dose(Site.ATTENTION_OUTPUT, Scale.ABSOLUTE, Region.LATE, 5.0)], 1, ["hellinger"], NOISE
    )
    assert row.change_percent == 0


def test_one_prompt_more_changes_nothing_about_the_others():
    """Each prompt has its own noise: the mean over two is the mean of the two alone (hellinger is linear)."""
    dose = Dose(Site.RESIDUAL, Scale.ABSOLUTE, Region.ALL, 0.3)
    both = next(iter(responses(subject(), prompts(2), [dose], 1, ["hellinger"], NOISE)))
    alone = [next(iter(responses(subject(), [one], [dose], 1, ["hellinger"], NOISE))).value for one in prompts(2)]
    assert both.value == pytest.approx(np.mean(alone), rel=1e-6)


@pytest.mark.parametrize("texts", [1, 3])
@pytest.mark.parametrize("site", SITES)
def test_what_a_relative_dose_is_relative_to_is_no_prompt(site, texts):
    """Clean activations are measured on other texts, whose attention is none of the response."""
    dose, model = Dose(site, Scale.RELATIVE, Region.ALL, 0.5), tiny_model("llama", num_key_value_heads=2)
    first, known = (Subject("tiny", model, 1, token_ids(12)[[0] * texts]) for _ in range(2))
    known.rms(site)
    found, expected = (list(responses(one, prompts(), [dose], 1, ["hellinger"], NOISE)) for one in (first, known))
    assert found == expected
    assert found[0].clean == pytest.approx(specialization_of(model, prompts(), ["hellinger"])["hellinger"][0])


def test_undefined_values_have_a_reason():
    model = tiny_model("llama", num_attention_heads=1, num_key_value_heads=1)
    (row,) = responses(subject(model), prompts(), [DOSE], 1, ["hellinger"], NOISE)
    assert (row.clean, row.value, row.change_percent) == (None, None, None)
    assert row.reason == "too few heads per layer: 1, at least 2 needed"


def test_attention_that_is_not_finite_is_a_row_with_model_dose_and_draw():
    rows = list(
        responses(
            subject(), prompts(), [Dose(Site.RESIDUAL, Scale.ABSOLUTE, Region.ALL, 1e38)], 1, ["hellinger"], NOISE
        )
    )
    assert (rows[0].value, rows[0].change_percent) == (None, None)
    assert rows[0].clean is not None
    for part in ("tiny", "σ 1e+38", "draw 0", "layer", "'p0'", "not finite"):
        assert part in rows[0].reason


def test_a_model_whose_attention_is_not_finite_without_noise_is_refused():
    model = tiny_model("llama", num_key_value_heads=2)
    with torch.no_grad():
        model.model.layers[1].self_attn.q_proj.weight[0, 0] = math.nan
    with pytest.raises(NotFiniteError, match=r"tiny: attention of layer 1 is not finite on 'p0' without any noise"):
        list(responses(subject(model), prompts(), [DOSE], 1, ["hellinger"], NOISE))
