"""Fetching models: from a hub that answers on this machine, from a cache without one, and what cannot be fetched."""

import hashlib
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from attention_examples import save_checkpoint, tiny_model
from hub_server import Hub, serving
from huggingface_hub import constants
from mirror import add_snapshot, build_mirror
from safetensors.torch import save_file
from transformers import LlamaConfig

from headwise.models.checkpoint import CheckpointError, origin, weight_digests, weights_digest
from headwise.models.hub import FetchError, fetch_model, fetched_folder
from headwise.models.load import load_checkpoint
from headwise.models.shape import shape_at
from headwise.study.lock import check_fetched, lock_path, read_lock
from headwise.study.models import Download, Facts
from headwise.study.section import StudyError

COMMIT, NEXT = "a" * 40, "b" * 40
LLAMA = Download(repository="org/llama", revision="main", weights=True)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in shards, and beside it what many repositories hold besides."""
    folder = tmp_path_factory.mktemp("saved")
    model = tiny_model("llama")
    save_checkpoint(model, folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    for name in ("README.md", "pytorch_model.bin", "consolidated.safetensors", "modeling_own.py", "flax_model.msgpack"):
        (folder / name).write_bytes(name.encode() * 100)
    return folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an empty cache, where nothing reaches the internet."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


@pytest.fixture
def hub(saved: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with the checkpoint as org/llama, on this machine."""
    with serving(Hub({"org/llama": saved}, {"org/llama": {"main": COMMIT, "refs/pr/1": NEXT}}, (COMMIT, NEXT))) as hub:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield hub


def fetch(place: Path, *downloads: Download, name: str = "seed1.json") -> Path:
    output = place / "models" / "llama" / name
    fetch_model(downloads, place / "study.yaml", output)
    return output


def test_another_model_than_the_study_says_is_refused_before_its_weights(hub: Hub, place: Path) -> None:
    facts = Facts(parameters=50_000, layers=3, hidden=32, heads=8, key_value_heads=4, head_width=8)
    with pytest.raises(CheckpointError, match="heads is 8 in the study and 4"):
        fetch(place, LLAMA.model_copy(update={"facts": facts}))
    assert not list((place / "cache").rglob("*.safetensors"))


def test_needed_files_are_fetched_and_described_and_no_others(hub: Hub, place: Path, saved: Path) -> None:
    output = fetch(place, LLAMA)
    (source,) = json.loads(output.read_text())["sources"]
    assert (source["repository"], source["revision"], source["commit"]) == ("org/llama", "main", COMMIT)
    shards = {path.name for path in saved.glob("model-*.safetensors")}
    assert len(shards) > 1
    tokenizer = {"tokenizer.json", "tokenizer_config.json"}
    assert set(source["files"]) == shards | tokenizer | {
        "config.json",
        "generation_config.json",
        "model.safetensors.index.json",
    }
    assert set(hub.requested) == set(source["files"])
    for name, facts in source["files"].items():
        content = (saved / name).read_bytes()
        assert facts == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert str(place) not in output.read_text()


def test_what_was_fetched_loads_as_what_was_saved(hub: Hub, place: Path, saved: Path) -> None:
    output = fetch(place, LLAMA)
    (fetched_folder(output) / "consolidated.safetensors").write_bytes(b"put there by another tool")
    tokens = torch.arange(3, 9)[None]
    loaded, expected = (load_checkpoint(checkpoint)[0](tokens).logits for checkpoint in (output, saved))
    assert torch.equal(loaded, expected)
    assert weights_digest(output) == weights_digest(saved)
    assert origin(output) == {"repository": "org/llama", "revision": "main", "commit": COMMIT}


def test_a_branch_is_looked_up_once(hub: Hub, place: Path) -> None:
    first = fetch(place, LLAMA).read_bytes()
    lock = lock_path(place / "study.yaml")
    assert lock.name == "study.lock.yaml"
    assert yaml.safe_load(lock.read_text()) == {"org/llama": {"main": COMMIT}}
    hub.branches["org/llama"]["main"] = NEXT
    assert fetch(place, LLAMA).read_bytes() == first
    fetch(place, LLAMA.model_copy(update={"revision": "refs/pr/1"}))
    assert read_lock(lock) == {"org/llama": {"main": COMMIT, "refs/pr/1": NEXT}}


def test_a_commit_needs_no_lock_file(hub: Hub, place: Path) -> None:
    fetch(place, LLAMA.model_copy(update={"revision": COMMIT}))
    assert not lock_path(place / "study.yaml").exists()


def test_weights_that_another_tool_put_beside_the_shards_are_refused(hub: Hub, place: Path) -> None:
    output = fetch(place, LLAMA)
    folder = fetched_folder(output)
    save_file({"a": torch.ones(1)}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: weights that something else put into the cache"):
        weight_digests(output)


@pytest.mark.parametrize("content", ["{}", '{"sources": []}', '{"sources": [3]}', "[]", "{"])
def test_a_file_that_was_not_written_by_fetching_is_no_checkpoint(content: str, tmp_path: Path) -> None:
    path = tmp_path / "any.json"
    path.write_text(content)
    for read in (fetched_folder, weight_digests, origin, load_checkpoint, shape_at):
        with pytest.raises(CheckpointError, match=rf"{path}: (not a record of a model|damaged|holds no JSON object)"):
            read(path)


def test_the_second_time_nothing_is_downloaded(hub: Hub, place: Path) -> None:
    first = fetch(place, LLAMA).read_bytes()
    hub.requested.clear()
    assert fetch(place, LLAMA).read_bytes() == first
    assert hub.requested == []


def test_a_download_that_was_cut_off_continues(hub: Hub, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    hub.limit = 5000
    first = fetch(place, LLAMA)
    assert hub.limit is None
    assert hub.ranges == ["model-00001-of-00008.safetensors"]
    assert weight_digests(first)


def test_named_files_are_fetched_alone(hub: Hub, place: Path) -> None:
    output = fetch(place, Download(repository="org/llama", revision="main", files=("pytorch_model.bin",)))
    assert hub.requested == ["pytorch_model.bin"]
    assert (fetched_folder(output) / "pytorch_model.bin").is_file()


def test_code_is_fetched_only_for_a_model_that_is_trusted(hub: Hub, place: Path) -> None:
    fetch(place, LLAMA.model_copy(update={"own_code": True}))
    assert "modeling_own.py" in hub.requested


def test_a_tokenizer_is_fetched_without_weights(hub: Hub, place: Path) -> None:
    fetch(place, Download(repository="org/llama", revision="main"))
    assert set(hub.requested) == {"config.json", "tokenizer.json", "tokenizer_config.json"}


def without(*patterns: str) -> Callable[[Path], None]:
    def remove(folder: Path) -> None:
        for pattern in patterns:
            for path in folder.glob(pattern):
                path.unlink()

    return remove


def saying(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))

    return change


def adapted(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")


def only_adapted(folder: Path) -> None:
    adapted(folder)
    (folder / "config.json").unlink()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (without("model*safetensors*"), r"pickled weights alone \(pytorch_model.bin\).*pull requests.*source: folder"),
        (without("model*safetensors*", "*.bin"), "has no model.safetensors: choose a repository"),
        (without("config.json"), "has no config.json: choose a repository in the layout of transformers"),
        (without("tokenizer*"), "has no tokenizer: choose a repository with tokenizer.json"),
        (
            saying(model_type="own", auto_map={"AutoModelForCausalLM": "modeling_own.Model"}),
            "no architecture 'own'.*`trust_remote_code: true`",
        ),
        (adapted, r"org/llama at main: an adapter \(adapter_config\.json\) lies beside the weights.*merge_and_unload"),
        (only_adapted, r"org/llama at main: an adapter alone \(adapter_config\.json\).*merge it into its base"),
        (
            saying(quantization_config={"quant_method": "new"}),
            "quant_method is 'new', which transformers does not",
        ),
        (
            saying(rope_parameters={"rope_type": "new"}),
            "rope_parameters.rope_type is 'new', which",
        ),
        (saying(num_hidden_layers="3"), "num_hidden_layers is '3', and must be a whole number"),
    ],
)
def test_what_cannot_be_used_is_refused_before_weights_are_downloaded(
    damage: Callable[[Path], None], sentence: str, hub: Hub, place: Path, saved: Path
) -> None:
    folder = place / "damaged"
    folder.mkdir()
    for path in saved.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    damage(folder)
    hub.folders["org/llama"] = folder
    with pytest.raises((FetchError, CheckpointError), match=sentence):
        fetch(place, LLAMA)
    assert not {name for name in hub.requested if not name.startswith(("config", "tokenizer"))}
    assert not (place / "models" / "llama" / "seed1.json").exists()


def test_a_gated_repository_names_the_page_and_the_token(hub: Hub, place: Path) -> None:
    hub.gated.add("org/llama")
    with pytest.raises(
        FetchError, match=f"is gated: accept its licence on {hub.url}/org/llama .*`hf auth login`.*HF_TOKEN"
    ):
        fetch(place, LLAMA)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"repository": "org/absent"}, "there is no repository org/absent on http.*: correct `repository`"),
        ({"revision": "v9"}, "org/llama has no branch, tag or commit 'v9': correct `revision`"),
        ({"revision": "c" * 40}, "org/llama has no branch, tag or commit 'c{40}': correct `revision`"),
        ({"files": ("absent.pt",)}, "org/llama at 'main' lacks a file .*: correct its name"),
        ({"repository": "org/a--b"}, "'org/a--b' is no name of a repository"),
    ],
)
def test_what_the_hub_does_not_have_is_named(changes: dict[str, Any], sentence: str, hub: Hub, place: Path) -> None:
    with pytest.raises(FetchError, match=sentence):
        fetch(place, LLAMA.model_copy(update=changes))


def test_without_a_network_the_command_for_a_login_node_is_given(
    hub: Hub, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = "http://127.0.0.1:9"
    monkeypatch.setattr(constants, "ENDPOINT", nowhere)
    with pytest.raises(
        FetchError, match=r"could not be fetched from http://127.0.0.1:9 .*continues where it stopped.*"
    ) as error:
        fetch(place, LLAMA)
    assert f"snakemake fetch --cores 1 --configfile {place}/study.yaml" in str(error.value)


# --- a cache, and no hub ---


def config(**changes: Any) -> LlamaConfig:
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    return LlamaConfig(vocab_size=300, **shape | changes)


def test_offline_a_cache_is_enough(place: Path) -> None:
    commits = build_mirror(place / "cache", {"org/llama": (config(), "main"), "org/pinned": (config(), COMMIT)})
    output = fetch(place, LLAMA, Download(repository="org/pinned", revision=COMMIT, weights=True))
    sources = json.loads(output.read_text())["sources"]
    assert [source["commit"] for source in sources] == [commits["org/llama"], COMMIT]
    assert read_lock(place / "study.lock.yaml") == {"org/llama": {"main": commits["org/llama"]}}
    assert load_checkpoint(output)[0].config.num_hidden_layers == 1


@pytest.mark.parametrize("revision", ["main", COMMIT])
def test_offline_a_model_that_is_not_in_the_cache_gives_the_command(place: Path, revision: str) -> None:
    with pytest.raises(
        FetchError, match=r"HF_HUB_OFFLINE forbids .*: HF_HUB_OFFLINE=0 snakemake fetch --cores 1 --configfile"
    ):
        fetch(place, LLAMA.model_copy(update={"revision": revision}))


def test_offline_an_incomplete_snapshot_is_noticed(place: Path) -> None:
    commits = build_mirror(place / "cache", {"org/llama": (config(hidden_size=64), "main")})
    shard = next((place / "cache").glob(f"*/snapshots/{commits['org/llama']}/model-00001*"))
    shard.unlink()
    with pytest.raises(FetchError, match="not, or not completely, in the cache"):
        fetch(place, LLAMA)


def test_offline_pickled_weights_are_refused_unread(place: Path) -> None:
    folder = place / "pickled"
    save_checkpoint(tiny_model("llama"), folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": 1}))
    add_snapshot(place / "cache", "org/llama", "main", folder)
    with pytest.raises(FetchError, match=r"pickled weights alone \(pytorch_model.bin\)"):
        fetch(place, LLAMA)


def test_a_file_that_was_damaged_in_the_cache_is_noticed(place: Path) -> None:
    build_mirror(place / "cache", {"org/llama": (config(), "main")})
    output = fetch(place, LLAMA)
    weights = fetched_folder(output) / "model.safetensors"
    with open(weights.resolve(), "r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\xff")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: not the file that was fetched: SHA-256"):
        weights_digest(output)
    with pytest.raises(FetchError, match=r"damaged: model\.safetensors of org/llama has SHA-256"):
        fetch(place, LLAMA)
    weights.unlink()
    with pytest.raises(FetchError, match=r"model\.safetensors of org/llama at .* is no longer in the cache"):
        load_checkpoint(output)


# --- the lock file ---


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[1, 2]", "the file: not a mapping"),
        ("org/llama: main", "org/llama: not a mapping of names to commits"),
        ("org/llama: {main: abc}", "org/llama.main: 'abc' is no commit of 40 hexadecimal digits"),
        ("org/llama: {main", "not valid YAML"),
    ],
)
def test_a_damaged_lock_file_is_named(content: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "study.lock.yaml").write_text(content)
    with pytest.raises(StudyError, match=f"study.lock.yaml: {sentence}"):
        read_lock(tmp_path / "study.lock.yaml")


def test_a_lock_file_that_moved_on_says_what_to_remove(place: Path) -> None:
    commits = build_mirror(place / "cache", {"org/llama": (config(), "main")})
    output = fetch(place, LLAMA)
    lock = place / "study.lock.yaml"
    check_fetched(lock, place / "models")
    lock.write_text(lock.read_text().replace(commits["org/llama"], NEXT))
    with pytest.raises(StudyError, match=f"org/llama.main is {NEXT}, and {output} was fetched at .*: remove {output}"):
        check_fetched(lock, place / "models")
