"""What must hold between the sections of a study file."""

from collections import Counter
from typing import TYPE_CHECKING

from pydantic import ValidationError

from headwise.study.models import AlignedModel, HubModel, LoadedModel, TrainedModel
from headwise.study.name_consistency import name_problems
from headwise.study.problems import dotted, sentence
from headwise.study.refits import dependent_refits
from headwise.study.robustness_consistency import decoder_of, robustness_problems

if TYPE_CHECKING:
    from headwise.study.study import Study


def consistency_problems(study: "Study") -> list[str]:
    """Sentences about sections that contradict each other, each naming the field; empty where all is well."""
    return [
        *_model_problems(study),
        *name_problems(study),
        *_shape_problems(study),
        *_comparison_problems(study),
        *robustness_problems(study),
        *_stability_problems(study),
        *_variant_problems(study),
    ]


def _model_problems(study: "Study") -> list[str]:
    problems = []
    names = Counter(model.name for model in study.models)
    problems += [
        f"models: '{name}' is defined {count} times: give each model its own name"
        for name, count in names.items()
        if count > 1
    ]
    if len(set(study.seeds)) < len(study.seeds):
        problems.append("seeds: a seed is listed twice: remove one")
    for position, model in enumerate(study.models):
        field = f"models.{position} ('{model.name}')"
        if model.seeds is not None and len(set(model.seeds)) < len(model.seeds):
            problems.append(f"{field}.seeds: a seed is listed twice: remove one")
        if isinstance(model, HubModel) and model.repositories is not None:
            problems += [
                f"{field}.repositories: none for seed {seed}: add it, or remove the seed"
                for seed in study.seeds_of(model)
                if seed not in model.repositories
            ]
        if isinstance(model, LoadedModel) and model.quantization and "output_cka" in study.specialization.estimators:
            problems.append(
                f"{field}.quantization: output_cka reads output projections, which quantized weights do not show: "
                "leave output_cka out of specialization.estimators, or the quantization out"
            )
        base = getattr(model, "base", None)
        if base is None:
            continue
        if base in names and isinstance(model, AlignedModel) and isinstance(study.model(base), LoadedModel):
            problems.append(
                f"{field}.base: '{base}' was made elsewhere, and only models that this study trains can be "
                "aligned here: name one of those, or align it elsewhere and give the result as `source: folder`"
            )
        elif base not in names:
            problems.append(f"{field}.base: there is no model '{base}': add it to models, or correct the name")
        elif base == model.name:
            problems.append(f"{field}.base: a model cannot be its own base: name the model it descends from")
        elif missing := set(study.seeds_of(model)) - set(study.seeds_of(study.model(base))):
            problems.append(f"{field}.seeds: base '{base}' has no seed {min(missing)}: add it there, or remove it")
        elif getattr(study.model(base), "base", None) is not None:
            problems.append(f"{field}.base: '{base}' is itself aligned: name the base that both descend from")
    return problems


def _shape_problems(study: "Study") -> list[str]:
    problems = []
    for position, model in enumerate(study.models):
        if not isinstance(model, TrainedModel):
            continue
        for section, settings in (("decoder", study.decoder_of), ("training", study.training_of)):
            try:
                settings(model)
            except ValidationError as error:
                problems += [
                    f"models.{position} ('{model.name}').{section}{dotted(detail['loc'])}: {sentence(detail)}"
                    for detail in error.errors()
                ]
                break
        else:
            tokens, positions = study.training_of(model).tokens, study.decoder_of(model).positions
            if tokens > positions:
                problems.append(
                    f"models.{position} ('{model.name}').training.tokens: {tokens} tokens do not fit into "
                    f"{positions} positions: lower training.tokens, or raise decoder.positions"
                )
    return problems or _length_problems(study)


def _length_problems(study: "Study") -> list[str]:
    """Prompts may be as long as `max_tokens`, and padded ones are as long as `pad_to`."""
    lengths = {"extraction.max_tokens": (study.extraction.max_tokens, {model.name for model in study.models})}
    padded = {model.name for model, _ in study.measured_with_variants()}
    lengths |= {
        f"variants.protocols.{position} ('{variant.name}').pad_to": (variant.pad_to, padded)
        for position, variant in enumerate(study.variants.protocols)
        if variant.padding != "none"
    }
    return [
        f"{field}: {length} tokens do not fit into the {decoder.positions} positions of '{model.name}': lower it, or "
        "raise decoder.positions"
        for field, (length, measured) in lengths.items()
        for model in study.models
        if model.name in measured
        and (decoder := decoder_of(study, model.name)) is not None
        and length > decoder.positions
    ]


def _comparison_problems(study: "Study") -> list[str]:
    problems = []
    if study.comparison.primary not in study.specialization.estimators:
        problems.append(
            f"comparison.primary: '{study.comparison.primary}' is not among specialization.estimators: add it there"
        )
    reference = study.comparison.reference
    if reference is not None and reference not in [model.name for model in study.bases()]:
        problems.append(f"comparison.reference: there is no base model '{reference}': name one of models")
    return problems


def _stability_problems(study: "Study") -> list[str]:
    settings = study.stability
    if settings is None:
        return []
    problems = []
    if study.extraction.store != "tensors":
        problems.append("stability: heads are compared by their attention weights: set extraction.store to tensors")
    models = {model.name for model in study.models}
    for position, group in enumerate(settings.groups):
        field = f"stability.groups.{position} ('{group.name}').models"
        if unknown := [name for name in group.models if name not in models]:
            problems.append(f"{field}: there is no model '{unknown[0]}': name one of models")
        elif len(set(group.models)) < len(group.models):
            problems.append(f"{field}: a model is listed twice: remove one")
        elif len(study.refits_of(group)) < 2:
            problems.append(f"{field}: a group of one refit has nothing to compare: add models or seeds")
        elif dependent := dependent_refits(study, group):
            problems.append(f"{field}: {dependent}")
        problems += [
            f"{field}: '{model.name}' is quantized or spread over devices, and whole matrices of weights are read and "
            "copied here: leave it out of the group, or remove its quantization and device_map"
            for model in study.models
            if model.name in group.models
            and isinstance(model, LoadedModel)
            and (model.quantization or model.device_map)
        ]
    if problems:
        return problems
    names = Counter(group.name for group in study.refit_groups())
    problems += [
        f"stability.groups: '{name}' is defined {count} times: give each group its own name"
        for name, count in names.items()
        if count > 1
    ]
    named = [(f"stability.depths.{position}", name) for position, name in enumerate(settings.depths)]
    for position, contrast in enumerate(settings.weight_decay):
        field = f"stability.weight_decay.{position}"
        named += [(f"{field}.without", contrast.without), (f"{field}.with_decay", contrast.with_decay)]
    problems += [
        f"{field}: there is no group '{name}': choose from {', '.join(names)}"
        for field, name in named
        if name not in names
    ]
    return problems


def _variant_problems(study: "Study") -> list[str]:
    names = [model.name for model in study.models]
    if missing := [name for name in study.variants.models or [] if name not in names]:
        return [f"variants.models: there is no model '{missing[0]}': add it to models, or correct the name"]
    if study.variants.protocols and not study.measured_with_variants():
        return ["variants.seeds: none of the models has one of these seeds: name seeds that they have"]
    return []
