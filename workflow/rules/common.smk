# Paths and settings that the rules share. No science, and no import that takes long: every job parses this file.
import os
from pathlib import Path

from snakemake.exceptions import WorkflowError

from headwise.models.files import checkpoint_files, tokenizer_files
from headwise.prompts import PromptError, is_url, load_verified
from headwise.sources import PACKAGE, import_closure
from headwise.study.lock import check_fetched, lock_path
from headwise.study.models import LoadedModel
from headwise.study.parse import check_paths, parse_study
from headwise.study.section import StudyError
from headwise.study.specialization import ESTIMATOR_FOLDER

ROOT = Path(workflow.basedir)


def near(path):
    """The path as seen from the working folder where it lies below it, else the absolute path."""
    path = Path(os.path.abspath(path))
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


try:
    STUDY_FILE = ", ".join(map(str, workflow.configfiles))
    study = parse_study(config, STUDY_FILE)
    check_paths(study, Path.cwd(), STUDY_FILE)
    DOWNLOADED_PROMPTS = is_url(study.prompts.path)
    if not DOWNLOADED_PROMPTS:
        # Reading the prompts takes milliseconds, and a damaged set is refused before any job starts.
        load_verified(study.prompts, Path.cwd())
    check_fetched(lock_path(Path(near(workflow.configfiles[-1]))), Path("results", study.name, "models"))
except (StudyError, PromptError) as error:
    raise WorkflowError(str(error)) from None

ENVIRONMENT = str(ROOT / "envs" / "headwise.yaml")


def results(path):
    """A path below the folder of this study."""
    return f"results/{study.name}/{path}"


def library(script, *more):
    """A script and the library files that it depends on: an edit of one reruns the rule, a touch does not."""
    script = ROOT / "scripts" / script
    return [near(path) for path in [script, *import_closure(script), *more]]


def estimator_files():
    """Modules of the selected estimators; they are loaded by name, so the import closure does not see them."""
    return [ESTIMATOR_FOLDER / f"{name}.py" for name in study.specialization.estimators]


def page_files():
    """What the page of the report is made of besides Python."""
    return [
        path for path in sorted((PACKAGE / "report").iterdir()) if path.suffix in (".css", ".js", ".jinja")
    ]


def local_prompts(wildcards):
    """The prompt file and the checksums beside it; none where the study names a URL."""
    path = Path(study.prompts.path)
    return [str(file) for file in (path, path.with_name("SHA256SUMS")) if file.is_file()]


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


def analysis_tables():
    """Finished tables of the analyses that the study asks for; each belongs to a part of the report."""
    tables = ["declaration", "factors", "controls"]
    if study.variants.protocols:
        tables += ["variants", "confounds"]
    # `snakemake calibration` makes it, and the report shows it from then on.
    if os.path.exists(results("analyses/calibration.parquet")):
        tables += ["calibration"]
    return [results(f"analyses/{table}.parquet") for table in tables]


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
    files = map(str, checkpoint_files(model.place("path", seed)))
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


def corpus_files(wildcards):
    """The files of a corpus that lies in a folder; the other sources have none there."""
    if study.corpus.source == "standard_library":
        return []
    files = [path for path in Path(study.corpus.path).rglob("*") if path.is_file()]
    return sorted(
        str(path) for path in files if study.corpus.source == "dataset" or path.suffix in (".txt", ".md")
    )


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
        files["tokenizer"] = list(map(str, tokenizer_files(model.tokenizer)))
    return files


def documents_of(name):
    """The text that a model is trained or aligned on: a descendant's is that of its base."""
    model = study.model(name)
    trained = study.model(model.base) if model.source == "align" else model
    return results(f"{trained.data}/documents.jsonl")


def describe(wildcards):
    """What is recorded about a model in every file derived from it."""
    model = study.model(wildcards.model)
    changes = {
        "train": "initialisation and data order",
        "align": "the refit of the base, and which pairs are seen in which order",
    }
    refit = "the weights: each seed names a refit of its own"
    nothing = (
        "nothing in the model: only the random tokens of the induction score and the orders of the head check"
    )
    return {
        "study": study.name,
        "model": model.name,
        "family": study.family_of(model),
        "source": model.source,
        "base": getattr(model, "base", None),
        "method": getattr(model, "method", None),
        "data": getattr(model if model.source != "align" else study.model(model.base), "data", None),
        "seed": int(wildcards.seed),
        "seed_changes": changes.get(model.source, refit if getattr(model, "has_refits", False) else nothing),
    }


def doubling(base):
    """A job's request of memory or time, doubled with every attempt."""
    return lambda wildcards, attempt: base * 2 ** (attempt - 1)


def checkpoint_memory_mb(base):
    """As `doubling`, with room for the weights of a checkpoint that is read from a folder."""

    def request(wildcards, attempt):
        model = study.model(wildcards.model)
        files = Path(model.path).glob("*.safetensors") if model.source == "folder" else []
        # Loading holds the weights up to twice; float32 doubles those of 16 bits.
        return (base + 4 * sum(file.stat().st_size for file in files) // 10**6) * 2 ** (attempt - 1)

    return request
