# headwise: from a study file to a report.  `snakemake --cores N` runs config/config.yaml;
# `snakemake --cores N --configfile config/studies/x.yaml` runs another study instead.
from snakemake.utils import min_version

min_version("9.27")

# A study given with --configfile stands alone: the default study is not merged under it.
if not workflow.configfiles:

    configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


wildcard_constraints:
    seed=r"\d+",


include: "workflow/rules/common.smk"
include: "workflow/rules/analyses.smk"


# On a cluster, failures say what Slurm knows of them, and no job waits for what never comes.
onstart:
    if CLUSTER:
        attend(workflow.scheduler, CLUSTER)


rule all:
    """The report, the results and every table and figure of the study."""
    input:
        results("report.html"),
        results("results.json"),
        results("tables"),
        results("figures"),


include: "workflow/rules/prompts.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/attention.smk"
include: "workflow/rules/specialization.smk"
include: "workflow/rules/variants.smk"
include: "workflow/rules/published.smk"
include: "workflow/rules/statistics.smk"
include: "workflow/rules/stability.smk"
include: "workflow/rules/robustness.smk"
include: "workflow/rules/report.smk"
