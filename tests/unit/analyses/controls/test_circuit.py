"""A known circuit: its control passes on models that learned it, and fails on models that did not."""

import numpy as np
import pytest
import torch

from headwise.analyses.controls import circuit
from headwise.analyses.controls.circuit import circuit_controls, circuit_of, repeats
from headwise.analyses.stability.random_weights import random_model


def test_what_nothing_tells_does_not_count():
    tokens = circuit.asked_symbols()
    inputs, targets = repeats(tokens)
    assert inputs.shape == targets.shape == (circuit.SEQUENCES, 2 * circuit.PERIOD - 1)
    # The first symbol of the second half follows one that came once.
    assert (targets[:, : circuit.PERIOD] == -100).all()
    assert torch.equal(targets[:, circuit.PERIOD :], tokens[:, 1 : circuit.PERIOD])


def test_without_training_there_is_no_circuit(monkeypatch):
    monkeypatch.setattr(circuit, "STEPS", 1)
    outcomes = [control.outcome for control in circuit_controls()]
    assert outcomes == ["fail", "fail", "fail", "fail"]


@pytest.mark.slow
def test_the_circuit_is_found_needed_and_the_same_in_every_refit(monkeypatch):
    trained = {}
    train = circuit.train_to_repeat
    monkeypatch.setattr(circuit, "train_to_repeat", lambda seed: trained.setdefault(seed, train(seed)))
    controls = list(circuit_controls())
    assert {control.outcome for control in controls} == {"pass"}, controls
    for model in trained.values():
        found, chance = circuit_of(model), 1 / circuit.PERIOD
        assert found.induction[0] < chance  # nothing to copy before the second layer
        assert found.previous[1] < 3 * chance
        tokens = circuit.asked_symbols()
        with torch.no_grad():
            logits = model(input_ids=tokens[:, :-1]).logits[:, circuit.PERIOD :].double()
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, circuit.PERIOD + 1 :].flatten())
        assert loss < np.log(circuit.PERIOD) / 3
    untrained = circuit_of(random_model(trained[1], 3))
    assert max(untrained.induction) < 2 * chance
