"""A study with questions as its jobs would leave it: the default study, answered by the tables of docs/findings, with
random numbers for everything else."""

import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from report_examples import aggregate, write_inputs

from headwise.analyses.controls.control import Control, Outcome
from headwise.analyses.noise.rows import Heads, NoiseResponse, Unit
from headwise.analyses.noise.settings import Region, Scale, Site
from headwise.analyses.stability.names import Analysis, Version, Weights
from headwise.analyses.stability.rows import StabilityRow
from headwise.report.figures import draw_figures
from headwise.report.page import write_page
from headwise.study.parse import load_study
from headwise.study.study import Study
from headwise.tables.files import write_rows
from headwise.tables.row import Row

MODELS = ("multi_head", "grouped_query")


def noise_response() -> list[Row]:
    """Lines that rise with the dose, at every site of the study."""
    lines = [(model, Heads.AS_MADE) for model in MODELS] + [("grouped_query", Heads.DUPLICATED)]
    return [
        NoiseResponse(
            model=model,
            heads=heads,
            site=site,
            scale=Scale.RELATIVE,
            region=Region.ALL,
            sigma=sigma,
            delta_nll_nats=sigma * slope,
            ci_low=0.8 * sigma * slope,
            ci_high=1.2 * sigma * slope,
            n=5,
            unit=Unit.REFIT,
            undefined_draws=0,
        )
        for slope, (model, heads) in enumerate(lines, start=1)
        for site, sigma in product((Site.ATTENTION_OUTPUT, Site.KEYS, Site.VALUES), (0.3, 1.0))
    ]


def stability() -> list[Row]:
    """Heads that agree less in later layers, above their chance level."""
    lines = [
        (Version.CORRECTED, Weights.TRAINED),
        (Version.PUBLISHED, Weights.TRAINED),
        (Version.CORRECTED, Weights.RANDOM),
    ]
    return [
        StabilityRow(
            group=group,
            analysis=Analysis.HEAD_STABILITY,
            version=version,
            weights=weights,
            layer=layer,
            value=0.9 - 0.1 * layer,
            ci_low=0.85 - 0.1 * layer,
            ci_high=0.93 - 0.1 * layer,
            chance=0.8 - 0.1 * layer,
            n=10,
        )
        for group, (version, weights), layer in product(MODELS, lines, range(3))
    ]


def write_answered(root: Path, folder: Path) -> Study:
    """Write tables, results.json, figures and report.html of the study into a folder; `root` is the checkout."""
    study = load_study(root / "config" / "config.yaml")
    analyses = folder / "analyses"
    analyses.mkdir(parents=True)
    for path in (root / "docs" / "findings").glob("*.parquet"):
        shutil.copy(path, analyses)
    control = {"control": "a model against itself", "basis": "a model", "expected": "0", "outcome": Outcome.PASS}
    for row, rows in (
        (NoiseResponse, noise_response()),
        (StabilityRow, stability()),
        (Control, [Control(**control)]),
    ):
        write_rows(row, rows, analyses / f"{row.table}.parquet", {"study": study.name})
    measured = write_inputs(study, folder / "inputs", np.random.default_rng(11))
    results = {"tables": folder / "tables", "results": folder / "results.json"}
    aggregate(study, replace(measured, analyses=sorted(analyses.iterdir())), **results)
    draw_figures(study, tables=folder / "tables", folder=folder / "figures")
    write_page(study, **results, figures=folder / "figures", page=folder / "report.html")
    return study
