"""The lock file beside a study: which commits the branches and tags that the study names stand for."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import yaml
from filelock import FileLock

from headwise.runtime.atomic import atomic
from headwise.study.models import COMMIT
from headwise.study.section import StudyError
from headwise.study.yaml_file import read_yaml

HEADER = """\
# The commits that branches and tags in {study} stood for when they were first fetched. Keep this file with the study,
# under version control: whoever has both measures the same weights. To follow a branch to its newest commit, remove its
# line here and the files below results/ that were fetched for it, then fetch again.
"""

Commits = dict[str, dict[str, str]]


def lock_path(study_file: Path) -> Path:
    """Where the lock file of a study file lies: x.lock.yaml beside x.yaml."""
    return study_file.with_name(f"{study_file.stem}.lock.yaml")


def read_lock(path: Path) -> Commits:
    """Commits by repository and by the name of a branch or tag; empty where there is no such file.

    Raises StudyError, naming file and line, for a file that is no lock file.
    """
    if not path.exists():
        return {}
    content = read_yaml(path) or {}
    for repository, names in content.items() if isinstance(content, dict) else [("the file", None)]:
        if not isinstance(names, dict):
            raise StudyError(f"{path}: {repository}: not a mapping of names to commits: correct or remove it")
        for name, commit in names.items():
            if not re.fullmatch(COMMIT, str(commit)):
                raise StudyError(
                    f"{path}: {repository}.{name}: '{commit}' is no commit of 40 hexadecimal digits: correct it, or "
                    "remove the line to have the name looked up again"
                )
    return {str(repository): {str(k): str(v) for k, v in names.items()} for repository, names in content.items()}


def locked_commit(path: Path, guard: Path, repository: str, revision: str, look_up: Callable[[], str]) -> str:
    """The commit of a branch or tag: from the lock file, else from `look_up`, and then in the lock file.

    `guard` is a file that jobs which run at the same time agree on: one at a time reads and writes the lock file.
    """
    guard.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(guard):
        commits = read_lock(path)
        commit = commits.get(repository, {}).get(revision)
        if commit is None:
            commit = look_up()
            commits.setdefault(repository, {})[revision] = commit
            with atomic(path) as temporary:
                text = HEADER.format(study=path.name.replace(".lock", "")) + yaml.safe_dump(commits, sort_keys=True)
                temporary.write_text(text, encoding="utf-8")
    return commit


def check_fetched(lock: Path, models: Path) -> None:
    """Refuse models that were fetched at another commit than the lock file names now.

    `models` is the folder that `fetch_model` writes to. Raises StudyError, naming each file to remove.
    """
    commits = read_lock(lock)
    problems = []
    for path in sorted(models.glob("*/seed*.json")) if commits else []:
        for source in json.loads(path.read_text(encoding="utf-8"))["sources"]:
            locked = commits.get(source["repository"], {}).get(source["revision"], source["commit"])
            if locked != source["commit"]:
                problems.append(
                    f"{lock}: {source['repository']}.{source['revision']} is {locked}, and {path} was fetched at "
                    f"{source['commit']}: remove {path}, and what depends on it is computed again"
                )
    if problems:
        raise StudyError("\n".join(problems))
