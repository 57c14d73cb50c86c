"""What the shipped studies need, from the same functions that their jobs request resources by.

python benchmarks/study_needs.py
"""

from pathlib import Path

from headwise.models.resources import Needs, corpus_bytes, extraction_needs, fetching_needs, training_needs
from headwise.models.shape import Shape, shape_of
from headwise.prompts import load_verified
from headwise.study.models import HubModel, Model, TrainedModel
from headwise.study.parse import load_study
from headwise.study.study import Study

COLUMNS = (
    "study",
    "checkpoints",
    "download, GB",
    "trained, GB",
    "largest job, GB",
    "GPUs of a job",
    "fetching, h",
    "training, h",
    "extraction, h",
)
STUDIES = Path(__file__).resolve().parent.parent / "config" / "studies"


def hours(needs: list[Needs]) -> str:
    """Hours of all jobs together, apart for those with a GPU; of several GPUs each counts."""
    on_gpu = sum(each.minutes * each.gpus for each in needs) / 60
    on_cpu = sum(each.minutes for each in needs if not each.gpus) / 60
    parts = [f"{amount:,.0f} {of}" for amount, of in ((on_gpu, "GPU"), (on_cpu, "CPU")) if amount]
    return " + ".join(parts) or "none"


def row(name: str, study: Study) -> str:
    root = STUDIES.parent.parent
    prompts = len(load_verified(study.prompts, root)[0])
    refits: list[tuple[Model, int, Shape]] = [
        (model, seed, shape_of(study, model, seed, Path())) for model in study.models for seed in study.seeds_of(model)
    ]
    statistics = study.specialization.pair_statistics()
    extraction = [
        extraction_needs(shape, study.extraction_of(model), study.loading_of(model), prompts, statistics)
        for model, _, shape in refits
    ]
    training = [
        training_needs(
            shape, study.training_of(model), study.tokenizer.vocabulary, corpus_bytes(study.corpus, iter(()))
        )
        for model, _, shape in refits
        if isinstance(model, TrainedModel)
    ]
    fetching = [fetching_needs(shape) for model, _, shape in refits if isinstance(model, HubModel)]
    downloads = sum(shape.stored_bytes for model, _, shape in refits if not isinstance(model, TrainedModel))
    made = sum(shape.stored_bytes for model, _, shape in refits if isinstance(model, TrainedModel))
    memory = max(needs.memory_mb for needs in [*extraction, *training]) / 1000
    cells = (
        f"`{name}`",
        len(refits),
        f"{downloads / 1e9:,.0f}",
        f"{made / 1e9:,.0f}",
        f"{memory:,.0f}",
        max(needs.gpus for needs in [*extraction, *training]),
        hours(fetching),
        hours(training),
        hours(extraction),
    )
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))
    for path in sorted(STUDIES.glob("*.yaml")):
        if not path.stem.endswith(".lock"):
            print(row(path.stem, load_study(path)))


if __name__ == "__main__":
    main()
