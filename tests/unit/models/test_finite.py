"""What is said of numbers that are not finite: the weights are not, or their dtype is too narrow."""

import re

import pytest
import torch
from attention_examples import tiny_model, token_ids

from headwise.analyses.stability.ablation import ablated_losses
from headwise.attention.statistics_capture import capturing_statistics
from headwise.models.finite import NotFiniteError, why_not_finite

DAMAGED = "the weights of 'model.norm.weight' are not either, in any dtype: choose a checkpoint"
NARROW = "all weights are, so {} is too narrow for what is computed from them: {}"


@pytest.mark.parametrize(
    ("dtype", "value", "said"),
    [
        (torch.float32, torch.nan, DAMAGED),
        (torch.float32, torch.inf, DAMAGED),
        (torch.float16, torch.nan, DAMAGED),
        (torch.float16, 1e6, "the weights of 'model.norm.weight' are not either in float16: set dtype to"),
        (
            torch.bfloat16,
            1e6,
            NARROW.format(
                "bfloat16", "set dtype to float32 (extraction.dtype of a study, --dtype on the command line)"
            ),
        ),
        (torch.float32, 1e6, NARROW.format("float32", "choose another checkpoint")),
    ],
)
def test_the_cause_is_told(dtype, value, said):
    model = tiny_model("llama")
    with torch.no_grad():
        model.model.norm.weight[3] = value
    assert why_not_finite(model.to(dtype)).startswith(said)


@pytest.mark.parametrize("name", ["model.layers.2.mlp.down_proj.weight", "model.norm.weight", "lm_head.weight"])
def test_weights_behind_the_last_attention_make_no_loss(name):
    """Attention does not read them and is measured as ever."""
    model = tiny_model("llama")
    intact = tiny_model("llama")
    with torch.no_grad():
        model.get_parameter(name).view(-1)[0] = torch.nan
    found: list[torch.Tensor] = []
    for each in (model, intact):
        with (
            torch.no_grad(),
            capturing_statistics(each, (), lambda layer: found.append(layer.statistics.heads["kept"].received)),
        ):
            each(input_ids=token_ids(9))
    assert torch.equal(torch.stack(found[:3]), torch.stack(found[3:]))
    text = token_ids(9)
    refused = pytest.raises(NotFiniteError, match=f"'llama': its loss on text 0 is not finite: .*'{re.escape(name)}'")
    with refused:
        ablated_losses(model, [(text[:, :-1], text[:, 1:])])
