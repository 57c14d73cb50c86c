# headwise: from a study file to a report.  `snakemake --cores N` runs config/config.yaml;
# `snakemake --cores N --configfile config/studies/x.yaml` runs another study instead.
import time
from pathlib import Path

from snakemake.utils import min_version

from headwise.analyses import ANALYSES
from headwise.planning.expected import announce
from headwise.report.ending import ending

STARTED = time.monotonic()

min_version("9.27")

# A study given with --configfile stands alone: the default study is not merged under it.
if not workflow.configfiles:

    configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"


wildcard_constraints:
    seed=r"\d+",
    model=names(study.models),


# On a cluster, failures say what Slurm knows of them, and no job waits for what never comes.
onstart:
    if CLUSTER:
        attend(workflow.scheduler, CLUSTER)
    announce(study, workflow, logger)


onsuccess:
    if (
        results("report.html") in {file for job in workflow.dag.jobs for file in job.output}
        and Path(results("results.json")).is_file()
    ):
        for line in ending(
            Path(results("results.json")), results("report.html"), time.monotonic() - STARTED
        ):
            logger.info(line)


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
include: "workflow/rules/published.smk"


for analysis in ANALYSES:

    include: f"workflow/rules/{analysis}.smk"


include: "workflow/rules/report.smk"
