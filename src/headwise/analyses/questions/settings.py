"""The section about questions: what the study declares before anything is computed."""

from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from headwise.analyses.noise.settings import Scale, Site
from headwise.statistics.attainable import of_sign_flips, of_splits
from headwise.study.arms import arms
from headwise.study.section import Name, Positive, Rate, Section

if TYPE_CHECKING:
    from headwise.study.study import Study


class Ask(StrEnum):
    """What a question is about."""

    EFFECT = "effect"
    EFFECT_DIFFERENCE = "effect_difference"
    ARCHITECTURE = "architecture"
    CHANGE = "change"
    NOISE = "noise"
    SHARING = "sharing"
    AGREEMENT = "agreement"


# Answered by a test; the others by their interval over refits, since refits share what is compared.
TESTED = (Ask.EFFECT, Ask.EFFECT_DIFFERENCE, Ask.ARCHITECTURE, Ask.CHANGE, Ask.NOISE)
# About a model, and about a model against another.
OF_GROUP = (Ask.EFFECT_DIFFERENCE, Ask.ARCHITECTURE, Ask.NOISE, Ask.SHARING, Ask.AGREEMENT)
OF_METHOD = (Ask.EFFECT, Ask.EFFECT_DIFFERENCE, Ask.CHANGE)
# In units of the primary estimator, in which the margin of the study is.
OF_PRIMARY = (Ask.EFFECT, Ask.EFFECT_DIFFERENCE, Ask.ARCHITECTURE, Ask.CHANGE)


class Claim(StrEnum):
    """What yes means."""

    DIFFERS = "differs"
    RISES = "rises"
    FALLS = "falls"


class Question(Section):
    """A question that the study answers: yes, no, equivalent to nothing, or undecided."""

    name: Name = Field(description="Short name, unique in the study")
    title: str = Field("", description="The question in words, as the page has it; default: made from the fields below")
    ask: Ask = Field(
        description="effect: alignment beyond its placebo, over refits of all bases; effect_difference: that of "
        "`group` against `reference`; architecture: the primary estimator of a base against the reference's; change: "
        "mean change under a method over families, without a placebo; noise: area under the loss against noise, of "
        "`group` over `reference`; sharing: loss under noise in keys or values that heads share, over noise of their "
        "own; agreement: how far refits agree on where heads look, of what chance leaves"
    )
    method: Name | None = Field(None, description="Method of alignment (effect, effect_difference, change)")
    dose: Positive = Field(1, description="Dose of the arm (effect, effect_difference)")
    group: Name | None = Field(None, description="Base model in question (all but effect and change)")
    reference: Name | None = Field(
        None, description="Base model that it is compared with; default: the study's reference"
    )
    site: Site = Field(Site.ATTENTION_OUTPUT, description="Where noise is added (noise, sharing)")
    scale: Scale = Field(Scale.RELATIVE, description="Unit of the noise (noise, sharing)")
    claim: Claim = Field(
        Claim.DIFFERS, description="What yes means: any difference, or one of this sign; no: the other sign"
    )
    published: float | None = Field(
        None,
        description="Effect that was published, in the units of the estimate: a change of the primary estimator, or ln "
        "of a ratio; the power of the test at it is told",
    )
    margin: Rate | None = Field(
        None,
        description="Largest difference that is equivalent to nothing; default: comparison.equivalence_margin where "
        "the question is about the primary estimator, else none",
    )

    @model_validator(mode="after")
    def _has_its_fields(self) -> "Question":
        for field, kinds in (("method", OF_METHOD), ("group", OF_GROUP)):
            if (self.ask in kinds) != (getattr(self, field) is not None):
                verb = "needs" if self.ask in kinds else "has no"
                raise ValueError(f"question '{self.name}' ({self.ask}) {verb} `{field}`: correct it")
        if self.published is not None and self.ask not in TESTED:
            raise ValueError(f"question '{self.name}' ({self.ask}) has no test, so no power: leave out `published`")
        return self


SECTIONS: dict[str, Any] = {
    "questions": (
        list[Question],
        Field([], description="What the study declares, and answers; its tests are one set for Holm's method"),
    )
}


def questions_of(study: "Study") -> list[Question]:
    """The questions of a study, in order."""
    return list(getattr(study, "questions", []))


def margin_of(study: "Study", question: Question) -> float | None:
    """The margin of equivalence of a question, in its own units; None where there is none."""
    if question.margin is not None:
        return question.margin
    return study.comparison.equivalence_margin if question.ask in OF_PRIMARY else None


def declared_tests(study: "Study") -> list[Question]:
    """The questions that are answered by a test: the confirmatory set."""
    return [question for question in questions_of(study) if question.ask in TESTED]


def smallest_p(study: "Study", question: Question) -> float | None:
    """The smallest p that the design gives the test of a question; None where it cannot be told beforehand."""
    seeds = {model.name: len(study.seeds_of(model)) for model in study.models}
    if question.ask == Ask.EFFECT:
        return of_sign_flips(sum(seeds[arm.name] for arm in _arms(study, question)), study.comparison.resamples)
    if question.ask == Ask.CHANGE:
        families = {
            study.family_of(model) for model in study.descendants() if study.method_of(model) == question.method
        }
        return of_sign_flips(len(families), study.comparison.resamples)
    reference = question.reference or study.reference()
    sizes = [seeds.get(str(question.group), 0), seeds.get(reference, 0)]
    if question.ask == Ask.EFFECT_DIFFERENCE:
        by_base = {arm.base: seeds[arm.name] for arm in _arms(study, question)}
        sizes = [by_base.get(str(question.group), 0), by_base.get(reference, 0)]
    if question.ask not in TESTED or not all(sizes):
        return None
    return of_splits(sizes[0], sizes[1], study.comparison.resamples)


def problems(study: "Study") -> Iterator[str]:
    """Questions about what the study has not, and tests that could not reject whatever the data."""
    if questions_of(study) and study.comparison.confirmatory is not None:
        yield "comparison.confirmatory: the questions are what the study declares: leave this field out"
    names = [question.name for question in questions_of(study)]
    bases = [model.name for model in study.bases()]
    level, size = study.comparison.level, len(declared_tests(study))
    for position, question in enumerate(questions_of(study)):
        field = f"questions.{position} ('{question.name}')"
        if names.index(question.name) < position:
            yield f"{field}.name: another question has this name: give each its own"
        for which in ("group", "reference"):
            name = getattr(question, which)
            if name is not None and name not in bases:
                yield f"{field}.{which}: there is no base model '{name}': name one of {', '.join(bases)}"
        if question.ask in (Ask.EFFECT, Ask.EFFECT_DIFFERENCE) and not _arms(study, question):
            yield (
                f"{field}.method: no arm with method '{question.method}' and dose {question.dose} has a placebo: add "
                "models with `placebo: true`, or ask for `change`"
            )
            continue
        if question.ask in (Ask.NOISE, Ask.SHARING) and getattr(study, "noise", None) is None:
            yield f"{field}.ask: {question.ask} needs the section `noise`: add it, or leave the question out"
        if question.ask == Ask.AGREEMENT and getattr(study, "stability", None) is None:
            yield f"{field}.ask: agreement needs the section `stability`: add it, or leave the question out"
        smallest = smallest_p(study, question)
        if smallest is not None and smallest > level / size:
            yield (
                f"{field}: its test can give no p below {smallest:.3g}, above the level {level:g} over {size} declared "
                f"test{'' if size == 1 else 's'}: give the study more seeds, or declare fewer tests"
            )


def _arms(study: "Study", question: Question) -> list[Any]:
    return [arm for arm, _ in arms(study) if arm.method == question.method and arm.dose == question.dose]
