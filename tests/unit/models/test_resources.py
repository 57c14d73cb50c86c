"""What jobs ask for: how it grows with the model and the prompt, and when a GPU is among it."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import yaml

from headwise.analyses.noise.needs import perturbation_request
from headwise.analyses.noise.settings import Noise
from headwise.analyses.recursion.needs import recursion_request
from headwise.analyses.stability.needs import refits_request
from headwise.analyses.stability.settings import Stability
from headwise.analyses.variants.needs import variants_needs
from headwise.analyses.variants.settings import Variant
from headwise.attention.needs import extraction_request
from headwise.models.resources import (
    ABLATED_AT_ONCE,
    EVALUATION_BATCH,
    GPU_BYTES,
    LARGE,
    LOGITS_BYTES,
    MB,
    Needs,
    alignment_needs,
    conversion_needs,
    corpus_bytes,
    extraction_needs,
    fetching_needs,
    loss_bytes,
    texts_at_once,
    training_needs,
)
from headwise.models.shape import Shape
from headwise.study.data import Corpus
from headwise.study.extraction import Extraction
from headwise.study.models import Loading, TrainedModel
from headwise.study.study import study_model
from headwise.study.training import Dpo, Sft, Training

SMALL = Shape(parameters=10_000_000, stored_bytes=40_000_000, layers=4, heads=8, hidden=256, vocabulary=1000)
SEVEN = Shape(
    parameters=7_000_000_000, stored_bytes=14_000_000_000, layers=32, heads=32, hidden=4096, vocabulary=32_000
)


def extraction(shape: Shape = SMALL, loading: Loading | None = None, **settings: object) -> Needs:
    return extraction_needs(shape, Extraction(**settings), loading or Loading(), 100, ["hellinger"])


def test_memory_holds_the_weights_in_the_precision_of_the_run() -> None:
    stored_as_run = extraction(SEVEN, dtype="bfloat16", store="statistics")
    assert 14e9 / MB < stored_as_run.memory_mb < 14e9 / MB + 2000
    # Loading converts: the file is in memory beside what it becomes.
    converted = extraction(SEVEN, dtype="float32", store="statistics")
    assert converted.memory_mb - stored_as_run.memory_mb == pytest.approx(28e9 / MB, rel=0.01)


def test_memory_grows_with_one_layer_of_attention_on_one_prompt() -> None:
    short, long = (extraction(store="statistics", max_tokens=tokens).memory_mb for tokens in (1024, 4096))
    layer = 4 * SMALL.heads * (4096**2 - 1024**2) / MB
    assert 2 * layer < long - short < 5 * layer
    deeper = extraction(replace(SMALL, layers=100), store="statistics", max_tokens=4096)
    assert deeper.memory_mb == long
    assert extraction(store="tensors", max_tokens=4096).memory_mb > long


def test_in_tiles_memory_does_not_grow_with_heads_times_entries() -> None:
    tiled = replace(SMALL, whole_attention=False)
    long = {"store": "statistics", "max_tokens": 32768}
    more_heads = replace(tiled, heads=32)
    assert extraction(more_heads, **long).memory_mb - extraction(tiled, **long).memory_mb < 100
    assert extraction(SMALL, **long).memory_mb > 9 * extraction(tiled, **long).memory_mb


def test_what_wants_the_weights_themselves_asks_for_whole_attention() -> None:
    tiled, settings = replace(SMALL, whole_attention=False), Extraction(max_tokens=32768)
    padded = [Variant(name="padded", padding="left", pad_to=512)]
    models = [{"name": "m", "source": "train", "decoder": {"positions": 32768}}]
    content = {"name": "example", "prompts": {"path": "p"}, "models": models, "stability": {}}
    content["recursion"] = {"arms": [{"name": "a", "model": "m", "mode": "continue"}]}
    study = study_model().model_validate({**content, "extraction": settings.model_dump()})
    asking: list[Callable[[Shape], Needs]] = [
        lambda shape: variants_needs(shape, settings, Loading(), padded, 100, ["hellinger"]),
        lambda shape: perturbation_request(study, "m", 1, shape, 100),
        lambda shape: recursion_request(study, "m", shape, 100),
        lambda shape: refits_request(study, ["m"], [shape], 100),
    ]
    for ask in asking:
        assert ask(tiled) == ask(SMALL)
    whole, in_tiles = (extraction_request(study, "m", shape, 100).memory_mb for shape in (SMALL, tiled))
    assert whole - in_tiles > 11 * SMALL.heads * 32768**2 / MB


def test_comparing_entries_pair_by_pair_takes_longer() -> None:
    settings = Extraction(max_tokens=1024, device="cpu")
    with_pairs, without = (
        extraction_needs(SMALL, settings, Loading(), 100, names) for names in (["js_divergence"], ["hellinger"])
    )
    assert with_pairs.minutes > without.minutes
    assert with_pairs.memory_mb == without.memory_mb


@pytest.mark.parametrize(
    ("shape", "device", "gpus"),
    [(SMALL, "auto", 0), (SMALL, "cuda", 1), (SMALL, "cpu", 0), (SEVEN, "auto", 1), (SEVEN, "cpu", 0)],
)
def test_a_gpu_is_asked_for_where_the_study_or_the_size_wants_one(shape: Shape, device: str, gpus: int) -> None:
    assert extraction(shape, device=device, dtype="bfloat16").gpus == gpus


def test_weights_are_spread_over_as_many_gpus_as_they_fill() -> None:
    spread = Loading(device_map="auto")
    large = replace(SEVEN, parameters=int(1.5 * GPU_BYTES / 2), stored_bytes=int(1.5 * GPU_BYTES))
    assert extraction(large, spread, dtype="bfloat16").gpus == 2
    assert extraction(large, dtype="bfloat16").gpus == 1  # on one, as the study says
    assert extraction(large, Loading(device_map="auto", quantization="4bit"), dtype="bfloat16").gpus == 1
    assert extraction(SEVEN, spread, dtype="bfloat16").gpus == 1
    assert extraction(large, spread, dtype="bfloat16", device="cpu").gpus == 0


def test_a_large_model_takes_a_cpu_much_longer() -> None:
    on_gpu, on_cpu = (extraction(SEVEN, device=device, dtype="bfloat16").minutes for device in ("auto", "cpu"))
    assert on_cpu > 10 * on_gpu
    assert SEVEN.parameters > LARGE


def test_variants_need_the_memory_of_the_widest_and_the_time_of_all() -> None:
    study = Extraction(dtype="bfloat16", max_tokens=64, store="statistics", device="cpu")
    variants = [Variant(name="padded", padding="left", pad_to=512), Variant(name="exact", dtype="float32")]
    needs = variants_needs(SEVEN, study, Loading(), variants, 100, [])
    each = [
        extraction_needs(SEVEN, study.model_copy(update=change), Loading(), 100, [])
        for change in ({"max_tokens": 512}, {"dtype": "float32"})
    ]
    assert needs == Needs(max(e.memory_mb for e in each), sum(e.minutes for e in each))


def test_training_holds_weights_gradients_and_moments() -> None:
    small, large = (
        training_needs(replace(SMALL, parameters=parameters), Training(), 10**6).memory_mb
        for parameters in (10**7, 10**8)
    )
    assert large - small == pytest.approx(16 * 9 * 10**7 / MB, abs=2)
    assert training_needs(SMALL, Training(), 10**6).gpus == 0
    assert training_needs(SMALL, Training(device="cuda"), 10**6).gpus == 1
    assert training_needs(SMALL, Training(steps=100_000), 0).minutes > 300


def test_alignment_by_preferences_holds_a_reference() -> None:
    sft, dpo = (alignment_needs(SMALL, settings, 128, 0).memory_mb for settings in (Sft(batch=4), Dpo(batch=2)))
    assert dpo - sft == pytest.approx(4 * SMALL.parameters / MB, abs=2)


def test_the_loss_on_texts_needs_their_logits_up_to_a_bound_or_those_of_one_text() -> None:
    words = [replace(SMALL, vocabulary=count) for count in (50_000, 100_000, 200_000)]
    short = [loss_bytes(shape, 64, 128) for shape in words]
    assert max(short) < 4 * LOGITS_BYTES
    assert texts_at_once(8, 50_000, 128) == LOGITS_BYTES // (4 * 50_000 * 128)
    long = [loss_bytes(shape, 64, 4096) for shape in words]
    assert long[2] - long[0] == pytest.approx(150_000 * 4096 * 4 * 3)
    assert texts_at_once(8, 200_000, 4096) == texts_at_once(1000, 100, 4096) == 1


def test_models_of_the_default_study_read_their_texts_together() -> None:
    """What is read at once changes rounding: on these models nothing is divided, whatever the bounds are."""
    study = study_model().model_validate(yaml.safe_load(Path("config/config.yaml").read_text(encoding="utf-8")))
    noise, stability = study.section(Noise), study.section(Stability)
    for model in study.bases():
        assert isinstance(model, TrainedModel)
        at_once = partial(texts_at_once, study.decoder_of(model).heads, study.tokenizer.vocabulary)
        assert at_once(noise.tokens) >= noise.excerpts
        assert at_once(stability.ablation_tokens) >= ABLATED_AT_ONCE * stability.ablation_excerpts
        assert at_once(study.training_of(model).tokens) >= EVALUATION_BATCH


def test_jobs_that_compute_a_loss_ask_for_more_where_there_are_more_words() -> None:
    models = [{"name": "m", "source": "train"}]
    recursion = {"arms": [{"name": "a", "model": "m", "mode": "continue"}]}
    content = {"name": "example", "prompts": {"path": "p"}, "models": models, "stability": {}, "recursion": recursion}
    study = study_model().model_validate({**content, "noise": {}})
    one_text = study_model().model_validate({**content, "noise": {"tokens": 256, "excerpts": 1}})
    asking: list[Callable[[Shape], Needs]] = [
        lambda shape: perturbation_request(one_text, "m", 1, shape, 100),
        lambda shape: recursion_request(study, "m", shape, 100),
        lambda shape: refits_request(study, ["m"], [shape], 100),
        lambda shape: training_needs(shape, Training(), 0),
        lambda shape: alignment_needs(shape, Sft(), 128, 0),
    ]
    for ask in asking:
        assert ask(replace(SMALL, vocabulary=2_000_000)).memory_mb > ask(SMALL).memory_mb + 300
    assert extraction_request(study, "m", SMALL, 100) == extraction_request(
        study, "m", replace(SMALL, vocabulary=2_000_000), 100
    )


def test_what_is_there_at_the_same_time_adds_up() -> None:
    models = [{"name": "m", "source": "train", "decoder": {"key_value_heads": 2}}]
    content = {"name": "example", "prompts": {"path": "p"}, "models": models, "stability": {"random_refits": 0}}
    plain, twin = (
        study_model().model_validate({**content, "noise": {"duplicate": duplicate}}) for duplicate in ([], ["m"])
    )
    weights = 4 * SMALL.parameters / MB
    more = (
        perturbation_request(twin, "m", 1, SMALL, 100).memory_mb
        - perturbation_request(plain, "m", 1, SMALL, 100).memory_mb
    )
    assert 2 * weights <= more < 3 * weights
    random = study_model().model_validate({**content, "stability": {"random_refits": 3}})
    ask = [refits_request(study, ["m"] * 2, [SMALL] * 2, 100).memory_mb for study in (plain, random)]
    streams = 3 * 2 * SMALL.layers * 4000 * SMALL.hidden * 4 / MB
    assert ask[1] - ask[0] == pytest.approx(weights + 2 * streams, abs=2)  # what heads write, too


def test_downloads_and_conversions_follow_the_size() -> None:
    assert fetching_needs(SEVEN).minutes > fetching_needs(SMALL).minutes
    assert fetching_needs(None).minutes == 24 * 60
    assert conversion_needs(SEVEN).memory_mb > 3 * 4 * SEVEN.parameters / MB


def test_the_size_of_a_corpus(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("12345")
    assert corpus_bytes(Corpus(source="text", path=str(tmp_path)), tmp_path.iterdir()) == 5
    data_set = Corpus(source="dataset", path="org/data", rows=2000)
    assert corpus_bytes(data_set, []) > corpus_bytes(data_set.model_copy(update={"rows": 1000}), []) > 10**6
    assert corpus_bytes(Corpus(), []) > 10**6
