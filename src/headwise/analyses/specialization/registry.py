"""Estimators of specialization: what each one is, and how to get one by name.

An estimator is one module under `estimators/` whose object `ESTIMATOR` is an `Estimator`; its name is the
module's. Adding a file there is all that it takes: the study file may then name it, and the controls run on it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import numpy.typing as npt

from headwise.analyses.specialization.measured import Measured, defined_mean
from headwise.analyses.specialization.settings import known_estimators
from headwise.statistics.arrays import FloatArray

NO_VALUE = "undefined in every prompt"


@dataclass(frozen=True)
class Companion:
    """A number that is reported beside an estimator, to say what the estimator's value is made of.

    name        as it appears in the column `scope` of summary.parquet
    definition  formula or sentence
    summary     maps mean features (layers, units) to one number, or to (layers,) numbers where `per_layer`
    features    like an estimator's; None: the features of the estimator itself
    per_layer   whether `summary` gives one number per layer
    undefined   why there is no value where `summary` gives NaN
    """

    name: str
    definition: str
    summary: Callable[[FloatArray], npt.ArrayLike]
    features: Callable[[Measured, str], FloatArray] | None = None
    per_layer: bool = False
    undefined: str = NO_VALUE


@dataclass(frozen=True)
class Estimator:
    """One way to put a number on how specialized the heads of a model are.

    A model's value is `summary(mean over prompts of features)`. All controls, tests and intervals follow from
    these two functions: a change of labels, a resample or a left-out layer is another mean of features.

    name            of the module
    definition      formula
    source          author, year, equation
    low, high       range of values; infinite where there is none
    features        (measured, sink) → float64 (prompts, layers, units), NaN where undefined
    summary         mean features (..., layers, units) → (...), NaN where undefined, without warnings
    per_layer       True: there is one unit, the features are the estimator's own values per prompt and layer,
                    and the summary is linear in them. False: a value exists for a model only
    sinks           treatments of key 0 that the estimator is defined for: "kept", "dropped"
    minimum_heads   fewer heads per layer leave it undefined
    minimum_layers  fewer layers leave it undefined
    undefined       why there is no value where `summary` gives NaN although there are heads and layers enough
    companions      what is reported beside the value
    """

    name: str
    definition: str
    source: str
    low: float
    high: float
    features: Callable[[Measured, str], FloatArray]
    summary: Callable[[FloatArray], FloatArray]
    per_layer: bool = True
    sinks: tuple[str, ...] = ("kept", "dropped")
    minimum_heads: int = 2
    minimum_layers: int = 1
    undefined: str = NO_VALUE
    companions: tuple[Companion, ...] = ()

    def undefined_because(self, heads: int, layers: int) -> str | None:
        """Why there is no value for that many heads per layer and layers; None where there can be one."""
        if heads < self.minimum_heads:
            return f"too few heads per layer: {heads}, at least {self.minimum_heads} needed"
        if layers < self.minimum_layers:
            return f"too few layers: {layers}, at least {self.minimum_layers} needed"
        return None


def estimator(name: str) -> Estimator:
    """The estimator of that name; imports its module alone.

    Raises ValueError, naming the known estimators, where there is none of that name, and TypeError where the
    module does not define it.
    """
    if name not in known_estimators():
        raise ValueError(f"unknown estimator '{name}': choose from {', '.join(known_estimators())}")
    module = import_module(f"headwise.analyses.specialization.estimators.{name}")
    found = getattr(module, "ESTIMATOR", None)
    if not isinstance(found, Estimator) or found.name != name:
        raise TypeError(f"{module.__file__} defines no estimator '{name}': add ESTIMATOR = Estimator(name='{name}', …)")
    return found


def mean_over_layers(mean_features: FloatArray) -> FloatArray:
    """Mean over the layers that are defined, of estimators with one unit: (..., layers, 1) → (...)."""
    return defined_mean(mean_features[..., 0], axis=-1)
