# Paths and settings that the rules share. No science, and no import that takes long: every job parses this file.
import os
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.io import contains_wildcard, sourcecache_entry

from headwise.models.places import check_places, checkpoint_of, files_of, per_seed
from headwise.runtime.cluster import cluster_of_run
from headwise.planning.feasibility import check_study
from headwise.study.prompts import PromptError, is_url, load_verified
from headwise.runtime.provenance import file_digest
from headwise.runtime.sources import import_closure, write_record
from headwise.study.lock import check_fetched, lock_path
from headwise.study.merging import check_study_file
from headwise.study.parse import check_paths, parse_study
from headwise.study.section import StudyError
from headwise.analyses.specialization.settings import ESTIMATOR_FOLDER, Specialization
from headwise.runtime.watch import attend

# The checkout, also where another workflow uses this one as a module: this file's own place, not the main Snakefile's.
ROOT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parents[1]
IS_MODULE = not ROOT.samefile(workflow.basedir)


def near(path):
    """The path as seen from the working folder where it lies below it, else the absolute path."""
    path = Path(os.path.abspath(path))
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


try:
    if set("{}") & set(str(ROOT)):
        raise StudyError(
            f"{ROOT}: Snakemake takes braces in the name of this folder for a wildcard: rename it"
        )
    STUDY_FILE = ", ".join(map(str, workflow.configfiles)) or "the configuration of the module"
    if workflow.is_main_process:
        # Snakemake has read these files, and has dropped the first of two sections with one name. A workflow that uses
        # this one as a module may read numbers and dates as it likes.
        for configfile in workflow.configfiles:
            check_study_file(configfile, values=not IS_MODULE)
    study = parse_study(config, STUDY_FILE)
    check_paths(study, Path.cwd(), STUDY_FILE)
    DOWNLOADED_PROMPTS = is_url(study.prompts.path)
    PROMPT_COUNT = 1000  # of a set that is still to be downloaded
    if not DOWNLOADED_PROMPTS:
        # Reading the prompts takes milliseconds, and a damaged set is refused before any job starts.
        prompts = load_verified(study.prompts, Path.cwd())[0]
        PROMPT_COUNT = len(prompts)
    if workflow.is_main_process:
        # Jobs, each of which reads this file anew, need not do it again.
        check_study(study, [] if DOWNLOADED_PROMPTS else prompts, Path.cwd(), STUDY_FILE)
        check_places(study)
    # Commits of branches are kept beside the study file; the configuration of a module may have no file.
    LOCKED_STUDY = near([f"{study.name}.yaml", *workflow.configfiles][-1])
    check_fetched(lock_path(Path(LOCKED_STUDY)), Path("results", study.name, "models"))
except (StudyError, PromptError) as error:
    raise WorkflowError(str(error)) from None

# Nodes that every request must fit on, where the profile for a cluster is in use.
CLUSTER = cluster_of_run()
ENVIRONMENT = str(ROOT / "envs" / "headwise.yaml")


def results(path):
    """A path below the folder of this study."""
    return f"results/{study.name}/{path}"


def source(path):
    """A file of the checkout as an input: jobs have it with the workflow, also where results lie in an object store."""
    return sourcecache_entry(near(path), near(path))


def library(script, *more):
    """The record of a script and of the library files that it depends on: an edit of one reruns the rule, a touch does
    not. Rules that share a script have the same `more`.

    Made for rules that have jobs alone, and renewed by the main process alone: what jobs of a run begin with is what its
    records say, also where someone edits while it runs; and on a cluster every job parses the Snakefile anew.
    """

    @cache
    def record():
        # With Snakemake's own records, which a process that shares none with others has in a folder of its own.
        # Each in its own: Snakemake lists a folder once, and takes what is written there afterwards for missing.
        path = Path(workflow.persistence.path, "headwise", study.name, script, "library.sha256")
        if workflow.is_main_process or not path.is_file():
            own = ROOT / "scripts" / script
            write_record(path, [own, *import_closure(own), *more])
        return source(path)

    return lambda wildcards: record()


def estimator_files():
    """Modules of the selected estimators; they are loaded by name, so the import closure does not see them."""
    return [ESTIMATOR_FOLDER / f"{name}.py" for name in study.section(Specialization).estimators]


def inputs_of(files):
    """Files of a study as inputs, but for those with braces in their names, which Snakemake takes for wildcards."""
    return [file for file in map(str, files) if not contains_wildcard(file)]


def digests_of_others(files):
    """The SHA-256 of those, as a parameter: when one changes, the same jobs run again."""
    return {file: file_digest(file) for file in map(str, files) if contains_wildcard(file)}


def prompt_files():
    """The prompt file and the checksums beside it; none where the study names a URL."""
    path = Path(study.prompts.path)
    return [near(file) for file in (path, path.with_name("SHA256SUMS")) if file.is_file()]


def local_prompts():
    """The prompt file and the checksums beside it, as inputs."""
    return list(map(source, inputs_of(prompt_files())))


def prompts_as_gate():
    """The prompts as what lengths are checked of: new ones train nothing again, nor does new code of the check. Once the
    tokenizer is there, both count whenever Snakemake starts."""
    return [ancient(file) for file in ([results("prompts.jsonl")] if DOWNLOADED_PROMPTS else local_prompts())]


def finished(tables):
    """Where the finished tables of an analysis go, by name."""
    return {table: results(f"analyses/{table}.parquet") for table in tables}


def names(models):
    """Regular expression for the names of these models; matches nothing where there are none."""
    return "|".join(model.name.replace(".", r"\.") for model in models) or "(?!)"


def by(*wildcard_names):
    """What makes of a function of the study and of these wildcards one of wildcards, as Snakemake calls it."""

    def given(wildcards, function):
        values = {name: getattr(wildcards, name) for name in wildcard_names}
        if "seed" in values:
            values["seed"] = int(values["seed"])
        try:
            return function(study, *values.values())
        except StudyError as error:
            raise WorkflowError(str(error)) from None

    return lambda function: lambda wildcards: given(wildcards, function)


of_model, of_refit, of_group, of_arm = by("model"), by("model", "seed"), by("group"), by("arm", "seed")


def doubling(most=8, **amounts):
    """Requests of memory in MB and time in minutes, doubled with every attempt up to `most` times the first."""

    def request(amount):
        return lambda wildcards, attempt: amount * min(2 ** (attempt - 1), most)

    return {name: request(amount) for name, amount in amounts.items()}


def shared(mem_mb, runtime):
    """Of a job that shares one of a cluster with others: groups are cut so that a node has room and time for it."""
    return doubling(mem_mb=mem_mb, most=4) | doubling(runtime=runtime, most=2)


def needed(needs, gpu=False, local=False):
    """What `needs` finds for a job's wildcards and inputs; memory and time double with every attempt. A job that is not
    `local` must fit on the cluster. The GPU is asked for where the rule can use one."""

    def request(field):
        def amount(wildcards, input, attempt):
            job = needs(study, wildcards, input, PROMPT_COUNT)
            if CLUSTER and not local:
                CLUSTER.partition_for(
                    job.memory_mb, job.minutes, job.gpus if CLUSTER.gpus else 0
                )  # or an error
            return getattr(job, field) * (1 if field == "gpus" else 2 ** (attempt - 1))

        return amount

    fields = {"mem_mb": "memory_mb", "runtime": "minutes"} | ({"gpu": "gpus"} if gpu else {})
    return {name: request(field) for name, field in fields.items()}
