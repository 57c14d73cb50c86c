"""What alignment did to each descendant of a base: one job, which loads each model once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwise.analyses.dose.distance import displacement, mean_divergence
from headwise.analyses.dose.rows import AlignmentDose
from headwise.analyses.dose.settings import Dose
from headwise.models.checkpoint import checkpoint_folder
from headwise.models.encoding import encode, limits_of
from headwise.models.load import load_checkpoint
from headwise.models.optimization import one_thread
from headwise.runtime.json_files import read_json
from headwise.runtime.progress import track
from headwise.study.prompts import Prompt, prompts_by_id, spread
from headwise.study.reading import Reading
from headwise.tables.files import write_rows

OTHER_TOKENS = "its tokenizer gives other tokens than that of its base"
OTHER_WEIGHTS = "its weights have other shapes than those of its base"
IN_FEW_BITS = "weights in 8 or 4 bits have no distance"


@dataclass(frozen=True)
class Arm:
    """A descendant at one seed, and how the study made it; `dose` None where others did."""

    seed: int
    base: str
    method: str | None
    placebo: bool
    dose: int | None


@one_thread()
def measure_dose(
    bases: Sequence[Reading],
    aligned: Sequence[Reading],
    arms: Sequence[Arm],
    prompts: Path,
    settings: Dose,
    metadata: Mapping[str, Any],
    table: Path,
) -> None:
    """Write a row per descendant of a base; `bases`, `aligned` and `arms` belong together one by one.

    Both models read the prompts as the base does. What alignment taught is read from facts.json of models that were
    made here. Raises as `load_checkpoint` and `encode` do.
    """
    chosen = spread(prompts_by_id(prompts), settings.prompts)
    rows, loaded, base = [], None, None
    for reading, descendant, arm in track(list(zip(bases, aligned, arms, strict=True)), "doses", len(arms)):
        if loaded != reading.checkpoint:
            del base
            base, loaded = _load(reading), reading.checkpoint
        rows.append(_row(base, reading, descendant, arm, chosen))
    write_rows(AlignmentDose, rows, table, metadata)


def _load(reading: Reading) -> Any:
    return load_checkpoint(
        reading.checkpoint, reading.extraction.dtype, reading.extraction.device, reading.loading, head=True
    )


def _row(base: Any, base_reading: Reading, reading: Reading, arm: Arm, prompts: Sequence[Prompt]) -> AlignmentDose:
    (base_model, base_tokenizer), (model, tokenizer) = base, _load(reading)
    settings = base_reading.extraction
    texts = [prompt.token_ids for prompt in encode(prompts, base_tokenizer, settings, limits_of(base_model))]
    reasons = []
    kl, positions = None, 0
    if (
        _as_read(prompts, tokenizer) == _as_read(prompts, base_tokenizer)
        and limits_of(model).tokens == limits_of(base_model).tokens
    ):
        kl, positions = mean_divergence(model, base_model, texts)
    else:
        reasons.append(OTHER_TOKENS)
    moved = None
    if reading.loading.quantization or base_reading.loading.quantization:
        reasons.append(IN_FEW_BITS)
    elif (moved := displacement(model, base_model)) is None:
        reasons.append(OTHER_WEIGHTS)
    taught = _taught(reading)
    before, after = (taught.get(when, {}) for when in ("before", "after"))
    return AlignmentDose(
        model=reading.name,
        base=arm.base,
        method=arm.method,
        placebo=arm.placebo,
        dose=arm.dose,
        steps=taught.get("steps"),
        seed=arm.seed,
        kl_nats=kl,
        displacement=moved,
        accuracy_before=before.get("preference_accuracy"),
        accuracy_after=after.get("preference_accuracy"),
        answer_loss_before=before.get("response_loss_nats"),
        answer_loss_after=after.get("response_loss_nats"),
        positions=positions,
        reason="; ".join(reasons) or None,
    )


def _as_read(prompts: Sequence[Prompt], tokenizer: Any) -> list[list[int]]:
    """Token ids of the texts alone: a descendant may have another template, or another first token."""
    return [list(tokenizer(prompt.text, add_special_tokens=False)["input_ids"]) for prompt in prompts]


def _taught(reading: Reading) -> dict[str, Any]:
    """What facts.json says of alignment; nothing of a model that was made elsewhere."""
    path = checkpoint_folder(reading.checkpoint) / "facts.json"
    facts: dict[str, Any] = read_json(path).get("alignment", {}) if path.is_file() else {}
    return facts
