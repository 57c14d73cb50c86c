"""What must hold between the robustness section of a study file and its models."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import ValidationError

from headwise.study.models import TrainedModel
from headwise.study.perturbation import measured_bases
from headwise.study.robustness import LAYERS_FOR_THIRDS, Noise, Recursion
from headwise.study.training import Decoder

if TYPE_CHECKING:
    from headwise.study.study import Study


def robustness_problems(study: "Study") -> list[str]:
    """Sentences about experiments that contradict the models, each naming the field; empty where all is well."""
    section = study.robustness
    problems = []
    if section.noise is not None:
        problems += _noise_problems(study, section.noise)
    if section.probe is not None:
        problems += _base_problems(study, "robustness.probe.models", section.probe.models)
        problems += _region_problems(
            study, "robustness.probe.region", measured_bases(study, section.probe), section.probe.region
        )
    if section.recursion is not None:
        problems += _recursion_problems(study, section.recursion)
    made_here = {model.name: decoder_of(study, model.name) for model in study.models}
    return problems + length_problems(study, {name: shape.positions for name, shape in made_here.items() if shape})


def length_problems(study: "Study", positions: Mapping[str, int]) -> list[str]:
    """Sentences about texts of the experiments that are longer than the positions of a model, by its name; a model that
    is not named has enough."""
    noise, recursion = study.robustness.noise, study.robustness.recursion
    problems = []
    if noise is not None:
        lengths = {"tokens": noise.tokens}
        if noise.generated_text is not None:
            # After one token of a prompt at least.
            lengths["generated_text.new_tokens"] = noise.generated_text.new_tokens + 1
        problems += [
            f"robustness.noise.{field}: {length} tokens do not fit into the {positions[name]} positions of '{name}': "
            "lower it, or choose a model with more positions"
            for name in measured_bases(study, noise)
            for field, length in lengths.items()
            if name in positions and length > positions[name]
        ]
    if recursion is not None:
        problems += [
            f"robustness.recursion.arms.{number} ('{arm.name}'): context {recursion.context} and new_tokens "
            f"{recursion.new_tokens} do not fit, with a first token, into the {positions[arm.model]} positions of "
            f"'{arm.model}': lower one of them"
            for number, arm in enumerate(recursion.arms)
            if arm.model in positions and recursion.context + recursion.new_tokens >= positions[arm.model]
        ]
    return problems


def _noise_problems(study: "Study", noise: Noise) -> list[str]:
    problems = _base_problems(study, "robustness.noise.models", noise.models)
    measured = measured_bases(study, noise)
    for name in noise.duplicate:
        decoder = decoder_of(study, name)
        if name not in measured:
            problems.append(
                f"robustness.noise.duplicate: '{name}' is not among the base models that noise is added to: add it to "
                "robustness.noise.models, or remove it here"
            )
        elif decoder is not None and decoder.key_value_heads in (None, decoder.heads):
            problems.append(
                f"robustness.noise.duplicate: '{name}' has as many key and value heads as heads, so there is "
                "nothing to duplicate: remove it"
            )
    for region in {*noise.regions, *noise.specialization.regions}:
        problems += _region_problems(study, "robustness.noise.regions", measured, region)
    return problems


def _recursion_problems(study: "Study", recursion: Recursion) -> list[str]:
    problems = []
    names = [model.name for model in study.models]
    for position, arm in enumerate(recursion.arms):
        field = f"robustness.recursion.arms.{position} ('{arm.name}')"
        if arm.model not in names:
            problems.append(f"{field}.model: there is no model '{arm.model}': name one of models")
    if recursion.degradation.consecutive > recursion.generations:
        problems.append(
            f"robustness.recursion.degradation.consecutive: {recursion.degradation.consecutive} generations in a row "
            f"are more than the {recursion.generations} of a chain: lower it"
        )
    return problems


def _base_problems(study: "Study", field: str, names: list[str] | None) -> list[str]:
    bases = [model.name for model in study.bases()]
    return [
        f"{field}: there is no base model '{name}': name one of models" for name in names or () if name not in bases
    ]


def _region_problems(study: "Study", field: str, names: list[str], region: str) -> list[str]:
    if region not in ("early", "middle"):
        return []
    return [
        f"{field}: the region '{region}' of the {decoder.layers} layers of '{name}' holds no layer: choose another"
        for name, decoder in ((name, decoder_of(study, name)) for name in names)
        if decoder is not None and decoder.layers < LAYERS_FOR_THIRDS
    ]


def decoder_of(study: "Study", name: str) -> Decoder | None:
    """The shape of a model that is trained here, or aligned from one; None for others, whose files are read later."""
    found = {model.name: model for model in study.models}
    model = found.get(name)
    model = found.get(getattr(model, "base", None) or name, model)
    if not isinstance(model, TrainedModel):
        return None
    try:
        return study.decoder_of(model)
    except ValidationError:  # reported with the model
        return None
