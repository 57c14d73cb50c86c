"""What a released file can hold, each item with its place."""

from dataclasses import dataclass
from enum import StrEnum

from headwise.statistics.arrays import FloatArray


@dataclass(frozen=True)
class Place:
    """Where something stands: file, keys that lead to it, and the model and seed that it is about, as far as is said.

    seed  as written: seeds are names of runs, and may be larger than any exact float
    """

    file: str
    keys: tuple[str, ...] = ()
    model: str | None = None
    side: str | None = None
    seed: str | None = None

    def __str__(self) -> str:
        # A slash within a key is marked, so that two places never have one name.
        return "/".join(key.replace("/", "\\/") for key in self.keys) or "(top)"

    def below(self, *keys: str) -> "Place":
        """The place of something inside."""
        return Place(self.file, (*self.keys, *keys), self.model, self.side, self.seed)


@dataclass(frozen=True, eq=False)
class Index:
    """A specialization index.

    entropies     (layers, heads) normalised entropies, from which it was computed: its own, or the mean of its seeds';
                  NaN where one is missing or not finite
    correlations  (heads, heads) correlations of heads over layers
    Each is None where the file does not hold it.
    """

    place: Place
    printed: float | None
    entropies: FloatArray | None
    correlations: FloatArray | None


@dataclass(frozen=True, eq=False)
class Pair:
    """A base and its aligned descendant, with the changes printed for them: absolute, and relative in per cent."""

    place: Place
    base: Index
    aligned: Index
    absolute: float | None
    relative_percent: float | None


@dataclass(frozen=True, eq=False)
class NoiseCurve:
    """Perplexity over the size of noise: (k,) each; `slope` as printed, None where it is not.

    left_out  points of the file's that cannot be used
    """

    place: Place
    sigmas: FloatArray
    perplexities: FloatArray
    slope: float | None
    left_out: int = 0


@dataclass(frozen=True)
class Ratio:
    """A printed ratio of slopes of perplexity."""

    place: Place
    printed: float


class Design(StrEnum):
    """What a claim of significance was tested on."""

    SLOPE = "slope"
    CORRELATION = "correlation"
    INDEX = "mean of an index"
    MEAN = "mean"
    GROUPS = "two groups"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Claim:
    """A printed p-value, or a printed verdict "significant", with what is said about its design.

    field        the key of the p, or of the verdict, in the object at `place`
    quantity     what is said to differ from 0, or which groups are said to differ
    p            as printed, None where only a verdict is
    units        observations behind it, None where the file does not say
    significant  the printed verdict, None where only a p is printed
    numbers      estimate and interval that stand beside it: with the p they tell one test from another
    """

    place: Place
    field: str
    quantity: str
    p: float | None
    units: int | None
    design: Design
    significant: bool | None = None
    numbers: tuple[float, ...] = ()


@dataclass(frozen=True)
class Seeds:
    """One number for several seeds.

    repeated  seeds that stand there more than once
    """

    place: Place
    quantity: str
    values: tuple[float, ...]
    repeated: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProbedRegion:
    """An index under noise in one region of a model, per dose.

    series  which probe it belongs to: the keys that lead to it, without seeds and positions
    points  (dose, seed as written or "", index) each; dose 0 is without noise
    """

    place: Place
    series: str
    region: str
    points: tuple[tuple[float, str, float], ...]


@dataclass(frozen=True)
class ProbeEffect:
    """A printed effect of a probe, in per cent: of its chosen cell, or the gap of two of them.

    printed  None where only the cell is named
    model    that an effect is quoted of which another file should hold; None where it is of this file
    cell     region and dose, where they are named
    """

    place: Place
    printed: float | None
    model: str | None = None
    cell: tuple[str, float] | None = None


@dataclass(frozen=True, eq=False)
class RepetitionCurve:
    """Repetition in generated text over the size of noise in one region: (k,) each; `slope` as printed."""

    place: Place
    region: str
    doses: FloatArray
    values: FloatArray
    slope: float


@dataclass(frozen=True)
class RepetitionChange:
    """A printed change of the slope of repetition by alignment, in per cent of the base.

    source  the experiment that it is quoted from, None where it is of this file
    """

    place: Place
    region: str
    percent: float
    source: str | None = None


@dataclass(frozen=True)
class Quoted:
    """A number that a file quotes without the data behind it: a slope of perplexity of a model, or a ratio of slopes.

    source     the experiment that it names, None where it names none
    model      that it names; None for a ratio
    confirmed  false where the file marks its data as not verified
    used       other places of the file that speak of the model
    """

    place: Place
    printed: float
    source: str | None
    model: str | None
    confirmed: bool = True
    used: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScaleRange:
    """Numbers of parameters of the models of one file, and the range that it claims in words: (field, times) each."""

    place: Place
    parameters: tuple[tuple[str, float], ...]
    claimed: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class OtherValue:
    """An index of a model that stands in a file as a reference, or the plain one of a file without a matrix."""

    place: Place
    printed: float


@dataclass(frozen=True)
class Setting:
    """How a file says that it measured: (key, value) each."""

    place: Place
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Spread:
    """A printed standard deviation, error, or width of an interval."""

    place: Place
    field: str
    value: float


@dataclass(frozen=True)
class Failed:
    """A run that ended in an error."""

    place: Place
    reason: str


@dataclass(frozen=True)
class NamedFile:
    """A file that another one names as its source."""

    place: Place
    name: str


@dataclass(frozen=True)
class Unread:
    """A file, or a part of one, that could not be used, and why."""

    place: Place
    reason: str


Item = (
    Index
    | Pair
    | NoiseCurve
    | Ratio
    | Claim
    | Seeds
    | ProbedRegion
    | ProbeEffect
    | RepetitionCurve
    | RepetitionChange
    | Quoted
    | ScaleRange
    | OtherValue
    | Setting
    | Spread
    | Failed
    | NamedFile
    | Unread
)
