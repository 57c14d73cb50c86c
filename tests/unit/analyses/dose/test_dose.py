"""Distances of two models against plain loops and closed forms, and what an arm taught beside its placebo."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from headwise.analyses.dose.distance import displacement, divergences, mean_divergence
from headwise.analyses.dose.taught import compared_with_placebos

TEXTS = [[1, 5, 3, 7], [2, 9], [11, 4, 4, 6, 8]]


def model(seed: int, vocabulary: int = 13) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=8,
        intermediate_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
        initializer_range=0.4,
    )
    return LlamaForCausalLM(config).eval()


def test_a_model_is_at_no_distance_from_itself() -> None:
    assert mean_divergence(model(1), model(1), TEXTS) == (0.0, 11)
    assert displacement(model(1), model(1)) == 0.0


def test_kl_is_that_of_plain_loops() -> None:
    aligned, base = model(1), model(2)
    total, count = 0.0, 0
    for text in TEXTS:
        for end in range(1, len(text) + 1):
            of_both = []
            for each in (aligned, base):
                logits = each(torch.tensor([text[:end]])).logits[0, -1].double().tolist()
                sizes = [math.exp(logit) for logit in logits]
                of_both.append([size / sum(sizes) for size in sizes])
            total += sum(p * math.log(p / q) for p, q in zip(*of_both, strict=True))
            count += 1
    found, positions = mean_divergence(aligned, base, TEXTS)
    assert positions == count
    assert found == pytest.approx(total / count, rel=1e-5)
    assert found != pytest.approx(mean_divergence(base, aligned, TEXTS)[0], rel=1e-2)


def test_kl_of_two_words_is_the_closed_form() -> None:
    p, q = 0.9, 0.2
    logits = [torch.tensor([[math.log(share), math.log(1 - share)]]) for share in (p, q)]
    expected = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    assert divergences(*logits).item() == pytest.approx(expected, rel=1e-6)
    # What is added to all logits changes nothing.
    assert divergences(logits[0] + 3, logits[1] - 2).item() == pytest.approx(expected, rel=1e-5)


def test_displacement_of_scaled_weights_is_the_factor_less_one() -> None:
    base, aligned = model(1), model(1)
    with torch.no_grad():
        for parameter in aligned.parameters():
            parameter.mul_(1.25)
    assert displacement(aligned, base) == pytest.approx(0.25, rel=1e-6)


def test_displacement_of_one_weight_is_its_change_over_the_norm() -> None:
    base, aligned = model(1), model(1)
    with torch.no_grad():
        aligned.model.norm.weight[3] += 0.5
    norm = math.sqrt(sum(float((each.detach().double() ** 2).sum()) for each in base.parameters()))
    assert displacement(aligned, base) == pytest.approx(0.5 / norm, rel=1e-6)


def test_weights_of_other_shapes_have_no_displacement() -> None:
    assert displacement(model(1, vocabulary=15), model(1)) is None


def doses(**changes: object) -> pd.DataFrame:
    """An arm and its placebo at two doses, in one refit of one base; the arm of dose 3 taught less than nothing."""
    return pd.DataFrame(
        {
            "model": ["b-dpo", "b-coin", "b-dpo3", "b-coin3", "b-public"],
            "base": "b",
            "method": ["dpo", "dpo", "dpo", "dpo", "instruct"],
            "placebo": [False, True, False, True, False],
            "dose": pd.array([1, 1, 3, 3, None], dtype="Int64"),
            "seed": 1,
            "kl_nats": [0.2, 0.1, 0.9, 0.3, 2.0],
            "accuracy_before": [0.5, 0.5, 0.5, 0.5, np.nan],
            "accuracy_after": [0.8, 0.6, 0.4, 0.6, np.nan],
            "answer_loss_before": [4.0, 4.0, 4.0, 4.0, np.nan],
            "answer_loss_after": [3.5, 4.2, 4.6, 4.5, np.nan],
        }
    ).assign(**changes)


def test_an_arm_is_compared_with_the_placebo_of_its_own_dose() -> None:
    found = compared_with_placebos(doses())
    assert found[["method", "dose"]].to_numpy().tolist() == [["dpo", 1], ["dpo", 3]]
    assert found["accuracy_more"].tolist() == pytest.approx([0.2, -0.2])
    assert found["loss_less"].tolist() == pytest.approx([0.7, -0.1])
    assert found["kl_ratio"].tolist() == pytest.approx([2.0, 3.0])


def test_an_arm_is_compared_with_no_placebo_of_another_base_or_refit() -> None:
    assert compared_with_placebos(doses(base=list("abcde"))).empty
    assert compared_with_placebos(doses(seed=range(5))).empty
