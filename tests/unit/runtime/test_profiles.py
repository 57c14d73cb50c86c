"""What is said, in one sentence, where a profile cannot be used; `snakemake` itself is started as users start it."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from project import ROOT

from headwise.runtime import profiles
from headwise.runtime.profiles import KEYS, PLUGINS, PodsError, check_pods


def start(profile: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """`snakemake --profile PROFILE` where the folder has nothing else."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "snakemake", "--profile", str(profile), "-n"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def said_by(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines printed, but for the one that names profiles."""
    assert done.returncode != 0
    return [line for line in (done.stdout + done.stderr).splitlines() if line and not line.startswith("Using profile")]


def test_a_cluster_file_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "cluster.yaml").write_text("account: lab\ngpus: 0\npartitions: {cpu: {}}\n")
    (line,) = said_by(start(ROOT / "slurm", tmp_path))
    assert line.startswith("slurm/cluster.yaml: partitions.cpu.max_threads is None: write the CPUs of a node")


def test_without_plugins_or_keys_kubernetes_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in KEYS:
        monkeypatch.delenv(key, raising=False)
    (line,) = said_by(start(ROOT / "kubernetes", tmp_path))
    assert line.startswith("kubernetes/config.yaml ")
    assert "docs/cluster.md" in line


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The plugins are there, and Amazon's own tools have no keys; what was imported."""
    imported: list[str] = []

    def load(name: str) -> SimpleNamespace:
        imported.append(name)
        return SimpleNamespace(get_session=lambda: SimpleNamespace(get_credentials=lambda: None))

    monkeypatch.setattr(profiles, "find_spec", lambda name: name)
    monkeypatch.setattr(profiles, "import_module", load)
    for key in KEYS:
        monkeypatch.setenv(key, "x")
    return imported


def test_all_that_is_there_is_accepted(installed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    check_pods()
    assert installed == []
    monkeypatch.delenv(KEYS[0])
    monkeypatch.setattr("sys.argv", ["snakemake", "--storage-s3-access-key=x"])
    check_pods()
    monkeypatch.setattr("sys.argv", ["snakemake"])
    session = SimpleNamespace(get_session=lambda: SimpleNamespace(get_credentials=lambda: "from ~/.aws"))
    monkeypatch.setattr(profiles, "import_module", lambda name: session)
    check_pods()


def test_what_is_missing_is_named(installed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEYS[1])
    with pytest.raises(PodsError, match=f"and {KEYS[1]} is not set"):
        check_pods()
    monkeypatch.setattr(profiles, "find_spec", lambda name: None if name == PLUGINS[0] else name)
    with pytest.raises(PodsError, match="needs snakemake-executor-plugin-kubernetes, not installed here: `pip install"):
        check_pods()
