"""The memory and GPUs that jobs ask for, at their first attempt."""

from headwise.models.resources import Needs, conversion_needs
from headwise.planning.jobs import Jobs
from headwise.planning.plan import Plan
from headwise.planning.requests import (
    alignment_request,
    extraction_request,
    fetching_request,
    perturbation_request,
    recursion_request,
    refits_request,
    training_request,
    variants_request,
)

# What rules ask for that need the same in every study, in MB, as workflow/rules says it; a test compares.
SAME_MB = {
    "verify_prompts": 500,
    "build_corpus": 1000,
    "build_grammar": 1000,
    "train_tokenizer": 2000,
    "check_lengths": 500,
    "evaluate_specialization": 1000,
    "compare_pair": 2000,
    "contrast_models": 2000,
    "analyse_factors": 1000,
    "gather_variants": 1000,
    "declare": 500,
    "check_declaration": 500,
    "compute_released": 2000,
    "run_controls": 2000,
    "summarize_stability": 2000,
    "summarize_perturbations": 2000,
    "summarize_recursion": 2000,
    "aggregate": 2000,
    "draw_figures": 2000,
    "write_report": 2000,
    "all": 0,
}


def request(plan: Plan, jobs: Jobs) -> Needs:
    """What each of these jobs asks for; minutes are 0 where they do not depend on the study."""
    if jobs.rule in SAME_MB:
        return Needs(SAME_MB[jobs.rule], 0)
    study, name, prompts = plan.study, jobs.subject, len(plan.characters)
    if jobs.rule in ("probe_refits", "compare_refits"):
        assert study.stability is not None, "only groups of refits are probed"
        if jobs.rule == "compare_refits":
            return Needs(1000 + 2 * study.stability.memory_mb, 0)
        (group,) = [group for group in study.refit_groups() if group.name == name]
        refits = [refit for refit, _ in study.refits_of(group)]
        return refits_request(study, refits, [plan.shape(refit) for refit in refits], prompts)
    if jobs.rule == "recurse_model":
        writer = arm_model(plan, name)
        return recursion_request(study, writer, plan.shape(writer), prompts)
    if jobs.rule == "perturb_model":
        return perturbation_request(study, name, jobs.seeds[0], plan.shape(name), prompts)
    if jobs.rule == "train_model":
        return training_request(study, name)
    if jobs.rule == "align_model":
        return alignment_request(study, name)
    if jobs.rule == "fetch_model":
        return fetching_request(study, name)
    if jobs.rule == "convert_model":
        return conversion_needs(plan.shape(name))
    of_extraction = {"extract_attention": extraction_request, "measure_variants": variants_request}
    return of_extraction[jobs.rule](study, name, plan.shape(name), prompts)


def arm_model(plan: Plan, arm: str) -> str:
    """The model that writes an arm of recursive generation."""
    recursion = plan.study.robustness.recursion
    return next(each.model for each in recursion.arms if each.name == arm) if recursion else ""
