"""Kinds of models whose attention is not one stack over a text, told by config.json alone.

Imported by the Snakefile, so nothing heavy is imported here.
"""

from collections.abc import Mapping
from typing import Any

# Parts of models that read more than text.
OTHER_SENSES = ("vision_config", "audio_config", "vq_config")


def not_text_alone(content: Mapping[str, Any]) -> str | None:
    """Why a model of this configuration cannot be measured, and what to do; None where nothing stands against it."""
    kind = content.get("model_type")
    if content.get("is_encoder_decoder"):
        return (
            f"{kind} is an encoder with a decoder (is_encoder_decoder), whose layers attend to two texts: choose a "
            "checkpoint that is one of the two alone"
        )
    senses = [field for field in OTHER_SENSES if isinstance(content.get(field), dict)]
    if senses:
        return (
            f"{kind} is multimodal ({', '.join(senses)}), and models of text are measured: choose a checkpoint of text "
            "alone, or, where transformers has a language model of its text part, save that part with the tokenizer "
            "(`AutoModel.from_pretrained(folder).language_model.save_pretrained(another)`)"
        )
    return None
