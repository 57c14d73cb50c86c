"""A known circuit as a control: models that learn to repeat random tokens grow two kinds of heads that work together.

A previous-token head in the first layer tells each position which token came before; an induction head in the second
looks for the present token's last occurrence and copies what followed (Olsson et al. 2022). Two layers of attention
alone, trained on random tokens that repeat, have nothing else to solve the task with.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from headwise.analyses.controls.control import Control, above, not_run
from headwise.analyses.stability.ablation import Batch, ablated_losses
from headwise.analyses.stability.cosines import SAME, View, refit_cosines
from headwise.analyses.stability.heads import matched_stability
from headwise.analyses.stability.names import Measure
from headwise.analyses.stability.packed import packed_attention
from headwise.analyses.stability.random_weights import random_model
from headwise.attention.capture import LayerAttention, capturing
from headwise.attention.descriptors import DESCRIPTORS, descriptors, induction_score
from headwise.attention.store import TensorWriter
from headwise.models.optimization import adamw, descend, learning_rate_at, one_thread
from headwise.models.zoo import build_decoder
from headwise.runtime.progress import track
from headwise.study.training import Decoder

SYMBOLS, PERIOD, SEQUENCES, SEEDS = 64, 20, 8, (1, 2)
STEPS, WARMUP, PEAK, BATCH = 450, 30, 6e-3, 24
PERIODS = (14, 22)  # lengths of what repeats in training vary, so that no position tells the answer
SHAPE = Decoder(layers=2, hidden=64, heads=2, head_width=32, feed_forward=0, positions=64)
BASIS = f"{len(SEEDS)} refits of two layers that learned to repeat random tokens"
# What a head that does its work must exceed: three times the score of a row that looks at a period's symbols alike; a
# third of what it costs to guess among them, ln 20 = 3.0 nats; three tenths of the way from random weights to identity.
SCORE, COST, MATCH = 3 / PERIOD, float(np.log(PERIOD)) / 3, 0.3
MEMORY_MB = 64.0


class Symbols:
    """As much of a tokenizer as building a decoder needs."""

    bos_token_id = eos_token_id = pad_token_id = 0

    def __len__(self) -> int:
        return SYMBOLS


@dataclass(frozen=True)
class Circuit:
    """What was found in one model: (layers,) the largest over heads of each score, and of the cost of a head.

    previous, induction  attention, within 0…1
    cost                 loss per repeated token without the head less that with it, nats
    """

    previous: tuple[float, ...]
    induction: tuple[float, ...]
    cost: tuple[float, ...]


def circuit_controls() -> Iterator[Control]:
    """Train the models, and ask whether descriptors, ablation and matching find the circuit."""
    models = {f"seed {seed}": train_to_repeat(seed) for seed in track(SEEDS, "circuit", len(SEEDS))}
    found = [circuit_of(model) for model in models.values()]
    yield above(
        "a learned circuit: previous-token head in the first layer", BASIS,
        SCORE, min(each.previous[0] for each in found), "smallest over refits of the highest score; chance is a third",
    )  # fmt: skip
    yield above(
        "a learned circuit: induction head in the second layer", BASIS,
        SCORE, min(each.induction[1] for each in found), "smallest over refits of the highest score; chance is a third",
    )  # fmt: skip
    yield above(
        "a learned circuit: the task is lost without either head", BASIS,
        COST, min(min(each.cost) for each in found),
        "nats per repeated token, smallest over refits and layers of the head that costs most; guessing costs 3.0",
    )  # fmt: skip
    random = {f"random {seed}": random_model(models[f"seed {SEEDS[0]}"], seed) for seed in SEEDS}
    yield above(
        "a learned circuit: heads of refits match", BASIS,
        MATCH, matched(models) - matched(random), "row-centred cosine of matched heads, less that of random weights",
    )  # fmt: skip


def circuit_not_run() -> Control:
    """What the panel says where the study leaves the control out."""
    return not_run("a learned circuit", "its heads are found", "the study file says so: `controls.learned_circuit`")


def repeated_symbols(count: int, period: int, generator: torch.Generator) -> torch.Tensor:
    """Different random symbols, twice in the same order: (count, 2 × period)."""
    once = torch.rand(count, SYMBOLS, generator=generator).argsort(1)[:, :period]
    return torch.cat([once, once], dim=1)


@one_thread()
def train_to_repeat(seed: int) -> PreTrainedModel:
    """A model of `SHAPE` that predicts the second half of repeated symbols."""
    model = build_decoder(SHAPE, Symbols(), seed).train()  # type: ignore[arg-type]  # has what is asked of a tokenizer
    optimizer, generator = adamw(model, 0.0), torch.Generator().manual_seed(seed)
    for step in range(STEPS):
        period = int(torch.randint(PERIODS[0], PERIODS[1] + 1, (1,), generator=generator))
        tokens = repeated_symbols(BATCH, period, generator)
        logits = model(input_ids=tokens, use_cache=False).logits[:, period:-1]
        loss = cross_entropy(logits.flatten(0, 1), tokens[:, period + 1 :].flatten())
        descend(model, optimizer, loss, learning_rate_at(step, STEPS, WARMUP, PEAK), step)
    return model.eval()


@one_thread()
def circuit_of(model: PreTrainedModel) -> Circuit:
    """Scores of the heads of a model, and what each head is worth."""
    tokens = asked_symbols()
    scores: dict[int, list[torch.Tensor]] = {layer: [] for layer in range(SHAPE.layers)}

    def receive(attention: LayerAttention) -> None:
        previous = descriptors(attention)[:, DESCRIPTORS.index("previous_token")]
        scores[attention.layer].append(torch.stack([previous, induction_score(attention.weights, PERIOD)]))

    with capturing(model, receive), torch.no_grad():
        for row in tokens:
            model(input_ids=row[None])
    highest = [torch.stack(values).mean(0).max(-1).values.tolist() for values in scores.values()]
    losses, whole = ablated_losses(model, [repeats(tokens)])
    # The loss is a mean over all tokens but the first, of which those of the second half but its first are counted.
    counted = (PERIOD - 1) / (2 * PERIOD - 1)
    cost = (losses.mean(-1) - whole.mean()).max(-1).values / counted
    previous, induction = (tuple(column) for column in zip(*highest, strict=True))
    return Circuit(previous, induction, tuple(cost.tolist()))


def asked_symbols() -> torch.Tensor:
    """The sequences that models are asked about: (sequences, 2 × period)."""
    return repeated_symbols(SEQUENCES, PERIOD, torch.Generator().manual_seed(len(SEEDS) + 1))


def repeats(tokens: torch.Tensor) -> Batch:
    """Inputs and targets; symbols that nothing tells, those of the first half and the one after it, do not count."""
    targets = tokens[:, 1:].clone()
    targets[:, :PERIOD] = -100
    return tokens[:, :-1], targets


@one_thread()
def matched(models: Mapping[str, PreTrainedModel]) -> float:
    """Mean row-centred cosine of one-to-one matched heads of refits."""
    with TemporaryDirectory() as folder, ExitStack() as files:
        paths = [Path(folder) / f"{number}.parquet" for number in range(len(models))]
        for path, model in zip(paths, models.values(), strict=True):
            _write_attention(model, path)
        opened = [files.enter_context(packed_attention(path)) for path in paths]
        cosines = refit_cosines(opened, {}, MEMORY_MB)
    return float(np.nanmean(matched_stability(cosines.same_layer[View(Measure.ROW_CENTRED), SAME])))


def _write_attention(model: PreTrainedModel, path: Path) -> None:
    with TensorWriter.open(path, "causal", {"tokens_digest": "repeated symbols"}) as writer:
        for number, row in enumerate(asked_symbols()):

            def receive(attention: LayerAttention, number: int = number) -> None:
                writer.add(f"sequence {number}", attention.layer, attention.weights)

            with capturing(model, receive), torch.no_grad():
                model(input_ids=row[None])
