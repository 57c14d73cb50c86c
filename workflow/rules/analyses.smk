# Paths and settings of the analyses beside specialization. No science, as in common.smk.

REFIT_GROUPS = {group.name: group for group in study.refit_groups()}
STABILITY_TABLES = {
    "stability": "stability",
    "origins": "stability_origins",
    "heads": "stability_head_map",
    "claims": "stability_claims",
}


def analysis_tables():
    """Finished tables of the analyses that the study asks for; each belongs to a part of the report."""
    tables = []
    if study.variants.protocols:
        tables += ["variants", "confounds"]
    if REFIT_GROUPS:
        tables += STABILITY_TABLES.values()
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


def describe_group(wildcards):
    """What is recorded in every table of a group."""
    refits = study.refits_of(REFIT_GROUPS[wildcards.group])
    return {
        "study": study.name,
        "group": wildcards.group,
        "refits": [f"{model} seed {seed}" for model, seed in refits],
    }


def stability_settings(*fields):
    """The fields of the section that a job reads, so that a change of another reruns nothing."""
    return study.stability.model_dump(include=set(fields)) if study.stability else {}
