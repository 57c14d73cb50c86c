"""What jobs ask for, against the peak of memory that the same work takes in a process of its own."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from attention_examples import random_words, save_checkpoint, tiny_model
from models_examples import VOCABULARY, write_corpus, write_tokenizer
from tiny import write_prompts
from transformers import LlamaConfig, LlamaForCausalLM

from headwise.analyses.noise.bases import perturbation_settings
from headwise.analyses.recursion.settings import Recursion
from headwise.analyses.stability.settings import Stability
from headwise.attention.pair_statistics import PAIR_STATISTICS
from headwise.models.resources import Needs, alignment_needs, extraction_needs, training_needs
from headwise.models.shape import shape_of_decoder, shape_of_folder
from headwise.planning.plan import Plan
from headwise.runtime.provenance import file_digest
from headwise.study.extraction import Extraction
from headwise.study.models import Loading
from headwise.study.reading import reading
from headwise.study.training import Decoder, Dpo, Training

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells the peak of a process on Linux"),
]
# A request is at least what is taken, and at most so many times as much.
FACTOR = 2.5
PEAK = r"""
import re
print(int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]) / 1024)
"""
TRAIN = """
import json, sys
from pathlib import Path
from headwise.models.train import train_model
from headwise.study.training import Decoder, Training
folder, shape, training = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
train_model(folder / "documents.jsonl", folder / "tokenizer", Decoder(**shape), Training(**training), 1,
            folder / "base", folder / "base.parquet", {})
"""
ALIGN = """
import json, sys
from pathlib import Path
from headwise.models.align import align_model
from headwise.study.training import Dpo
folder, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
align_model(folder / "base", folder / "documents.jsonl", "dpo", Dpo(**settings), 1, folder / "dpo",
            folder / "dpo.parquet", {})
"""
EXTRACT = """
import json, sys
from pathlib import Path
from headwise.attention.extract import extract_attention
from headwise.runtime.provenance import file_digest
from headwise.study.extraction import Extraction
folder, settings, statistics = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
paths = {name: folder / f"{name}.parquet" for name in ("tensors", "heads", "pairs", "descriptors")}
paths["tensors"] = paths["tensors"] if settings["store"] == "tensors" else None
extract_attention(folder / "base", folder / "prompts.jsonl", settings=Extraction(**settings),
                  pair_statistics=statistics, seed=1, metadata={}, **paths)
"""

READING = """
import json, sys
from pathlib import Path
from pydantic import TypeAdapter
from headwise.study.reading import Reading
folder, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
documents, prompts = folder / "documents.jsonl", folder / "prompts.jsonl"
read = TypeAdapter(Reading).validate_python
reading = read({**json.loads(sys.argv[3]), "checkpoint": folder / "base"})
"""
PERTURB = (
    READING
    + """
from headwise.analyses.noise.experiment import Outputs, Settings, perturb_refit
settings = TypeAdapter(Settings).validate_python(settings)
outputs = Outputs(**{name: folder / f"{name}.parquet" for name in Outputs.__dataclass_fields__})
perturb_refit(reading, [], documents, prompts, settings, 1, outputs, {})
"""
)
PROBE = (
    READING
    + """
from dataclasses import replace
from headwise.analyses.stability.probe import Probes, probe_refits
from headwise.analyses.stability.settings import Stability
refits = [reading, replace(reading, checkpoint=folder / "other")]
names = ("beginnings", "similarities", "residual", "importance", "losses", "norms", "outputs")
tables = [folder / f"{name}.parquet" for name in names]
stability = Stability(**settings)
random = [folder / f"random{number}.parquet" for number in range(stability.random_refits)]
probe_refits(refits, prompts, Probes(*tables, random=random), stability, {"refits": ["one", "two"]}, documents)
"""
)
RECURSE = (
    READING
    + """
from headwise.analyses.recursion.chain import recurse
from headwise.analyses.recursion.settings import Recursion
recursion = Recursion(**settings)
recurse(reading.checkpoint, prompts, recursion.arms[0], recursion, reading.extraction, reading.loading, ["hellinger"],
        1, folder / "state", folder / "generations.parquet", folder / "specialization.parquet", {})
"""
)
# The shape of SmolLM2-135M, but for its 30 layers: nearly all memory is its words.
WORDS, SMOLLM2 = 49_152, {"hidden_size": 576, "num_attention_heads": 9, "num_key_value_heads": 3}


@pytest.fixture(scope="module", params=[{}, {"layers": 6, "hidden": 512, "head_width": 64, "feed_forward": 1536}])
def zoo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Decoder]:
    """A corpus, a tokenizer and prompts, and the shape of a decoder: that of the default study, and one of 23 million
    weights."""
    folder = tmp_path_factory.mktemp("zoo")
    write_tokenizer(folder, write_corpus(folder))
    write_prompts(folder / "prompts.jsonl")
    return folder, Decoder(**request.param)


def test_jobs_ask_for_the_memory_that_they_take_and_not_much_more(zoo: tuple[Path, Decoder]) -> None:
    folder, decoder = zoo
    corpus, shape = (folder / "documents.jsonl").stat().st_size, shape_of_decoder(decoder, VOCABULARY)
    training = Training(steps=2, warmup=1, evaluate_every=1)
    dpo, extraction = Dpo(steps=2, warmup=1), Extraction(device="cpu")
    # Each job needs what the one before it made.
    jobs: list[tuple[str, list[object], Needs]] = [
        (
            TRAIN,
            [decoder.model_dump(), training.model_dump()],
            training_needs(shape, training, corpus),
        ),
        (ALIGN, [dpo.model_dump()], alignment_needs(shape, dpo, decoder.positions, corpus)),
        (
            EXTRACT,
            [extraction.model_dump(), list(PAIR_STATISTICS)],
            extraction_needs(shape, extraction, Loading(), 12, PAIR_STATISTICS),
        ),
    ]
    for code, arguments, needs in jobs:
        took = peak_megabytes(code, folder, *arguments)
        assert took <= needs.memory_mb <= FACTOR * took, code


@pytest.mark.parametrize(
    ("kind", "tokens", "dtype"), [("gpt2", 4096, "float32"), ("llama", 8192, "bfloat16"), ("bloom", 2048, "float32")]
)
def test_long_prompts_ask_for_what_their_way_of_capture_takes(
    kind: str, tokens: int, dtype: str, tmp_path: Path
) -> None:
    """In tiles of float32, in tiles of the model's own eager attention, and whole."""
    positions = "n_positions" if kind == "gpt2" else "max_position_embeddings"
    checkpoint = save_checkpoint(tiny_model(kind, **{positions: tokens}), tmp_path / "base")
    prompt = {"id": "long", "domain": "none", "text": random_words(tokens, seed=0)}
    (tmp_path / "prompts.jsonl").write_text(json.dumps(prompt) + "\n", encoding="utf-8")
    settings = Extraction(device="cpu", store="statistics", max_tokens=tokens, dtype=dtype)
    needs = extraction_needs(shape_of_folder(checkpoint), settings, Loading(), 1, ["hellinger"])
    took = peak_megabytes(EXTRACT, tmp_path, settings.model_dump(), ["hellinger"])
    assert took <= needs.memory_mb <= FACTOR * took


@pytest.fixture(scope="module")
def many_words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, prompts, and two models of one layer with the vocabulary of a real one and random weights."""
    folder = tmp_path_factory.mktemp("words")
    tokenizer = write_tokenizer(folder, write_corpus(folder))
    write_prompts(folder / "prompts.jsonl")
    for name, seed in (("base", 1), ("other", 2)):
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=WORDS, num_hidden_layers=1, intermediate_size=1536, tie_word_embeddings=True, **SMOLLM2
        )
        LlamaForCausalLM(config).save_pretrained(folder / name)
        shutil.copytree(tokenizer, folder / name, dirs_exist_ok=True)
    return folder


def plan_of(folder: Path) -> Plan:
    experiments = {
        "noise": {
            "models": ["m"],
            "sites": ["residual", "attention_logits"],
            "absolute": [0.1],
            "relative": [],
            "draws": 1,
            "excerpts": 32,
            "duplicate": ["m"],
            "generated_text": {"prompts": 1, "new_tokens": 4, "sigmas": [0.0, 0.1]},
        },
        "recursion": {
            "arms": [{"name": "a", "model": "m", "mode": "continue"}],
            "generations": 1,
            "degradation": {"consecutive": 1},
            "new_tokens": 4,
        },
    }
    prompts = folder / "prompts.jsonl"
    content = {
        "name": "example",
        "prompts": {"path": str(prompts), "sha256": file_digest(prompts)},
        "models": [
            {"name": name, "source": "folder", "path": str(folder / place)}
            for name, place in (("m", "base"), ("other", "other"))
        ],
        "extraction": {"device": "cpu"},
        "stability": {"random_refits": 2, "groups": [{"name": "g", "models": ["m", "other"]}]},
        **experiments,
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(content))
    return Plan([folder / "study.yaml"])


@pytest.mark.parametrize(
    ("rule", "subject", "code"),
    [("perturb_model", "m", PERTURB), ("recurse_model", "a", RECURSE), ("probe_refits", "g", PROBE)],
)
def test_jobs_of_a_model_with_many_words_take_what_is_said_before(
    many_words: Path, rule: str, subject: str, code: str
) -> None:
    plan = plan_of(many_words)
    study = plan.study
    settings = {
        "perturb_model": perturbation_settings(study, "m"),
        "recurse_model": study.section(Recursion).model_dump(),
        "probe_refits": study.section(Stability).model_dump(),
    }[rule]
    took = peak_megabytes(code, many_words, settings, reading(study, study.models[0]))
    (needs,) = [jobs.needs for jobs in plan.jobs if (jobs.rule, jobs.subject) == (rule, subject)]
    assert took <= needs.memory_mb <= 2 * took


def peak_megabytes(code: str, folder: Path, *arguments: object) -> float:
    """The peak of memory of the code in a process of its own."""
    command = [sys.executable, "-c", code + PEAK, str(folder), *map(json.dumps, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return float(done.stdout.splitlines()[-1])
