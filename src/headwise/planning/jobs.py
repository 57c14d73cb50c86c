"""The jobs of a study, counted without Snakemake, which takes half a minute for a thousand models.

A test compares the counts with Snakemake's dry run, so that a rule which is added there is added here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from headwise.study.models import LoadedModel, TrainedModel, TransformerLensModel
from headwise.study.perturbation import perturbed_bases
from headwise.study.study import Study

# Rules in the order of the data, by the file of workflow/rules that has them.
STAGES = {
    "prompts": ("verify_prompts",),
    "models": (
        "build_corpus",
        "build_grammar",
        "train_tokenizer",
        "check_lengths",
        "train_model",
        "align_model",
        "fetch_model",
        "convert_model",
    ),
    "attention": ("extract_attention",),
    "specialization": ("evaluate_specialization", "compare_pair", "contrast_models", "analyse_factors"),
    "variants": ("measure_variants", "gather_variants"),
    "published": ("compute_released",),
    "statistics": ("declare", "check_declaration", "run_controls"),
    "stability": ("probe_refits", "compare_refits", "summarize_stability"),
    "robustness": ("perturb_model", "summarize_perturbations", "recurse_model", "summarize_recursion"),
    "report": ("aggregate", "draw_figures", "write_report", "all"),
}
STAGE_OF = {rule: stage for stage, rules in STAGES.items() for rule in rules}


@dataclass(frozen=True)
class Jobs:
    """Jobs of one rule that take the same.

    subject  the model, group of refits or arm that they are about; empty where a rule runs once
    seeds    one job for each; a rule without seeds has one job, of seed 0
    """

    rule: str
    subject: str = ""
    seeds: tuple[int, ...] = (0,)

    @property
    def count(self) -> int:
        """How many jobs."""
        return len(self.seeds)


def planned_jobs(study: Study) -> list[Jobs]:
    """All jobs of a study of which nothing is there yet, in the order of the data."""
    order = list(STAGE_OF)
    found = [*_once(study), *_of_models(study), *_of_analyses(study)]
    return sorted(found, key=lambda jobs: order.index(jobs.rule))


def _once(study: Study) -> Iterator[Jobs]:
    trained = [model for model in study.models if isinstance(model, TrainedModel)]
    bases, groups = perturbed_bases(study), study.refit_groups()
    ablation = study.stability is not None and "ablation" in study.stability.analyses
    needed = {
        "build_corpus": bool(trained or bases or (groups and ablation)),
        "build_grammar": any(model.data == "grammar" for model in trained),
        "train_tokenizer": bool(trained),
        "check_lengths": bool(trained),
        "gather_variants": bool(study.variants.protocols),
        "compute_released": study.controls.released_results is not None,
        "summarize_stability": bool(groups),
        "summarize_perturbations": bool(bases),
        "summarize_recursion": study.robustness.recursion is not None,
    }
    always = ("verify_prompts", "contrast_models", "analyse_factors", "declare", "check_declaration", "run_controls")
    for rule in (*always, "aggregate", "draw_figures", "write_report", "all"):
        yield Jobs(rule)
    for rule, asked in needed.items():
        if asked:
            yield Jobs(rule)


def _of_models(study: Study) -> Iterator[Jobs]:
    making = {"train": "train_model", "align": "align_model"}
    for model in study.models:
        seeds = tuple(study.seeds_of(model))
        # A checkpoint without refits is kept once, whatever seeds it is measured at.
        kept = seeds if not isinstance(model, LoadedModel) or model.has_refits else seeds[:1]
        if model.source in making:
            yield Jobs(making[model.source], model.name, seeds)
        if isinstance(model, LoadedModel) and (downloaded := tuple(seed for seed in kept if model.downloads(seed))):
            yield Jobs("fetch_model", model.name, downloaded)
        if isinstance(model, TransformerLensModel):
            yield Jobs("convert_model", model.name, kept)
        yield Jobs("extract_attention", model.name, seeds)
        yield Jobs("evaluate_specialization", model.name, seeds)
    for descendant in study.descendants():
        yield Jobs("compare_pair", descendant.name)


def _of_analyses(study: Study) -> Iterator[Jobs]:
    if study.variants.protocols:
        measured: dict[str, list[int]] = {}
        for model, seed in study.measured_with_variants():
            measured.setdefault(model.name, []).append(seed)
        for name, seeds in measured.items():
            yield Jobs("measure_variants", name, tuple(seeds))
    for group in study.refit_groups():
        yield Jobs("probe_refits", group.name)
        yield Jobs("compare_refits", group.name)
    for base in perturbed_bases(study):
        yield Jobs("perturb_model", base.name, tuple(study.seeds_of(base)))
    if study.robustness.recursion is not None:
        for arm in study.robustness.recursion.arms:
            yield Jobs("recurse_model", arm.name, tuple(study.seeds_of(study.model(arm.model))))
