"""A checkpoint by its path, and what is recorded about it.

The path is a folder in the layout of transformers, the config.json in such a folder, or the file that `fetch_model`
wrote about a repository, whose files lie in the user's own cache.
"""

from pathlib import Path
from typing import Any

from headwise.models.files import CONFIG, fetched_sources, weight_files
from headwise.models.headers import CheckpointError, read_object
from headwise.runtime.provenance import file_digest, json_digest

# What facts.json of a checkpoint that was made here says of its origin.
ORIGIN = ("corpus_digest", "tokenizer_digest", "repository", "revision", "commit", "source_files")


def was_fetched(checkpoint: str | Path) -> bool:
    """Whether the path is a file that `fetch_model` wrote."""
    path = Path(checkpoint)
    return path.suffix == ".json" and path.name != CONFIG and path.is_file()


def checkpoint_folder(checkpoint: str | Path) -> Path:
    """The folder of a checkpoint.

    Raises CheckpointError where there is none, and FetchError where what was fetched is no longer in the cache.
    """
    if was_fetched(checkpoint):
        from headwise.models.hub import fetched_folder

        return fetched_folder(Path(checkpoint))
    checkpoint = Path(checkpoint)
    if checkpoint.name == CONFIG:
        checkpoint = checkpoint.parent
    if not checkpoint.is_dir():
        raise CheckpointError(f"{checkpoint}: there is no such checkpoint folder: check the path")
    return checkpoint


def weight_digests(checkpoint: str | Path) -> dict[str, str]:
    """SHA-256 of each safetensors file of a checkpoint, by file name.

    Raises CheckpointError where a file is missing, and where it is not what was fetched.
    """
    folder = checkpoint_folder(checkpoint)
    digests = {}
    for path in weight_files(folder):
        if not path.is_file():
            raise CheckpointError(f"{folder}: {path.name} is missing: save the model with `save_pretrained`")
        digests[path.name] = file_digest(path)
    if was_fetched(checkpoint):
        recorded = fetched_sources(Path(checkpoint))[0]["files"]
        for name, digest in digests.items():
            if name not in recorded:
                raise CheckpointError(
                    f"{folder / name}: weights that something else put into the cache, and that would be read instead "
                    f"of those which {checkpoint} names: remove this file, or remove {checkpoint} and fetch again"
                )
            if digest != recorded[name]["sha256"]:
                raise CheckpointError(
                    f"{folder / name}: not the file that was fetched: SHA-256 {digest} instead of "
                    f"{recorded[name]['sha256']}: remove it and {checkpoint}, and fetch it again"
                )
    return digests


def weights_digest(checkpoint: str | Path) -> str:
    """SHA-256 over names and contents of the safetensors files of a checkpoint. Raises as `weight_digests` does."""
    return json_digest(weight_digests(checkpoint))


def origin(checkpoint: str | Path) -> dict[str, Any]:
    """Where a checkpoint comes from, as far as it says so.

    Of a fetched one: repository, revision as the study names it, and commit. Of one that was made here: digests of what
    it was made from. Else nothing.
    """
    if was_fetched(checkpoint):
        source = fetched_sources(Path(checkpoint))[0]
        return {key: source[key] for key in ("repository", "revision", "commit")}
    path = checkpoint_folder(checkpoint) / "facts.json"
    facts = read_object(path) if path.is_file() else {}
    return {key: facts[key] for key in ORIGIN if key in facts}
