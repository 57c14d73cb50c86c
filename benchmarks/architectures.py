"""Capture every architecture, tiny, and write what was found to docs/architectures.md.

    python benchmarks/architectures.py

Each is built from its configuration class with random weights, saved, loaded back, captured, and compared with the same
checkpoint under eager attention without any hook. The architectures are those of
tests/unit/attention/test_architectures.py.
Memory is measured on the same architectures with every width multiplied, so that weights are what fills it (Linux).
"""

import re
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import transformers
from rich.progress import track
from transformers import AutoConfig, AutoModelForCausalLM

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "tests" / "unit"))

from architecture_examples import (  # noqa: E402, found above
    ARCHITECTURES,
    HIDDEN,
    REFUSED,
    Architecture,
    compare_capture,
    save_tiny,
)
from attention_examples import token_ids  # noqa: E402, found above
from measure import cost_of  # noqa: E402, found above

from headwise.attention.capture import CaptureError, attention_layers, capturing  # noqa: E402, keeps imports sorted
from headwise.attention.statistics_capture import way_of  # noqa: E402, keeps imports sorted
from headwise.models.architecture import architecture_facts  # noqa: E402, keeps imports sorted
from headwise.models.load import load_checkpoint  # noqa: E402, keeps imports sorted

DOCUMENT = REPOSITORY / "docs" / "architectures.md"
TABLES = "<!-- What follows is written by benchmarks/architectures.py. -->\n"
TOKENS = 48
# For memory: weights of 25 to 180 MB, which are then what fills it.
WIDER = 24
WIDTHS = re.compile(
    r"hidden_size|intermediate_size|head_dim|(qk|v)_\w*head_dim|\w*_lora_rank|n_embd|d_model|dff|dim|emb_dim|hidden_dim|ffn_dim"
    r"|word_embed_proj_dim|rotary_dim|linear_(key|value)_head_dim"
)


def wider(architecture: Architecture) -> Architecture:
    """The same architecture with every width multiplied."""
    config = {
        field: value * WIDER if isinstance(value, int) and WIDTHS.fullmatch(field) else value
        for field, value in architecture.config.items()
    }
    return replace(architecture, config=config)


def memory_factor(tiny: Path, large: Path) -> float:
    """By how much peak memory grows per byte of weights, in loading a checkpoint and capturing a prompt.

    The smaller one of two checkpoints of an architecture says what libraries need by themselves.
    """
    (memory, weights), (more_memory, more_weights) = map(memory_and_weights, (tiny, large))
    return (more_memory - memory) / (more_weights - weights)


def memory_and_weights(folder: Path) -> tuple[int, int]:
    """Peak memory of loading a checkpoint and capturing a prompt, and the size of its weights; both in bytes."""

    def load_and_capture() -> None:
        model, _ = load_checkpoint(folder)
        with torch.inference_mode(), capturing(model.base_model, lambda attention: None):
            model.base_model(input_ids=token_ids(TOKENS), use_cache=False)

    cost = cost_of(load_and_capture)
    return cost.peak_bytes - cost.before_bytes, sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def captured_row(name: str, folder: Path) -> str:
    tiny = save_tiny(ARCHITECTURES[name], folder / "tiny")
    comparison = compare_capture(tiny, TOKENS)
    facts = architecture_facts(comparison.model.config)
    with torch.no_grad():
        way = way_of(comparison.model)
    layers = attention_layers(comparison.model)
    cells = [
        name,
        f"`{comparison.model.config.model_type}`",
        "interface" if layers[0].uses_interface else "hook",
        way,
        facts["attention"],
        facts["positions"],
        "yes" if any(facts["windows"]) else "",
        f"{len(layers)} of {facts['layers']}" if len(layers) < facts["layers"] else "",
        f"{comparison.attention_difference:.1g}",
        f"{comparison.logit_difference:.1g}",
        f"{memory_factor(tiny, save_tiny(wider(ARCHITECTURES[name]), folder / 'wider')):.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


def refusal(model_type: str) -> str:
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **HIDDEN | REFUSED[model_type])).eval()
    try:
        with torch.no_grad(), capturing(model, lambda attention: None):
            model(input_ids=token_ids(TOKENS), use_cache=False)
    except CaptureError as error:
        return str(error).replace(model_type, "…")
    raise RuntimeError(f"{model_type} is captured: move it from REFUSED to ARCHITECTURES")


def refused_rows() -> list[str]:
    """One row per sentence, with the model types that get it."""
    refused: dict[str, list[str]] = {}
    for model_type in REFUSED:
        refused.setdefault(refusal(model_type), []).append(f"`{model_type}`")
    return [f"| {', '.join(model_types)} | {sentence} |" for sentence, model_types in refused.items()]


def main() -> None:
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    lines = [
        "| architecture | model type | through | statistics | attention | positions | window | attention layers"
        " | max difference of attention | of logits | memory over weights |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in track(ARCHITECTURES, "captured"):
        with TemporaryDirectory() as folder:
            lines.append(captured_row(name, Path(folder)))
    lines += ["", "## Refused", "", "| model types | error |", "|---|---|", *refused_rows()]
    lines += [
        "",
        f"Written with transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, CPU.",
    ]
    head = DOCUMENT.read_text(encoding="utf-8").partition(TABLES)[0]
    DOCUMENT.write_text(head + TABLES + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
