"""Checkpoints measured and compared in one call, without a study file."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwise.analyses.specialization.settings import Specialization
from headwise.attention.pair_statistics import PAIR_STATISTICS
from headwise.models.checkpoint import checkpoint_folder
from headwise.planning.feasibility import check_folder, check_pair
from headwise.runtime.parquet import read_arrow
from headwise.runtime.provenance import file_digest
from headwise.study.comparison import Comparison
from headwise.study.extraction import Extraction
from headwise.study.models import Loading
from headwise.study.prompts import read_prompts
from headwise.study.reading import Reading

if TYPE_CHECKING:
    import pandas as pd

    from headwise.analyses.noise.settings import Noise

# Of the random tokens of the induction score and the random orders of heads; prompts do not depend on it.
SEED = 1


def compare_checkpoints(
    base: Path,
    aligned: Path,
    prompts: Path,
    folder: Path,
    extraction: Extraction,
    specialization: Specialization,
    comparison: Comparison,
) -> list[dict[str, Any]]:
    """Measure two checkpoints on a prompt file and compare them.

    Everything on the way is written to `folder`: base/ and aligned/ with statistics, features and summary,
    and comparison.parquet. Returns the rows of the comparison that are about whole models, one per estimator
    and treatment of the first key; their fields are those of `headwise.analyses.specialization.change.Change`.
    """
    # Both, before hours are spent on the first: files before libraries are imported that take seconds, then weights.
    check_pair(checkpoint_folder(base), checkpoint_folder(aligned), read_prompts(prompts), extraction)
    from headwise.analyses.specialization.compare import compare_pair
    from headwise.attention.layers import attention_layers
    from headwise.models.architecture import without_memory
    from headwise.models.configuration import read_config
    from headwise.models.load import verify_loading

    verify_loading(aligned)
    attention_layers(without_memory(read_config(checkpoint_folder(aligned))))
    for name, checkpoint in (("base", base), ("aligned", aligned)):
        measure_checkpoint(checkpoint, prompts, folder / name, extraction, specialization)
    compare_pair(
        [folder / "base" / "features.parquet"],
        [folder / "aligned" / "features.parquet"],
        seeds=[SEED],
        prompts=prompts,
        table=folder / "comparison.parquet",
        names={"base": str(base), "aligned": str(aligned), "family": str(base), "method": None},
        settings=comparison,
    )
    rows = read_arrow(folder / "comparison.parquet").to_pylist()
    return [row for row in rows if row["scope"] == "refit" and row["level"] == "model"]


def measure_checkpoint(
    checkpoint: Path,
    prompts: Path,
    folder: Path,
    extraction: Extraction,
    specialization: Specialization | None = None,
) -> None:
    """Extract a checkpoint's attention into `folder`, and evaluate estimators if `specialization` is given.

    Writes heads, pairs, descriptors and, if `extraction` says so, attention; then features and summary (all .parquet).
    """
    check_folder(checkpoint_folder(checkpoint), read_prompts(prompts), extraction)
    from headwise.analyses.specialization.evaluate import evaluate
    from headwise.attention.extract import extract_attention

    metadata: Mapping[str, Any] = {
        "model": str(checkpoint),
        "seed": SEED,
        "prompts_digest": file_digest(prompts),
    }
    extract_attention(
        checkpoint,
        prompts,
        tensors=folder / "attention.parquet" if extraction.store == "tensors" else None,
        heads=folder / "heads.parquet",
        pairs=folder / "pairs.parquet",
        descriptors=folder / "descriptors.parquet",
        settings=extraction,
        pair_statistics=specialization.pair_statistics() if specialization else PAIR_STATISTICS,
        seed=SEED,
        metadata=metadata,
    )
    if specialization is not None:
        evaluate(
            folder / "heads.parquet",
            folder / "pairs.parquet",
            features=folder / "features.parquet",
            summary=folder / "summary.parquet",
            settings=specialization,
            seed=SEED,
        )


def match_refits(refits: Sequence[Path], prompts: Path, extraction: Extraction) -> "pd.DataFrame":
    """Match the heads of refits: the rows of StabilityRow about whole layers and models, as corrected.

    Raises StabilityError where the checkpoints are no refits of one architecture, or two have the same weights.
    """
    if len(refits) < 2:
        raise ValueError("one refit has nothing to be compared with: give two, or three for an interval")
    read = read_prompts(prompts)
    for refit in refits:
        check_folder(checkpoint_folder(refit), read, extraction)
    from headwise.analyses.stability.compare import compare_refits
    from headwise.analyses.stability.group import GroupFiles
    from headwise.analyses.stability.names import TRAINED, Analysis, Version
    from headwise.analyses.stability.probe import Probes, probe_refits
    from headwise.analyses.stability.settings import Stability
    from headwise.analyses.stability.summarize import TABLES, summarize_stability

    settings = Stability(words=[], random_refits=0, analyses=["heads", "writes"])
    metadata = {"study": "stability", "group": "refits", "refits": [str(refit) for refit in refits]}
    with tempfile.TemporaryDirectory(prefix="headwise-") as temporary:
        folder = Path(temporary)
        for number, refit in enumerate(refits):
            measure_checkpoint(refit, prompts, folder / str(number), extraction)
        files = GroupFiles(*(folder / f"{field.name}.parquet" for field in fields(GroupFiles)))
        probes = Probes(
            beginnings=folder / "beginnings.parquet",
            similarities=folder / "similarities.parquet",
            random=[],
            **{name: getattr(files, name) for name in ("residual", "importance", "losses", "norms", "outputs")},
        )
        readings = [Reading(str(refit), refit, extraction, Loading()) for refit in refits]
        probe_refits(readings, prompts, probes, settings, metadata)
        compare_refits(
            [folder / str(number) / "attention.parquet" for number in range(len(refits))],
            [],
            probes.beginnings,
            probes.similarities,
            pairs=files.pairs,
            heads=files.heads,
            origins=files.origins,
            settings=settings,
            metadata=metadata,
        )
        finished = {row.table: folder / f"{row.table}.parquet" for row in TABLES}
        summarize_stability(
            {field.name: [getattr(files, field.name)] for field in fields(GroupFiles)},
            finished,
            settings,
            Comparison(),
            metadata,
        )
        rows = read_arrow(finished["stability"]).to_pandas()
    kept = (
        rows["analysis"].eq(Analysis.HEAD_STABILITY)
        & rows["version"].eq(Version.CORRECTED)
        & rows["weights"].eq(TRAINED)
        & rows["head"].isna()
    )
    columns = [
        "measure",
        "layer",
        "value",
        "chance",
        "chance_corrected",
        "corrected_low",
        "corrected_high",
        "n",
        "reason",
    ]
    return rows.loc[kept, columns].reset_index(drop=True)


def response_to_noise(checkpoint: Path, text: Path, extraction: Extraction, settings: "Noise") -> "pd.DataFrame":
    """How much the loss on a text rises under noise: the rows of NoiseResponse, whose units are draws of the noise.

    Raises CorpusError where the text is shorter than one excerpt, PerturbationError where a site cannot be reached.
    """
    check_folder(checkpoint_folder(checkpoint), [], extraction)
    passage = text.read_text(encoding="utf-8")
    from headwise.analyses.noise.dose import Subject
    from headwise.analyses.noise.experiment import load_to_perturb
    from headwise.analyses.noise.noise import doses, held_out_text, losses_under_noise
    from headwise.analyses.noise.rows import Heads, LossUnderNoise, NoiseResponse, Unit
    from headwise.analyses.noise.summarize_losses import per_unit, response_rows
    from headwise.models.corpus import Document
    from headwise.models.load import input_device
    from headwise.runtime.progress import track
    from headwise.tables.frame import frame_of

    model, tokenizer = load_to_perturb(Reading(str(checkpoint), checkpoint, extraction, Loading()))
    with tempfile.TemporaryDirectory(prefix="headwise-") as folder:
        documents = Path(folder) / "documents.jsonl"
        document = asdict(Document(id=text.name, title=text.name, text=passage, split="held_out"))
        documents.write_text(json.dumps(document) + "\n", encoding="utf-8")
        held_out = held_out_text(
            documents, model, tokenizer, extraction.first_token, settings.excerpts, settings.tokens
        )
    subject = Subject(str(checkpoint), model, SEED, held_out.inputs.to(input_device(model)), Heads.AS_MADE)
    chosen = doses(settings)
    rows = track(
        losses_under_noise(subject, held_out, chosen, settings.draws), "loss under noise", len(chosen) * settings.draws
    )
    losses = frame_of(LossUnderNoise, rows).assign(seed=SEED, unit=Unit.DRAW)
    return frame_of(NoiseResponse, response_rows(per_unit(losses), Comparison().level))
