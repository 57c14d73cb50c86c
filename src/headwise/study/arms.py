"""Arms of alignment and their placebos: descendants of one base, made alike but for what they are taught."""

from typing import TYPE_CHECKING

from headwise.study.models import AlignedModel

if TYPE_CHECKING:
    from headwise.study.study import Study


def placebo_of(study: "Study", model: AlignedModel) -> AlignedModel | None:
    """The placebo of an arm: of the same base, method and dose; None where the study makes none."""
    return next((other for other in placebos(study) if _recipe(other) == _recipe(model)), None)


def placebos(study: "Study") -> list[AlignedModel]:
    """All placebos of a study."""
    return [model for model in study.models if isinstance(model, AlignedModel) and model.placebo]


def arms(study: "Study") -> list[tuple[AlignedModel, AlignedModel]]:
    """Each arm that has a placebo, with it."""
    aligned = [model for model in study.models if isinstance(model, AlignedModel) and not model.placebo]
    return [(model, placebo) for model in aligned if (placebo := placebo_of(study, model)) is not None]


def arm_problems(study: "Study") -> list[str]:
    """Sentences about placebos that are nobody's, or one too many."""
    problems = []
    seen: dict[tuple[str, str, int], str] = {}
    made = {_recipe(model) for model in study.models if isinstance(model, AlignedModel) and not model.placebo}
    for position, model in enumerate(study.models):
        if not isinstance(model, AlignedModel) or not model.placebo:
            continue
        field = f"models.{position} ('{model.name}').placebo"
        if other := seen.get(_recipe(model)):
            problems.append(f"{field}: '{other}' is the placebo of the same arm: remove one of the two")
        elif _recipe(model) not in made:
            problems.append(
                f"{field}: no model has base '{model.base}', method {model.method} and dose {model.dose} without "
                "placebo: add that arm, or remove its placebo"
            )
        seen[_recipe(model)] = model.name
    return problems


def _recipe(model: AlignedModel) -> tuple[str, str, int]:
    return model.base, model.method, model.dose
