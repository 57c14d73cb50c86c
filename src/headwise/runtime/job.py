"""What a rule gives to its script, handed to the one library function that does the work.

The signature of that function is the contract between the two. A parameter gets what the rule calls by its name: a file
of `input` or `output`, a value of `params.arguments` or `params.untracked`, else a wildcard or a resource. Parameters
`inputs` and `outputs` get all files of one side, as a mapping or a dataclass of paths. A value that has the name of an
input says how that checkpoint is read, and gets its path as `checkpoint`; in lists, one by one.
"""

import inspect
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from headwise.runtime.devices import own_devices
from headwise.runtime.json_files import read_json
from headwise.runtime.logs import logged

if TYPE_CHECKING:
    from snakemake.iocontainers import Namedlist, Snakemake

# An input that no function reads: the rule runs again when one of these files changes.
LIBRARY = "library"
# An output that no function writes, and an input that none reads: files that Snakemake touches, which say what else is
# in the others.
MARKS = "marks"


class JobError(ValueError):
    """A rule and the function of its script do not fit; the message names rule, function and parameter."""


def run(function: Callable[..., object], snakemake: "Snakemake") -> None:
    """Call a rule's function with `arguments`, in the rule's log, with its GPUs.

    What the function prints goes to the log, and an error ends the process (`logged`). Where the rule has the resource
    `gpu`, the function holds so many GPUs and sees no other, none if it is 0.
    """
    gpus = snakemake.resources.get("gpu")
    with logged(snakemake.log[0]), nullcontext() if gpus is None else own_devices(gpus):
        function(**arguments(function, snakemake))


def arguments(function: Callable[..., object], snakemake: "Snakemake") -> dict[str, Any]:
    """The arguments of a rule's function by name, each of the type that the signature says.

    Plain values become sections of a study, dataclasses, paths and numbers, as pydantic makes them from a type. Where
    the rule reads the facts of the prompts, `metadata` gets their digest as `prompts_digest`.

    Raises JobError for a value or an output that the function does not take, an output with the name of something else,
    a parameter that the rule does not give, and a value of another type.
    """
    where = f"rule {snakemake.rule}, {function.__name__}"
    parameters = inspect.signature(function, eval_str=True).parameters
    inputs, outputs = _paths(snakemake.input), _paths(snakemake.output)
    values = {**(snakemake.params.get("arguments") or {}), **(snakemake.params.get("untracked") or {})}
    if "metadata" in values and "facts" in inputs:
        values["metadata"] = values["metadata"] | {"prompts_digest": read_json(inputs["facts"])["sha256"]}
    for name in values.keys() & inputs.keys():
        values[name] = _with_checkpoint(values[name], inputs.pop(name), f"{where}: {name}")
    taken = {*parameters, *(outputs if "outputs" in parameters else ())}
    _refuse(f"{where}: no parameter for", {*outputs, *values} - taken)
    _refuse(f"{where}: an output has the name of something else:", outputs.keys() & {*inputs, *values} & {*parameters})
    surroundings = {**dict(snakemake.resources.items()), **dict(snakemake.wildcards.items())}
    given = {**surroundings, **inputs, **outputs, "inputs": inputs, "outputs": outputs, **values}
    required = {name for name, parameter in parameters.items() if parameter.default is parameter.empty}
    _refuse(f"{where}: the rule does not give", required - given.keys())
    return {
        name: _typed(given[name], parameter.annotation, f"{where}: {name}")
        for name, parameter in parameters.items()
        if name in given
    }


def _paths(files: "Namedlist[Any]") -> dict[str, Any]:
    """The named files of a rule, each a path or a list of paths."""
    return {
        name: Path(value) if isinstance(value, str) else [Path(each) for each in value]
        for name, value in files.items()
        if name not in (LIBRARY, MARKS)
    }


def _with_checkpoint(value: Any, path: Path | list[Path], where: str) -> Any:
    if isinstance(path, Path):
        return {**value, "checkpoint": path}
    if len(value) != len(path):
        raise JobError(f"{where}: {len(value)} values for {len(path)} checkpoints")
    return [_with_checkpoint(*each, where) for each in zip(value, path, strict=True)]


def _refuse(problem: str, names: Iterable[str]) -> None:
    if names := sorted(names):
        raise JobError(f"{problem} {', '.join(names)}")


def _typed(value: Any, annotation: Any, where: str) -> Any:
    try:
        return TypeAdapter(annotation).validate_python(value)
    except ValidationError as error:
        lines = [f"{where}{''.join(f'.{part}' for part in each['loc'])}: {each['msg']}" for each in error.errors()]
        raise JobError("\n".join(lines)) from None
