"""Arms of alignment and their placebos: descendants of one base, made alike but for what they are taught."""

from typing import TYPE_CHECKING

from headwise.study.models import AlignedModel

if TYPE_CHECKING:
    from headwise.study.study import Study


def placebos_of(study: "Study", model: AlignedModel) -> list[AlignedModel]:
    """The placebos of an arm: of the same base, method and dose."""
    return [other for other in placebos(study) if _recipe(other) == _recipe(model)]


def placebos(study: "Study") -> list[AlignedModel]:
    """All placebos of a study."""
    return [model for model in study.models if isinstance(model, AlignedModel) and model.placebo]


def arms_with_placebos(study: "Study") -> list[tuple[AlignedModel, list[AlignedModel]]]:
    """Each arm that has a placebo or more, with these."""
    return [(model, own) for model in _arms(study) if (own := placebos_of(study, model))]


def arms(study: "Study") -> list[tuple[AlignedModel, AlignedModel]]:
    """Each arm that has a placebo, with it; where it has several, with the first."""
    return [(arm, own[0]) for arm, own in arms_with_placebos(study)]


def arm_problems(study: "Study") -> list[str]:
    """Sentences about placebos that are nobody's, or that are another's twin, and about coins of others."""
    problems = []
    seen: dict[tuple[str, str, int, int], str] = {}
    made = set(map(_recipe, _arms(study)))
    for position, model in enumerate(study.models):
        if not isinstance(model, AlignedModel):
            continue
        field = f"models.{position} ('{model.name}')"
        if model.coin > 1 and not (model.placebo and model.method == "dpo"):
            problems.append(f"{field}.coin: only a placebo of dpo has a coin: remove it")
        if not model.placebo:
            continue
        recipe = _recipe(model)
        if other := seen.get((*recipe, model.coin)):
            problems.append(
                f"{field}.placebo: '{other}' is the same placebo: remove one of the two"
                + (", or give it another `coin`" if model.method == "dpo" else "")
            )
        elif recipe not in made:
            problems.append(
                f"{field}.placebo: no model has base '{model.base}', method {model.method} and dose {model.dose} "
                "without placebo: add that arm, or remove its placebo"
            )
        seen[*recipe, model.coin] = model.name
    return problems


def _arms(study: "Study") -> list[AlignedModel]:
    return [model for model in study.models if isinstance(model, AlignedModel) and not model.placebo]


def _recipe(model: AlignedModel) -> tuple[str, str, int]:
    return model.base, model.method, model.dose
