"""Shapes of the models whose decoder stands in the study."""

from typing import TYPE_CHECKING

from pydantic import ValidationError

from headwise.study.models import TrainedModel
from headwise.study.training import Decoder

if TYPE_CHECKING:
    from headwise.study.study import Study


def decoders(study: "Study") -> dict[str, Decoder]:
    """By name, of models that are trained here, or aligned from one; the files of others are read later.

    A model whose decoder is wrong is left out: it is reported with the model.
    """
    found = {model.name: model for model in study.models}
    shapes = {}
    for name, model in found.items():
        model = found.get(getattr(model, "base", None) or name, model)
        if not isinstance(model, TrainedModel):
            continue
        try:
            shapes[name] = study.decoder_of(model)
        except ValidationError:
            continue
    return shapes
