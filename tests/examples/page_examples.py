"""A study with questions as its jobs would leave it: the default study, with made-up answers and random numbers."""

from dataclasses import replace
from itertools import cycle, product
from pathlib import Path

import numpy as np
from report_examples import aggregate, write_inputs

from headwise.analyses.controls.control import Control, Outcome
from headwise.analyses.effects.measure import effect_rows
from headwise.analyses.effects.rows import EffectRow, RefitEffect
from headwise.analyses.noise.rows import Heads, NoiseResponse, NoiseSharing, Unit
from headwise.analyses.noise.settings import Region, Scale, Site
from headwise.analyses.questions.rows import AnswerRow, Estimand
from headwise.analyses.questions.settings import OF_PRIMARY, TESTED, Ask, questions_of
from headwise.analyses.stability.names import Analysis, Version, Weights
from headwise.analyses.stability.rows import StabilityRow
from headwise.report.figures import draw_figures
from headwise.report.page import write_page
from headwise.report.rows import Answer
from headwise.study.arms import arms
from headwise.study.parse import load_study
from headwise.study.study import Study
from headwise.tables.files import write_rows
from headwise.tables.frame import frame_of
from headwise.tables.row import Row

MODELS = ("multi_head", "grouped_query")


def answers(study: Study) -> list[Row]:
    """An answer of each kind, in turn."""
    numbers = {"estimate": 0.005, "ci_low": 0.001, "ci_high": 0.009, "alone": 0.002, "n": 10, "unit": "refit"}
    tested = {"p": 0.0566, "p_attainable": 0.00195, "p_adjusted": 0.113}
    return [
        AnswerRow(
            question=question.name,
            title=question.title,
            ask=question.ask,
            method=question.method,
            dose=question.dose if question.ask == Ask.EFFECT else None,
            group=question.group,
            reference=study.reference() if question.ask == Ask.NOISE else None,
            site=question.site if question.ask in (Ask.NOISE, Ask.SHARING) else None,
            claim=question.claim,
            answer=answer,
            estimand=Estimand.ESTIMATOR if question.ask in OF_PRIMARY else Estimand.LOG_RATIO,
            margin=study.comparison.equivalence_margin,
            units_needed=24 if answer == Answer.UNDECIDED else None,
            test="as the study file says",
            tests=2,
            confirmatory=True,
            **numbers,
            **(tested if question.ask in TESTED else {}),
        )
        for question, answer in zip(questions_of(study), cycle(reversed(Answer)), strict=False)
    ]


def refit_effects(study: Study) -> list[RefitEffect]:
    """What arms and placebos did in each refit, at random."""
    draw = np.random.default_rng(12)
    rows = []
    for (arm, placebo), seed in product(arms(study), study.seeds):
        of_arm, of_placebo = (float(draw.normal(0, 0.006)) for _ in range(2))
        rows.append(
            RefitEffect(
                estimator=study.comparison.primary,
                sink="kept",
                method=arm.method,
                dose=arm.dose,
                base=arm.base,
                arm=arm.name,
                placebo=placebo.name,
                seed=seed,
                base_value=0.3,
                arm_change=of_arm,
                placebo_change=of_placebo,
                effect=of_arm - of_placebo,
            )
        )
    return rows


def sharing() -> list[Row]:
    """Shared over independent noise, of the model that shares heads."""
    return [
        NoiseSharing(
            model="grouped_query",
            site=site,
            scale=Scale.RELATIVE,
            region=Region.ALL,
            ratio=1.1,
            log_ratio=0.095,
            log_low=0.01,
            log_high=0.18,
            n=5,
            method="Student's t",
        )
        for site in (Site.KEYS, Site.VALUES)
    ]


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
    effects = refit_effects(study)
    control = {"control": "a model against itself", "basis": "a model", "expected": "0", "outcome": Outcome.PASS}
    for row, rows in (
        (AnswerRow, answers(study)),
        (RefitEffect, effects),
        (EffectRow, list(effect_rows(frame_of(RefitEffect, effects), study.reference(), study.comparison))),
        (NoiseSharing, sharing()),
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
