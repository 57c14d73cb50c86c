"""Noise in keys and values, which heads of a group share: against attention by hand, and against duplicated heads."""

import numpy as np
import pandas as pd
import pytest
import torch
from attention_examples import tiny_model
from scipy import stats

from headwise.analyses.noise.settings import Noise, Site
from headwise.analyses.noise.sites import PerturbationError, clean_rms, perturbing
from headwise.analyses.noise.summarize_losses import contrast_rows, per_unit, sharing_rows
from headwise.models.surgery import duplicate_key_value_heads
from headwise.study.comparison import Comparison

TOKENS = 6
SHARED = 2
SITES = (Site.KEYS, Site.VALUES)


@pytest.fixture(scope="module")
def model():
    made = tiny_model("llama", num_key_value_heads=SHARED)
    made.set_attn_implementation("eager")
    return made


def logits(model, site=None, noise=None):
    ids = torch.arange(TOKENS)[None]
    with torch.inference_mode():
        if site is None:
            return model(input_ids=ids, use_cache=False)[0]
        with perturbing(model, site, [0, 1, 2], noise):
            return model(input_ids=ids, use_cache=False)[0]


def drawn(layer, shape, seed=0):
    generator = torch.Generator().manual_seed(100 * seed + layer)
    return torch.randn(1, *shape, generator=generator)


@pytest.mark.parametrize("site", SITES)
def test_no_noise_changes_nothing_and_nothing_stays(model, site):
    clean = logits(model)
    assert torch.equal(logits(model, site, lambda layer, shape: torch.zeros(1, *shape)), clean)
    assert not torch.allclose(logits(model, site, drawn), clean, atol=1e-4)
    assert torch.equal(logits(model), clean)


@pytest.mark.parametrize("site", SITES)
def test_one_draw_for_all_copies_of_a_head_is_noise_in_the_shared_head(model, site):
    """Where every copy gets the draw of its head, duplicated heads compute what those as made do."""
    twin = duplicate_key_value_heads(model)
    twin.set_attn_implementation("eager")

    def copied(layer, shape):
        assert shape[0] == twin.config.num_attention_heads
        return drawn(layer, (SHARED, *shape[1:])).repeat_interleave(shape[0] // SHARED, dim=1)

    shared, independent = logits(model, site, drawn), logits(twin, site, drawn)
    torch.testing.assert_close(logits(twin, site, copied), shared, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(independent, shared, atol=1e-3)


@pytest.mark.parametrize("site", SITES)
def test_noise_enters_after_the_position_code_and_before_the_scores(model, site):
    """The attention of the first layer, by hand from the keys and values that it reads."""
    read = {}

    def keep(layer, shape):
        read.setdefault("shape", shape)
        return drawn(layer, shape)

    layer = model.model.layers[0].self_attn
    seen = []
    hook = layer.o_proj.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    projected = {}
    hooks = [
        getattr(layer, name).register_forward_hook(
            lambda module, _, output, name=name: projected.update({name: output})
        )
        for name in ("q_proj", "k_proj", "v_proj")
    ]
    with torch.inference_mode(), perturbing(model, site, [0], keep):
        ids = torch.arange(TOKENS)[None]
        model(input_ids=ids, use_cache=False)
        cos, sin = model.model.rotary_emb(projected["q_proj"], torch.arange(TOKENS)[None])
    for each in (hook, *hooks):
        each.remove()
    width = layer.head_dim
    query, key, value = (
        projected[name].view(1, TOKENS, -1, width).transpose(1, 2)[0].double()
        for name in ("q_proj", "k_proj", "v_proj")
    )

    def rotated(states):
        half = width // 2
        turned = torch.cat([-states[..., half:], states[..., :half]], dim=-1)
        return states * cos[0].double() + turned * sin[0].double()

    query, key = rotated(query), rotated(key)
    noise = drawn(0, read["shape"])[0].double()
    key, value = (key + noise, value) if site == "keys" else (key, value + noise)
    heads = []
    for head in range(len(query)):
        group = head * len(key) // len(query)
        scores = query[head] @ key[group].T / width**0.5
        scores = scores.masked_fill(torch.ones(TOKENS, TOKENS).triu(1).bool(), -torch.inf)
        heads.append(scores.softmax(-1) @ value[group])
    expected = torch.stack(heads).transpose(0, 1).reshape(1, TOKENS, -1)
    torch.testing.assert_close(seen[0].double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("site", SITES)
def test_the_clean_rms_is_that_of_what_attention_reads(model, site):
    ids = torch.arange(2 * TOKENS).view(2, TOKENS)
    found = clean_rms(model, site, ids)
    read = {}

    def record(layer, shape):
        read.setdefault(layer, shape)
        return torch.zeros(1, *shape)

    logits(model, site, record)
    assert set(found) == set(read)
    layer = model.model.layers[0].self_attn
    projection = layer.k_proj if site == "keys" else layer.v_proj
    values = []
    hook = projection.register_forward_hook(lambda module, _, output: values.append(output))
    with torch.inference_mode():
        model(input_ids=ids, use_cache=False)
    hook.remove()
    # Turning pairs of numbers by an angle keeps their squares.
    assert found[0] == pytest.approx(float(values[0].double().square().mean()) ** 0.5, rel=1e-5)


def test_a_model_outside_of_the_interface_is_refused():
    model = tiny_model("bloom")
    with pytest.raises(PerturbationError, match="the site keys cannot be reached"):
        logits(model, Site.KEYS, drawn)


def test_estimators_are_not_measured_under_noise_in_keys():
    with pytest.raises(ValueError, match="attention_output"):
        Noise(specialization={"sites": ["keys"]})


def losses(ratios: list[float]) -> pd.DataFrame:
    """Two sites; with noise in keys the model as made loses `ratios` times as much as its twin, refit by refit."""
    rows = []
    for seed, ratio in enumerate(ratios, start=1):
        for site in (Site.KEYS, Site.ATTENTION_OUTPUT):
            for heads in ("as made", "duplicated"):
                change = 0.1 * seed * (ratio if heads == "as made" and site == Site.KEYS else 1)
                row = {"model": "grouped", "heads": heads, "site": site.value, "scale": "relative", "region": "all"}
                rows.append(row | {"sigma": 1.0, "draw": 0, "delta_nll_nats": change, "seed": seed, "unit": "refit"})
    return pd.DataFrame(rows)


def test_the_ratio_is_paired_by_refit_with_students_interval_of_its_logarithm():
    ratios = [1.06, 1.18, 1.10, 1.14, 1.05]
    units = per_unit(losses(ratios))
    (row,) = sharing_rows(units, 0.05)
    logs = np.log(ratios)
    assert row.ratio == pytest.approx(stats.gmean(ratios))
    assert (row.log_low, row.log_high) == pytest.approx(stats.t.interval(0.95, 4, logs.mean(), stats.sem(logs)))
    assert (row.site, row.n) == (Site.KEYS, 5)
    kinds = [
        (each.site, each.kind) for each in contrast_rows(units, "other", Comparison()) if each.kind == "duplication"
    ]
    assert kinds == [(Site.ATTENTION_OUTPUT, "duplication")]


def test_refits_whose_loss_does_not_rise_are_left_out_and_counted():
    table = losses([1.1, 1.2, 1.3])
    table.loc[table["seed"].eq(2) & table["heads"].eq("duplicated"), "delta_nll_nats"] = -0.01
    (row,) = sharing_rows(per_unit(table), 0.05)
    assert row.n == 2
    assert "left out: 1" in row.reason
