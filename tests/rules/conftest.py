"""A chain of tiny products, each made by the script of its rule, for the tests of the rules that follow."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny import write_study

from headwise.analyses.specialization.jobs import contrast_arguments, evaluation_arguments, pair_arguments
from headwise.attention.jobs import extraction_arguments
from headwise.models.jobs import alignment_arguments, corpus_arguments, tokenizer_arguments, training_arguments
from headwise.study.jobs import prompts_arguments
from headwise.study.parse import load_study
from headwise.study.sections import pair_statistics
from headwise.study.study import Study

RunScript = Callable[..., None]


@dataclass(frozen=True)
class Measurement:
    """What one model at one seed leaves behind."""

    checkpoint: Path
    curve: Path
    tensors: Path
    heads: Path
    pairs: Path
    descriptors: Path
    features: Path
    summary: Path


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where text, prompts and the study file of the tiny study lie."""
    place = tmp_path_factory.mktemp("rules")
    write_study(place)
    return place


@pytest.fixture(scope="session")
def study(folder: Path) -> Study:
    """The tiny study, with the places of its text and prompts in full."""
    study = load_study(folder / "study.yaml")
    sections = {name: getattr(study, name) for name in ("prompts", "corpus")}
    places = {name: each.model_copy(update={"path": str(folder / each.path)}) for name, each in sections.items()}
    return study.model_copy(update=places)


@pytest.fixture(scope="session")
def prompts(folder: Path, study: Study, run_script: RunScript) -> tuple[Path, Path]:
    """The verified prompts and their facts."""
    output = {"prompts": folder / "prompts.jsonl", "facts": folder / "prompts.json"}
    run_script("verify_prompts", input={}, output=output, arguments=prompts_arguments(study))
    return output["prompts"], output["facts"]


@pytest.fixture(scope="session")
def documents(folder: Path, study: Study, run_script: RunScript) -> Path:
    """The corpus; its facts lie beside it as corpus.json."""
    output = {"documents": folder / "documents.jsonl", "facts": folder / "corpus.json"}
    run_script("build_corpus", input={}, output=output, arguments=corpus_arguments(study))
    return output["documents"]


@pytest.fixture(scope="session")
def tokenizer(folder: Path, study: Study, documents: Path, run_script: RunScript) -> Path:
    """The tokenizer's folder."""
    run_script(
        "train_tokenizer",
        input={"documents": documents},
        output={"tokenizer": folder / "tokenizer"},
        arguments=tokenizer_arguments(study),
    )
    return folder / "tokenizer"


@pytest.fixture(scope="session")
def measure(
    folder: Path,
    study: Study,
    prompts: tuple[Path, Path],
    documents: Path,
    tokenizer: Path,
    run_script: RunScript,
) -> Callable[[str, int], Measurement]:
    """Make and measure a model of the tiny study at a seed, once."""
    made: dict[tuple[str, int], Measurement] = {}

    def run(name: str, seed: int) -> Measurement:
        if (name, seed) in made:
            return made[name, seed]
        place = folder / name / f"seed{seed}"
        result = Measurement(
            place / "checkpoint",
            *(place / f"{table}.parquet" for table in list(Measurement.__dataclass_fields__)[1:]),
        )
        model = study.model(name)
        wildcards = {"model": name, "seed": str(seed)}
        made_here = {"checkpoint": result.checkpoint, "curve": result.curve}
        if model.source == "train":
            run_script(
                "train_model",
                input={"documents": documents, "tokenizer": tokenizer},
                output=made_here,
                arguments=training_arguments(study, name, seed),
                wildcards=wildcards,
            )
        else:
            run_script(
                "align_model",
                input={"base": run(model.base, seed).checkpoint, "documents": documents},
                output=made_here,
                arguments=alignment_arguments(study, name, seed),
                wildcards=wildcards,
            )
        run_script(
            "extract_attention",
            input={"checkpoint": result.checkpoint, "prompts": prompts[0], "facts": prompts[1]},
            output={key: getattr(result, key) for key in ("tensors", "heads", "pairs", "descriptors")},
            arguments=extraction_arguments(study, name, seed) | {"pair_statistics": pair_statistics(study)},
            wildcards=wildcards,
        )
        run_script(
            "evaluate_specialization",
            input={"heads": result.heads, "pairs": result.pairs},
            output={"features": result.features, "summary": result.summary},
            arguments=evaluation_arguments(study),
            wildcards=wildcards,
        )
        return made.setdefault((name, seed), result)

    return run


@pytest.fixture(scope="session")
def comparison(
    folder: Path,
    study: Study,
    measure: Callable[[str, int], Measurement],
    prompts: tuple[Path, Path],
    run_script: RunScript,
) -> Path:
    """multi_head against multi_head-sft at both seeds."""
    path = folder / "comparison.parquet"
    run_script(
        "compare_pair",
        input={
            "base": [measure("multi_head", seed).features for seed in (1, 2)],
            "aligned": [measure("multi_head-sft", seed).features for seed in (1, 2)],
            "prompts": prompts[0],
        },
        output={"table": path},
        arguments=pair_arguments(study, "multi_head-sft"),
    )
    return path


@pytest.fixture(scope="session")
def contrasts(
    folder: Path,
    study: Study,
    measure: Callable[[str, int], Measurement],
    comparison: Path,
    run_script: RunScript,
) -> Path:
    """grouped_query against multi_head, over refits."""
    models = [
        ("multi_head", 1),
        ("multi_head", 2),
        ("grouped_query", 1),
        ("multi_head-sft", 1),
        ("multi_head-sft", 2),
    ]
    path = folder / "contrasts.parquet"
    run_script(
        "contrast_models",
        input={"summaries": [measure(*model).summary for model in models], "comparisons": [comparison]},
        output={"table": path},
        arguments=contrast_arguments(study),
    )
    return path
