"""What must hold between the sections of a study file."""

from collections import Counter
from typing import TYPE_CHECKING

from pydantic import ValidationError

from headwise.study.arms import arm_problems
from headwise.study.decoders import decoders
from headwise.study.models import AlignedModel, HubModel, LoadedModel, TrainedModel
from headwise.study.name_consistency import name_problems
from headwise.study.problems import dotted, sentence
from headwise.study.sections import length_problems, section_problems

if TYPE_CHECKING:
    from headwise.study.study import Study


def consistency_problems(study: "Study") -> list[str]:
    """Sentences about sections that contradict each other, each naming the field; empty where all is well."""
    return [
        *_model_problems(study),
        *name_problems(study),
        *arm_problems(study),
        *_shape_problems(study),
        *_comparison_problems(study),
        *section_problems(study),
        *length_problems(study, {name: shape.positions for name, shape in decoders(study).items()}),
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
            training, positions = study.training_of(model), study.decoder_of(model).positions
            tokens = training.tokens
            if training.until_loss is not None and study.corpus.validation == 0:
                problems.append(
                    f"models.{position} ('{model.name}').training.until_loss: no text decides when training stops: set "
                    "corpus.validation to the share of documents that do, such as 0.02"
                )
            if tokens > positions:
                problems.append(
                    f"models.{position} ('{model.name}').training.tokens: {tokens} tokens do not fit into "
                    f"{positions} positions: lower training.tokens, or raise decoder.positions"
                )
    return problems or _prompt_problems(study)


def _prompt_problems(study: "Study") -> list[str]:
    """Prompts may be as long as `max_tokens`."""
    return [
        f"extraction.max_tokens: {study.extraction.max_tokens} tokens do not fit into the {decoder.positions} "
        f"positions of '{name}': lower it, or raise decoder.positions"
        for name, decoder in decoders(study).items()
        if study.extraction.max_tokens > decoder.positions
    ]


def _comparison_problems(study: "Study") -> list[str]:
    reference = study.comparison.reference
    if reference is None or reference in [model.name for model in study.bases()]:
        return []
    return [f"comparison.reference: there is no base model '{reference}': name one of models"]
