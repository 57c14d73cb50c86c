"""Models of a hub: which commit, which files, and where these lie in the user's own cache.

Everything goes through huggingface_hub, which honours HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE,
shares its cache with every other tool that uses it, and continues a file whose download was cut off.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_download, is_offline_mode

# HTTPError is that of the HTTP library which this version of huggingface_hub is built on.
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name

from headwise.models.checks import check_config, check_names, verify_architecture
from headwise.models.files import (
    CONFIG,
    GENERATION,
    INDEX,
    WEIGHTS,
    fetched_sources,
    indexed_weights,
    is_tokenizer_file,
    pickled_weights,
)
from headwise.models.headers import read_object
from headwise.runtime.json_files import write_json
from headwise.runtime.progress import track
from headwise.runtime.provenance import file_digest
from headwise.study.lock import lock_path, locked_commit
from headwise.study.models import COMMIT, Download


class FetchError(ValueError):
    """A model that cannot be fetched; the message names repository, revision and remedy."""


def fetch_model(downloads: Sequence[Download], study_file: Path, fetched: Path) -> None:
    """Fetch what a model needs into the user's cache, and write to `fetched` what it is.

    `fetched` receives {"sources": [...]} with one object per download: repository, revision as the study names it,
    commit, and for each file its size in bytes and SHA-256. A branch or tag is looked up once: its commit goes into the
    lock file beside the study file, and is taken from there ever after.

    Raises FetchError for a gated or unknown repository, an unknown revision, files that are not in the cache when
    offline, no connection, and weights that are pickled or missing; CheckpointError for an architecture that
    transformers does not have, and for what `check_config` and `check_names` refuse; StudyError for a damaged lock
    file.
    """
    sources = []
    for download in downloads:
        with _errors_as_sentences(download, study_file):
            commit = _commit(download, study_file, guard=fetched.parents[1] / ".fetching")
            names = _needed_files(download, commit)
            sources.append(_fetch(download, commit, names))
    write_json({"sources": sources}, fetched)


def fetched_folder(output: Path, source: int = 0) -> Path:
    """The folder in the cache that holds the files of a source which `fetch_model` wrote about.

    Raises FetchError where one is missing.
    """
    fetched = fetched_sources(output)[source]
    folder = _snapshot(fetched["repository"], fetched["commit"])
    for name in fetched["files"]:
        if not (folder / name).is_file():
            raise FetchError(
                f"{output}: {name} of {fetched['repository']} at {fetched['commit']} is no longer in the cache "
                f"{constants.HF_HUB_CACHE}: set HF_HOME or HF_HUB_CACHE as it was then, or remove {output} and fetch "
                "again"
            )
    return folder


def _commit(download: Download, study_file: Path, guard: Path) -> str:
    if re.fullmatch(COMMIT, download.revision):
        return download.revision

    def look_up() -> str:
        try:
            commit = HfApi().model_info(download.repository, revision=download.revision).sha
        except OfflineModeIsEnabled:
            reference = _cached(download.repository) / "refs" / download.revision
            if not reference.is_file():
                raise
            commit = reference.read_text(encoding="utf-8").strip()
        return str(commit)

    return locked_commit(lock_path(study_file), guard, download.repository, download.revision, look_up)


def _needed_files(download: Download, commit: str) -> list[str]:
    """Names of the files to fetch; nothing else of a repository is downloaded."""
    if download.files:
        return list(download.files)
    where = f"{download.repository} at {download.revision}"
    names = _listed(download.repository, commit)
    if download.weights:
        check_names(names, where)
    needed = [name for name in names if is_tokenizer_file(name)]
    if not needed:
        raise FetchError(f"{where} has no tokenizer: choose a repository with tokenizer.json or its like")
    # A tokenizer may need config.json to say of which kind it is.
    needed += [name for name in names if name == CONFIG]
    if not download.weights:
        return needed
    needed += [name for name in names if name == GENERATION]
    if CONFIG not in needed:
        raise FetchError(f"{where} has no config.json: choose a repository in the layout of transformers")
    config = Path(hf_hub_download(download.repository, CONFIG, revision=commit))
    content = read_object(config)
    check_config(content, config, download.own_code)
    if "auto_map" in content:
        # It brings code: whether that is needed, and may run, is settled before gigabytes are downloaded.
        verify_architecture(config, download.own_code)
    if download.facts is not None and not download.own_code:
        # Imports the libraries that run models, which other downloads do without.
        from headwise.models.facts import verify_facts

        verify_facts(config, download.facts)
    if download.own_code:
        needed += [name for name in names if name.endswith(".py")]
    if WEIGHTS in names:
        return [*needed, WEIGHTS]
    if INDEX in names:
        index = hf_hub_download(download.repository, INDEX, revision=commit)
        return [*needed, INDEX, *indexed_weights(Path(index))]
    if pickled := pickled_weights(names):
        raise FetchError(
            f"{where} has pickled weights alone ({pickled[0]}), and reading a pickle can run any code: look for a "
            "conversion to safetensors among the repository's pull requests (revision: refs/pr/1), or, where you trust "
            "its authors, convert it with transformers (`save_pretrained`) and give the result as `source: folder`"
        )
    raise FetchError(f"{where} has no {WEIGHTS}: choose a repository in the layout of transformers")


def _listed(repository: str, commit: str) -> list[str]:
    """All files of a repository, by name; offline those that are in the cache."""
    try:
        return sorted(HfApi().list_repo_files(repository, revision=commit))
    except OfflineModeIsEnabled:
        folder = _snapshot(repository, commit)
        if not folder.is_dir():
            raise
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _fetch(download: Download, commit: str, names: Sequence[str]) -> dict[str, Any]:
    files = {}
    ordered = sorted(set(names))
    for name in track(ordered, f"files of {download.repository} at {commit[:12]}", len(ordered)):
        path = Path(hf_hub_download(download.repository, name, revision=commit))
        digest = file_digest(path)
        # The cache names large files by the SHA-256 that the hub states.
        stated = path.resolve().name
        if re.fullmatch("[0-9a-f]{64}", stated) and stated != digest:
            raise FetchError(
                f"{path.resolve()}: damaged: {name} of {download.repository} has SHA-256 {digest} here, and {stated} "
                "on the hub: remove this file and fetch again"
            )
        files[name] = {"bytes": path.stat().st_size, "sha256": digest}
    return {"repository": download.repository, "revision": download.revision, "commit": commit, "files": files}


def _cached(repository: str) -> Path:
    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type="model")


def _snapshot(repository: str, commit: str) -> Path:
    return _cached(repository) / "snapshots" / commit


@contextmanager
def _errors_as_sentences(download: Download, study_file: Path) -> Iterator[None]:
    repository, revision = download.repository, download.revision
    command = f"snakemake fetch --cores 1 --configfile {shlex.quote(str(study_file))}"
    page = f"{constants.ENDPOINT}/{repository}"
    try:
        yield
    except GatedRepoError:
        raise FetchError(
            f"{repository} is gated: accept its licence on {page} with your account, then let this machine know a "
            "token of that account, with `hf auth login` or in the variable HF_TOKEN"
        ) from None
    except RepositoryNotFoundError:
        raise FetchError(
            f"there is no repository {repository} on {constants.ENDPOINT} that you may see: correct `repository`, or, "
            "if it is private, log in with `hf auth login` or set HF_TOKEN"
        ) from None
    except RevisionNotFoundError:
        raise FetchError(
            f"{repository} has no branch, tag or commit '{revision}': correct `revision`; {page}/commits lists them"
        ) from None
    except HFValidationError as error:
        raise FetchError(f"'{repository}' is no name of a repository ({error}): correct `repository`") from None
    except (OfflineModeIsEnabled, LocalEntryNotFoundError) as error:
        if is_offline_mode():
            raise FetchError(
                f"{repository} at '{revision}' is not, or not completely, in the cache {constants.HF_HUB_CACHE}, and "
                "HF_HUB_OFFLINE forbids to download it: run this first where there is a network, such as a login node "
                f"that shares this cache: HF_HUB_OFFLINE=0 {command}"
            ) from error
        raise _unreachable(repository, command, error) from error
    except EntryNotFoundError as error:
        raise FetchError(
            f"{repository} at '{revision}' lacks a file ({str(error).splitlines()[0]}): correct its name; {page}/tree/"
            f"{revision} lists them"
        ) from None
    except HTTPError as error:
        raise _unreachable(repository, command, error) from error


def _unreachable(repository: str, command: str, error: Exception) -> FetchError:
    return FetchError(
        f"{repository} could not be fetched from {constants.ENDPOINT} ({' '.join(str(error).split())}): check the "
        "network and run it again, which continues where it stopped; or fetch first where there is a network, such as "
        f"a login node that shares your cache: {command}"
    )
