# Paths and settings of the analyses beside specialization. No science, as in common.smk.
from glob import escape, glob
from types import SimpleNamespace

from headwise.study.perturbation import perturbed_bases, probed_descendants

PERTURBED = ("losses", "specialization", "generated", "duplication")
PERTURBATION_TABLES = (
    "noise_response",
    "noise_sensitivity",
    "noise_contrasts",
    "noise_specialization",
    "key_value_duplication",
    "generated_text",
    "probe",
    "probe_discrimination",
    "probe_selection",
)
RECURSION_TABLES = (
    "recursion_generations",
    "recursion_specialization",
    "recursion_survival",
    "recursion_durations",
)
REFIT_GROUPS = {group.name: group for group in study.refit_groups()}
STABILITY_TABLES = ("stability", "stability_origins", "stability_head_map", "stability_claims")


def analysis_tables():
    """Finished tables of the analyses that the study asks for; each belongs to a part of the report."""
    tables = ["declaration", "factors", "controls"]
    if study.variants.protocols:
        tables += ["variants", "confounds"]
    if perturbed_bases(study):
        tables += PERTURBATION_TABLES
    if study.robustness.recursion:
        tables += RECURSION_TABLES
    if REFIT_GROUPS:
        tables += STABILITY_TABLES
    # `snakemake calibration` makes it, and the report shows it from then on.
    if os.path.exists(results("analyses/calibration.parquet")):
        tables += ["calibration"]
    return [results(f"analyses/{table}.parquet") for table in tables]


def per_refit(pattern):
    """The pattern for every refit of the group that a job is about."""

    def files(wildcards):
        refits = study.refits_of(REFIT_GROUPS[wildcards.group])
        return [results(pattern).format(model=model, seed=seed) for model, seed in refits]

    return files


def of_groups(table):
    """A table of every group."""
    return [results(f"stability/{group}/{table}.parquet") for group in REFIT_GROUPS]


def random_refits():
    """Attention of models with random weights, for each group."""
    count = study.stability.random_refits if study.stability else 0
    return [results(f"stability/{{group}}/random{number}.parquet") for number in range(count)]


def perturbed_refits(table):
    """One table of every refit of every base that is perturbed."""
    return per_seed(perturbed_bases(study), f"robustness/{{model}}/seed{{seed}}/{table}.parquet")


def perturbed_names():
    """Regular expression for the names of the bases that are perturbed; matches nothing where there are none."""
    return "|".join(model.name.replace(".", r"\.") for model in perturbed_bases(study)) or "(?!)"


def descendants_of(wildcards):
    """The models that are probed beside their base, at one seed."""
    return probed_descendants(study, wildcards.model, int(wildcards.seed))


def files_of_refit(wildcards):
    """The other files of a base and of its descendants."""
    names = [wildcards.model, *(model.name for model in descendants_of(wildcards))]
    return [file for name in names for file in files_of(name, int(wildcards.seed))]


def arms(pattern):
    """The pattern for every arm of recursive generation and each seed of its model."""
    recursion = study.robustness.recursion
    return [
        results(pattern).format(arm=arm.name, seed=seed)
        for arm in (recursion.arms if recursion else [])
        for seed in study.seeds_of(study.model(arm.model))
    ]


def writer_of(wildcards):
    """Model and seed of an arm, as the wildcards of the rules about models have them."""
    return SimpleNamespace(model=arm_of(study, wildcards.arm).model, seed=wildcards.seed)


def perturbing(wildcards, input):
    """What a base under noise and the probe of its descendants need."""
    seed = int(wildcards.seed)
    return perturbation_request(study, wildcards.model, seed, shape(wildcards, input.base), PROMPT_COUNT)


def recursing(wildcards, input):
    """What an arm of recursive generation needs."""
    writer = writer_of(wildcards)
    return recursion_request(study, writer.model, shape(writer, input.checkpoint), PROMPT_COUNT)


def probing(wildcards, input):
    """What a group of refits needs."""
    refits = study.refits_of(REFIT_GROUPS[wildcards.group])
    places = [SimpleNamespace(model=model, seed=seed) for model, seed in refits]
    shapes = [shape(place, checkpoint) for place, checkpoint in zip(places, input.refits)]
    return refits_request(study, [place.model for place in places], shapes, PROMPT_COUNT)


def released_results():
    """Result files that others released, which controls compute again; none where the study names no folder."""
    folder = study.controls.released_results
    return sorted(glob(os.path.join(escape(folder), "**", "*.json"), recursive=True)) if folder else []
