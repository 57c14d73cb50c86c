# Paths and settings that the rules share. No science, and no import that takes long: every job parses this file.
import os
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.io import contains_wildcard, sourcecache_entry

from headwise.runtime.cluster import cluster_of_run
from headwise.planning.feasibility import check_study
from headwise.models.files import checkpoint_files, corpus_files, tokenizer_files
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
from headwise.models.resources import conversion_needs
from headwise.models.shape import shape_of
from headwise.study.prompts import PromptError, is_url, load_verified
from headwise.runtime.provenance import file_digest
from headwise.runtime.sources import PACKAGE, import_closure
from headwise.study.lock import check_fetched, lock_path
from headwise.study.merging import check_study_file
from headwise.study.models import LoadedModel
from headwise.study.parse import check_paths, parse_study
from headwise.study.section import StudyError
from headwise.study.specialization import ESTIMATOR_FOLDER
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
    """A script and the library files that it depends on: an edit of one reruns the rule, a touch does not.

    Found for rules that have jobs alone: on a cluster every job parses the Snakefile anew.
    """

    @cache
    def files():
        own = ROOT / "scripts" / script
        return [source(path) for path in [own, *import_closure(own), *more]]

    return lambda wildcards: files()


def estimator_files():
    """Modules of the selected estimators; they are loaded by name, so the import closure does not see them."""
    return [ESTIMATOR_FOLDER / f"{name}.py" for name in study.specialization.estimators]


def page_files():
    """What the page of the report is made of besides Python."""
    return [
        path for path in sorted((PACKAGE / "report").iterdir()) if path.suffix in (".css", ".js", ".jinja")
    ]


def inputs_of(files):
    """Files of a study as inputs, but for those with braces in their names, which Snakemake takes for wildcards."""
    return [file for file in map(str, files) if not contains_wildcard(file)]


def digests_of_others(files):
    """The SHA-256 of those, as a parameter: when one changes, the same jobs run again."""
    return {file: file_digest(file) for file in map(str, files) if contains_wildcard(file)}


def without_braces(files):
    """The files of a checkpoint, whose names are few, and no one's choice. Raises WorkflowError where one has braces."""
    files = list(map(str, files))
    for file in files:
        if contains_wildcard(file):
            raise WorkflowError(
                f"{file}: Snakemake takes braces in this name for a wildcard: rename the file"
            )
    return files


def prompt_files():
    """The prompt file and the checksums beside it; none where the study names a URL."""
    path = Path(study.prompts.path)
    return [near(file) for file in (path, path.with_name("SHA256SUMS")) if file.is_file()]


def local_prompts(wildcards):
    """The prompt file and the checksums beside it, as inputs."""
    return list(map(source, inputs_of(prompt_files())))


def names(*sources):
    """Regular expression for the names of the models from these sources; matches nothing where there are none."""
    chosen = [model.name.replace(".", r"\.") for model in study.models if model.source in sources]
    return "|".join(chosen) or "(?!)"


def per_seed(models, pattern):
    """The pattern for every model and each of its seeds."""
    return [
        results(pattern).format(model=model.name, seed=seed)
        for model in models
        for seed in study.seeds_of(model)
    ]


def trained():
    """Models whose weights this study makes."""
    return [model for model in study.models if model.source in ("train", "align")]


def checkpoint_of(name, seed):
    """A model's checkpoint as `load_checkpoint` takes it: its folder, config.json in it, or what was fetched."""
    model = study.model(name)
    if model.source == "folder":
        return os.path.join(model.place("path", seed), "config.json")
    place = results(f"models/{name}/seed{refit_of(model, seed)}")
    return f"{place}.json" if model.source == "hub" else place


def files_of(name, seed):
    """The other files of a checkpoint on disk, so that what changes in it is noticed file by file."""
    model = study.model(name)
    if model.source != "folder":
        return []
    files = without_braces(checkpoint_files(model.place("path", seed)))
    return [file for file in files if file != checkpoint_of(name, seed)]


def refit_of(model, seed):
    """The seed that a checkpoint is kept under; one without refits is kept once, whatever seeds it is measured at."""
    return seed if getattr(model, "has_refits", True) else study.seeds_of(model)[0]


def fetched(*sources):
    """What `fetch_model` writes for all models of these sources."""
    return [
        results(f"models/{model.name}/seed{refit_of(model, seed)}.json")
        for model in study.models
        if model.source in sources
        for seed in study.seeds_of(model)
        if model.downloads(seed)
    ]


def corpus_text(wildcards):
    """The files of a corpus that lies in a folder."""
    return inputs_of(corpus_files(study.corpus))


def unconverted(wildcards):
    """The files that a model of TransformerLens is converted from: on disk, and what says which were fetched."""
    model, seed = study.model(wildcards.model), int(wildcards.seed)
    files = {}
    if model.downloads(seed):
        files["fetched"] = results(f"models/{model.name}/seed{seed}.json")
    if model.repository is None:
        files["weights"] = model.place("weights", seed)
    if model.config is not None:
        files["config"] = model.config
    if model.tokenizer is not None:
        files["tokenizer"] = without_braces(tokenizer_files(model.tokenizer))
    return files


def documents_of(name):
    """The text that a model is trained or aligned on: a descendant's is that of its base."""
    model = study.model(name)
    trained = study.model(model.base) if model.source == "align" else model
    return results(f"{trained.data}/documents.jsonl")


def of_refit(arguments):
    """The arguments of a job about one model at one seed, as Snakemake asks for them."""
    return lambda wildcards: arguments(study, wildcards.model, int(wildcards.seed))


def doubling(base, most=8):
    """A job's request of memory or time, doubled with every attempt up to `most` times the first."""
    return lambda wildcards, attempt: base * min(2 ** (attempt - 1), most)


def shared_memory(base):
    """Memory of a job that shares one of a cluster with others: groups are cut so that a node has room for this."""
    return doubling(base, most=4)


def shared_time(base):
    """Time of a job that shares one of a cluster with others."""
    return doubling(base, most=2)


def needed(field, needs):
    """A job's request of one kind, from what `needs` finds for its wildcards and inputs; memory and time double."""

    def request(wildcards, input, attempt):
        job = needs(wildcards, input)
        if CLUSTER and needs is not fetching:  # which runs where Snakemake does
            CLUSTER.partition_for(job.memory_mb, job.minutes, job.gpus if CLUSTER.gpus else 0)  # or an error
        amount = getattr(job, field)
        return amount if field == "gpus" else amount * 2 ** (attempt - 1)

    return request


def shape(wildcards, checkpoint):
    """How large a model is; `checkpoint` says so where the study does not."""
    return shape_of(study, study.model(wildcards.model), int(wildcards.seed), Path(checkpoint))


def extraction(wildcards, input):
    """What one forward pass per prompt needs, of a rule whose input `checkpoint` is the model."""
    return extraction_request(study, wildcards.model, shape(wildcards, input.checkpoint), PROMPT_COUNT)


def variants(wildcards, input):
    """What the variants of the extraction need."""
    return variants_request(study, wildcards.model, shape(wildcards, input.checkpoint), PROMPT_COUNT)


def training(wildcards, input):
    """What training from scratch needs."""
    return training_request(study, wildcards.model)


def alignment(wildcards, input):
    """What making a descendant needs."""
    return alignment_request(study, wildcards.model)


def fetching(wildcards, input):
    """What a download needs."""
    return fetching_request(study, wildcards.model)


def conversion(wildcards, input):
    """What converting weights of TransformerLens needs."""
    return conversion_needs(shape(wildcards, input.get("weights") or input.fetched))
