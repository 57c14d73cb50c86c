"""Capture every architecture, tiny, and write what was found to docs/architectures.md.

    python benchmarks/architectures.py

Each is built from its configuration class with random weights, saved, loaded back, captured, and compared with the same
checkpoint under eager attention without any hook. The architectures are those of tests/unit/test_architectures.py.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import transformers
from rich.progress import track
from transformers import AutoConfig, AutoModelForCausalLM

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "tests" / "unit"))

from architecture_examples import ARCHITECTURES, HIDDEN, REFUSED, compare_capture, save_tiny  # noqa: E402, found above
from attention_examples import token_ids  # noqa: E402, found above

from headwise.attention.capture import CaptureError, attention_layers, capturing  # noqa: E402, keeps imports sorted
from headwise.models.architecture import architecture_facts  # noqa: E402, keeps imports sorted

DOCUMENT = REPOSITORY / "docs" / "architectures.md"
TABLES = "<!-- What follows is written by benchmarks/architectures.py. -->\n"
TOKENS = 48


def captured_row(name: str, folder: Path) -> str:
    comparison = compare_capture(save_tiny(ARCHITECTURES[name], folder), TOKENS)
    facts = architecture_facts(comparison.model.config)
    layers = attention_layers(comparison.model)
    cells = [
        name,
        f"`{comparison.model.config.model_type}`",
        "interface" if layers[0].uses_interface else "hook",
        facts["attention"],
        facts["positions"],
        "yes" if any(facts["windows"]) else "",
        f"{len(layers)} of {facts['layers']}" if len(layers) < facts["layers"] else "",
        f"{comparison.attention_difference:.1g}",
        f"{comparison.logit_difference:.1g}",
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
        "| architecture | model type | through | attention | positions | window | attention layers | max difference of"
        " attention | of logits |",
        "|---|---|---|---|---|---|---|---|---|",
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
