"""`headwise ...`: the library for people. Each command takes arguments, calls the library, and prints.

Heavy libraries are imported inside the commands, so that help and errors come at once.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from headwise.interface import SHIPPED_PROMPTS, read_results
from headwise.runtime.terminal import accept_every_character

if TYPE_CHECKING:
    from headwise.study.comparison import Comparison

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="A census of attention heads. Snakemake runs whole studies; these commands look at one thing.",
)

StudyFiles = Annotated[
    list[Path], typer.Argument(metavar="STUDY...", help="Study file (YAML); several are merged as by Snakemake")
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--config", metavar="KEY=VALUE", help="As Snakemake's, once for each: --config 'seeds=[1, 2]'"),
]
Checkpoint = Annotated[Path, typer.Argument(help="Folder of a model in the layout of transformers")]
PromptFile = Annotated[
    Path | None,
    typer.Option("--prompts", help=f"Prompt file, .jsonl or .txt. In a checkout of headwise: {SHIPPED_PROMPTS}"),
]
Dtype = Annotated[Literal["float32", "bfloat16", "float16"], typer.Option(help="Precision of the forward pass")]
Template = Annotated[Literal["raw", "chat"], typer.Option(help="chat: prompts in the model's chat template")]
FirstToken = Annotated[
    Literal["tokenizer", "none", "bos"],
    typer.Option(help="What raw text begins with: what the tokenizer itself puts there, nothing, or its BOS token"),
]
MaxTokens = Annotated[int, typer.Option(min=2, help="A prompt with more tokens is an error, never cut")]


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Print what the library has to say about wrong input, without a traceback, and end with exit code 2."""
    try:
        yield
    except (ValueError, OSError) as error:  # all errors of headwise itself are ValueErrors
        print(error, file=sys.stderr)
        raise typer.Exit(2) from error


@app.callback()
def before_every_command() -> None:
    """Prepare standard output."""
    accept_every_character()


@app.command()
@errors_as_sentences()
def verify(study_files: StudyFiles, config: Changes = None) -> None:
    """Check a study file and its prompts, and show what would run. Paths start from the current folder."""
    from headwise.analyses.specialization.settings import Specialization
    from headwise.planning.feasibility import check_study
    from headwise.study.parse import check_paths, load_study
    from headwise.study.prompts import declared_in, load_verified

    study = load_study(*study_files, changes=config or [])
    source = ", ".join(map(str, study_files))
    check_paths(study, Path.cwd(), source)
    prompts, digest = load_verified(study.prompts, Path.cwd())
    check_study(study, prompts, Path.cwd(), source)
    models = Table(title=study.title or study.name)
    for heading in ("model", "source", "base", "method or path", "seeds"):
        models.add_column(heading, overflow="fold")  # never cut: the ends of names may be all that tells them apart
    for model in study.models:
        models.add_row(
            model.name,
            model.source,
            getattr(model, "base", None),
            getattr(model, "path", None) or getattr(model, "method", None),
            ", ".join(map(str, study.seeds_of(model))),
        )
    domains = Counter(prompt.domain for prompt in prompts)
    facts = Table.grid(padding=(0, 2))
    facts.add_row("models × seeds", str(sum(len(study.seeds_of(model)) for model in study.models)))
    facts.add_row("prompts", f"{len(prompts)}: " + ", ".join(f"{count} {name}" for name, count in domains.items()))
    facts.add_row("SHA-256", digest)
    facts.add_row("declared in", declared_in(study.prompts, Path()))
    facts.add_row("estimators", ", ".join(study.section(Specialization).estimators))
    facts.add_row("primary", study.comparison.primary)
    facts.add_row("output", f"results/{study.name}/")
    terminal().print(models, facts)


@app.command()
@errors_as_sentences()
def cost(
    study_files: StudyFiles,
    config: Changes = None,
    measured: Annotated[
        Path | None, typer.Option(help="results/NAME of a run that finished on your machine, to count with its times")
    ] = None,
    measured_study: Annotated[
        list[Path] | None, typer.Option(help="The study file of that run; default: STUDY, as it is written")
    ] = None,
    cluster_file: Annotated[
        Path | None, typer.Option("--cluster", help="slurm/cluster.yaml: say as well what will not fit on its nodes")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON")] = False,
) -> None:
    """Estimate what a study takes before anything runs: jobs, hours, memory and disk, rule by rule."""
    from headwise.planning.estimate import estimate, total
    from headwise.planning.plan import Plan
    from headwise.planning.rates import RATES, measured_rates
    from headwise.planning.table import as_json_text, cost_table, on_cluster
    from headwise.runtime.cluster import read_cluster

    plan = Plan(study_files, config or [])
    cluster = read_cluster(cluster_file) if cluster_file else None
    rates = RATES
    if measured_study and measured is None:
        raise ValueError("--measured-study says what --measured ran: give --measured results/NAME as well, or neither.")
    with Console(stderr=True).status("Snakemake plans the jobs"):  # half a minute for a thousand models
        if measured is not None:
            rates = measured_rates(Plan(measured_study or study_files), measured)
        rows = estimate(plan, rates)
    if as_json:
        print(as_json_text(plan, rows, cluster))
        return
    terminal().print(cost_table(plan, rows, total(rows)))
    if cluster:
        print(f"\n{on_cluster(plan, cluster)}")


@app.command()
@errors_as_sentences()
def extract(
    checkpoint: Checkpoint,
    output: Annotated[Path, typer.Option(help="Folder to write to")],
    prompts: PromptFile = None,
    store: Annotated[
        Literal["tensors", "statistics"], typer.Option(help="statistics: without the attention weights")
    ] = "tensors",
    dtype: Dtype = "float32",
    template: Template = "raw",
    first_token: FirstToken = "tokenizer",
    max_tokens: MaxTokens = 128,
) -> None:
    """Measure the attention of one checkpoint; write weights and statistics as Parquet."""
    from headwise import interface

    interface.extract(
        checkpoint,
        output,
        prompts,
        store=store,
        dtype=dtype,
        template=template,
        first_token=first_token,
        max_tokens=max_tokens,
    )
    for path in sorted(output.glob("*.parquet")):
        print(path)


@app.command()
@errors_as_sentences()
def look(
    checkpoint: Checkpoint,
    layer: Annotated[int, typer.Argument(help="Layer, counted from 0")],
    head: Annotated[int, typer.Argument(help="Head, counted from 0")],
    text: Annotated[str, typer.Option(help="What the model reads")],
    figure: Annotated[Path | None, typer.Option(help="Draw the head here: .svg, .pdf or .vl.json")] = None,
    dtype: Dtype = "float32",
    template: Template = "raw",
    first_token: FirstToken = "tokenizer",
    max_tokens: MaxTokens = 128,
    as_json: Annotated[bool, typer.Option("--json", help="Print all weights as JSON")] = False,
) -> None:
    """Look at one head: what each token of a text attends to."""
    suffixes = (".svg", ".pdf", ".vl.json")
    if figure is not None and not figure.name.endswith(suffixes):
        raise ValueError(f"--figure: {figure} ends with none of {', '.join(suffixes)}: name it so.")
    from headwise import interface

    rows = interface.look(
        checkpoint, text, layer, head, dtype=dtype, template=template, first_token=first_token, max_tokens=max_tokens
    )
    if figure is not None:
        from headwise.report.figures import render
        from headwise.report.head_chart import head_figure
        from headwise.runtime.atomic import atomic

        drawn = render(head_figure(rows, f"{checkpoint.name}, layer {layer}, head {head}"))
        with atomic(figure) as temporary:
            temporary.write_bytes(next(drawn[suffix] for suffix in suffixes if figure.name.endswith(suffix)))
    if as_json:
        print(rows.to_json(orient="records", force_ascii=False))
        return
    table = Table(title=f"{checkpoint}, layer {layer}, head {head}", box=box.SIMPLE_HEAD, show_edge=False)
    for heading in ("token", "attends most to", "then", "then"):
        table.add_column(heading, overflow="fold")
    for _, own in rows.groupby("query"):
        best = own.nlargest(3, "weight")
        cells = [f"{token!r} {weight:.2f}" for token, weight in zip(best["key_token"], best["weight"], strict=True)]
        table.add_row(repr(own["query_token"].iloc[0]), *cells)
    terminal().print(table)


@app.command()
@errors_as_sentences()
def stability(
    refits: Annotated[list[Path], typer.Argument(metavar="REFIT...", help="Folders, one per refit; three or more")],
    prompts: PromptFile = None,
    dtype: Dtype = "float32",
    template: Template = "raw",
    first_token: FirstToken = "tokenizer",
    max_tokens: MaxTokens = 128,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON")] = False,
) -> None:
    """Match the heads of refits: how far they agree above chance on where they look and what they write."""
    from headwise import interface
    from headwise.report.labels import number
    from headwise.tables.frame import records

    rows = interface.stability(
        refits, prompts, dtype=dtype, template=template, first_token=first_token, max_tokens=max_tokens
    )
    if as_json:
        print(rows.to_json(orient="records"))
        return
    table = Table(title=f"{len(refits)} refits", box=box.SIMPLE_HEAD, show_edge=False)
    for heading in ("compared on", "layer", "matched heads", "chance", "of what chance leaves", "low", "high"):
        table.add_column(heading, overflow="fold")
    columns = ("value", "chance", "chance_corrected", "corrected_low", "corrected_high")
    for row in records(rows):
        layer = "all" if row["layer"] is None else f"{row['layer']:.0f}"
        table.add_row(row["measure"], layer, *(number(row[name]) for name in columns))
    terminal().print(table)


@app.command()
@errors_as_sentences()
def compare(
    base: Checkpoint,
    aligned: Checkpoint,
    prompts: PromptFile = None,
    estimators: Annotated[str, typer.Option(help="Names, separated by commas; default: all")] = "",
    primary: Annotated[str, typer.Option(help="The one estimator whose test is confirmatory")] = "hellinger",
    output: Annotated[Path | None, typer.Option(help="Keep statistics and features here; default: not kept")] = None,
    dtype: Dtype = "float32",
    template: Template = "raw",
    first_token: FirstToken = "tokenizer",
    max_tokens: MaxTokens = 128,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON")] = False,
) -> None:
    """Compare how specialized the heads of two checkpoints are: every estimator, with test and interval."""
    from headwise import interface
    from headwise.analyses.specialization.settings import known_estimators
    from headwise.study.comparison import Comparison

    known = known_estimators()
    chosen = list(dict.fromkeys(name.strip() for name in estimators.split(",") if name.strip())) or known
    for option, names in (("estimators", chosen), ("primary", [primary])):
        for name in names:
            if name not in known:
                raise ValueError(f"--{option}: there is no estimator '{name}' here: choose from {', '.join(known)}.")
    if primary not in chosen:
        raise ValueError(
            f"--primary: '{primary}' is not among --estimators: add it there, or give --primary {' or '.join(chosen)}."
        )
    frame = interface.compare(
        base,
        aligned,
        prompts,
        estimators=chosen,
        primary=primary,
        dtype=dtype,
        template=template,
        first_token=first_token,
        max_tokens=max_tokens,
        output=output,
    )
    from headwise.runtime.json_files import json_text
    from headwise.tables.frame import records

    rows = records(frame)
    if as_json:
        print(json_text(rows, "rows", indent=2))
        return
    terminal().print(comparison_table(rows, f"{aligned} against {base}"))
    print(primary_sentence(rows, Comparison.model_validate({"primary": primary})))


@app.command()
@errors_as_sentences()
def noise(
    checkpoint: Checkpoint,
    text: Annotated[Path, typer.Argument(help="Plain text that the model was not trained on")],
    sites: Annotated[
        str, typer.Option(help="attention_output, residual, attention_logits, keys, values; separated by commas")
    ] = "attention_output,keys,values",
    sigmas: Annotated[str, typer.Option(help="In units of the RMS of each layer's clean activations")] = "0.1,0.3,1",
    draws: Annotated[int, typer.Option(min=2, help="Draws of the noise, which the interval is over")] = 20,
    excerpts: Annotated[int, typer.Option(min=1, help="Excerpts of the text, evenly spread")] = 8,
    tokens: Annotated[int, typer.Option(min=2, help="Tokens per excerpt")] = 64,
    dtype: Dtype = "float32",
    first_token: FirstToken = "tokenizer",
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON")] = False,
) -> None:
    """Measure how much a model loses on a text under noise in its activations."""
    from headwise import interface
    from headwise.report.labels import number, signed
    from headwise.tables.frame import records

    rows = interface.noise(
        checkpoint,
        text,
        sites=[site.strip() for site in sites.split(",")],
        sigmas=[float(sigma) for sigma in sigmas.split(",")],
        draws=draws,
        excerpts=excerpts,
        tokens=tokens,
        dtype=dtype,
        first_token=first_token,
    )
    if as_json:
        print(rows.to_json(orient="records"))
        return
    table = Table(title=f"{checkpoint} under noise", box=box.SIMPLE_HEAD, show_edge=False)
    for heading in ("noise in", "σ", "rise of the loss, nats per token", "low", "high"):
        table.add_column(heading, overflow="fold")
    for row in records(rows):
        numbers = (signed(row[name]) for name in ("delta_nll_nats", "ci_low", "ci_high"))
        table.add_row(row["site"], number(row["sigma"]), *numbers)
    terminal().print(table)


@app.command()
@errors_as_sentences()
def new_study(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="Folders, or ORGANISATION/NAME@REVISION; the first is the base"),
    ],
    output: Annotated[Path, typer.Option(help="Study file to write; its name is the name of the study")],
    refits: Annotated[bool, typer.Option("--refits", help="All are refits of one base, to be matched")] = False,
) -> None:
    """Write a commented study file for models that are there: a base with what was made from it, or refits."""
    from headwise.runtime.atomic import atomic
    from headwise.study.new_study import new_study as text_of

    if output.exists():
        raise ValueError(f"{output}: there is such a file already: give another name, or remove it.")
    text = text_of(output.stem, models, SHIPPED_PROMPTS.as_posix(), refits)
    with atomic(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"{output}: snakemake --cores all --configfile {output}")


@app.command()
@errors_as_sentences()
def findings(
    results: Annotated[Path, typer.Argument(help="results/NAME of a study that has run, or its results.json")],
    everything: Annotated[bool, typer.Option("--all", help="Also what does not stand on the first screen")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON, all of them")] = False,
) -> None:
    """Print what a study found, as its report says it."""
    from headwise.runtime.json_files import json_text

    found = read_results(results)
    if as_json:
        print(json_text(found["findings"], "findings", indent=2))
        return
    print(found["study"]["title"] or found["study"]["name"])
    for finding in found["findings"]:
        if finding["headline"] or everything:
            terminal().print(f"- {finding['sentence']}{' ' * bool(finding['numbers'])}{finding['numbers']}")


@app.command()
@errors_as_sentences()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON")] = False) -> None:
    """Check Python, packages, devices, disk, cache and Slurm, and say what to do; exit code 1 if something is wrong."""
    from dataclasses import asdict

    from headwise.runtime.doctor import State, examine
    from headwise.runtime.json_files import json_text

    checks = list(examine(Path.cwd()))
    if as_json:
        print(json_text([asdict(check) for check in checks], "checks", indent=2))
    else:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1))
        for heading in ("", "", "found", "what to do"):
            table.add_column(heading, overflow="fold")
        for check in checks:
            table.add_row(check.state, check.what, check.found, check.remedy)
        terminal().print(table)
    if any(check.state == State.WRONG for check in checks):
        raise typer.Exit(1)


@app.command()
@errors_as_sentences()
def reanalyse(
    folder: Annotated[Path, typer.Argument(help="Folder with released result files (JSON), in any subfolders")],
    output: Annotated[Path, typer.Option(help="Folder for the table and the page")] = Path("reanalysis"),
) -> None:
    """Analyse the released result files of a study again: indices, changes, noise ratios, claimed p-values."""
    from headwise.published.reanalyse import outcome
    from headwise.published.reanalyse import reanalyse as analyse_again

    print(outcome(analyse_again(folder, output)))
    for path in sorted(output.glob("reanalysis.*")):
        print(path)


@app.command()
@errors_as_sentences()
def schema(
    markdown: Annotated[bool, typer.Option("--markdown", help="A reference in Markdown instead")] = False,
    results: Annotated[bool, typer.Option("--results", help="The schema of results.json instead")] = False,
    output: Annotated[
        Path | None,
        typer.Option(help="Write there; of a Markdown file only what stands between its markers is replaced"),
    ] = None,
) -> None:
    """Print the JSON Schema of a study file, for editors; its reference, for readers; or the schema of results.json."""
    from headwise.report.results import results_schema
    from headwise.runtime.atomic import atomic
    from headwise.study.parse import study_schema
    from headwise.study.reference import schema_text, study_reference, with_reference

    if markdown and results:
        raise ValueError("--markdown and --results exclude each other: leave one out.")
    if not markdown:
        text = schema_text(results_schema() if results else study_schema())
    elif output is None:
        text = study_reference()
    else:
        text = with_reference(output)
    if output is None:
        print(text, end="")
        return
    with atomic(output) as temporary:
        temporary.write_text(text, encoding="utf-8")


@app.command()
@errors_as_sentences()
def cancel_orphans(
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only show them")] = False,
    host: Annotated[
        list[str] | None,
        typer.Option(help="Also cancel all jobs that were submitted from this host, where no Snakemake runs any more"),
    ] = None,
) -> None:
    """Cancel the Slurm jobs whose Snakemake was killed on this host. Jobs of a run that goes on are left alone."""
    from headwise.runtime.slurm import cancel, host_name, orphans, unfinished_jobs

    jobs = unfinished_jobs()
    lost = orphans(jobs, host or [])
    if not dry_run:
        cancel(lost)
    for job in lost:
        print(f"{job.number}  {job.rule}  {job.state}  {'would be cancelled' if dry_run else 'cancelled'}")
    elsewhere = sorted({job.host for job in jobs if job not in lost} - {host_name()})
    print(f"{len(lost)} orphans among {len(jobs)} unfinished jobs of headwise.")
    if elsewhere:
        print(f"Jobs submitted from {', '.join(elsewhere)} were left alone: run this there, or give --host.")


def comparison_table(rows: Sequence[Mapping[str, Any]], title: str) -> Table:
    """The rows of `compare_checkpoints` for people, narrow enough for a terminal; minus signs as they can be typed."""
    from headwise.report.labels import MINUS, number, p_value, relative_change, signed

    table = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    table.caption = "low, high: interval of the change; min p: the smallest p attainable"
    table.add_column("estimator", overflow="fold")
    table.add_column("key 0", no_wrap=True)
    for heading in ("base", "aligned", "change", "%", "low", "high", "p", "min p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        cells = [
            *(number(row[key]) for key in ("base_value", "aligned_value")),
            signed(row["delta_absolute"], 3),
            relative_change(row).removesuffix(" %"),
            *(signed(row[key], 3) for key in ("ci_low", "ci_high")),
            *(p_value(row[key]) for key in ("p", "p_attainable")),
        ]
        table.add_row(row["estimator"], row["sink"], *(cell.replace(MINUS, "-") for cell in cells))
    return table


def primary_sentence(rows: Sequence[Mapping[str, Any]], settings: "Comparison") -> str:
    """What the test of the primary estimator says, in the words of the report."""
    from headwise.report.labels import MINUS, interval, number, p_value, signed
    from headwise.report.verdicts import CONFIRMATORY, in_words, verdict

    (row,) = [row for row in rows if row["estimator"] == settings.primary and row["sink"] == "kept"]
    # One confirmatory test: adjusting it changes nothing.
    adjusted = {"p_adjusted": "p", "p_adjusted_attainable": "p_attainable", "p_equivalence_adjusted": "p_equivalence"}
    test = {"role": CONFIRMATORY, "estimate": row["delta_absolute"], **row}
    test |= {name: row[unadjusted] for name, unadjusted in adjusted.items()}
    said = in_words(test | {"verdict": verdict(test, settings)})
    before, after = (number(row[key], 4) for key in ("base_value", "aligned_value"))
    said = (
        f"{settings.primary}: {said}. It goes from {before} to {after}, by {signed(row['delta_absolute'])} "
        f"({100 * (1 - settings.level):g}% interval {interval(row['ci_low'], row['ci_high'])}, p = {p_value(row['p'])} "
        f"with {p_value(row['p_attainable'])} attainable, {row['n']} prompts)."
    )
    return said.replace(MINUS, "-")


def terminal() -> Console:
    """Standard output, wide enough for a table where it is a file; brackets in names are no markup."""
    return Console(width=None if sys.stdout.isatty() else 120, markup=False, highlight=False)
