"""The default study, and small ones with something changed."""

import copy
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DEFAULT = ROOT / "config" / "config.yaml"

MINIMAL: dict[str, Any] = {
    "name": "minimal",
    "prompts": {"path": "prompts.jsonl"},
    "models": [
        {"name": "base", "source": "train"},
        {"name": "tuned", "source": "align", "base": "base", "method": "sft"},
    ],
}


def changed(**sections: Any) -> dict[str, Any]:
    """The minimal study with whole sections replaced; None removes one."""
    content = copy.deepcopy(MINIMAL) | sections
    return {key: value for key, value in content.items() if value is not None}


def with_models(*models: dict[str, Any]) -> dict[str, Any]:
    """The minimal study with these models added to its two."""
    return changed(models=[*MINIMAL["models"], *models])


def with_base(**fields: Any) -> dict[str, Any]:
    """The minimal study with these fields added to its base model."""
    return changed(models=[MINIMAL["models"][0] | fields, MINIMAL["models"][1]])


def with_hub(**fields: Any) -> dict[str, Any]:
    """The minimal study with a model of a hub added to its two."""
    return with_models({"name": "public", "source": "hub", "repository": "org/name"} | fields)


def with_lens(**fields: Any) -> dict[str, Any]:
    """The minimal study with weights of TransformerLens added to its two models."""
    lens = {"name": "lens", "source": "transformer_lens", "weights": "w.pt", "config": "c.json", "tokenizer": "t"}
    return with_models({key: value for key, value in (lens | fields).items() if value is not None})
