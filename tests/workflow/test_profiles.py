"""The profiles that ship: their options exist, what they decide nothing else overrides, and a study can be planned."""

import os
import re
import subprocess
import sys
import threading
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from dry_run import job_counts
from empty_bucket import serve
from snakemake.cli import get_argument_parser

# Options of plugins, which Snakemake knows only where they are installed.
OF_PLUGINS = re.compile("(slurm|kubernetes|storage-s3)-")
# What a run reads from the checkout.
CHECKOUT = ("config", "prompts", "profiles", "src", "scripts", "workflow", "Snakefile", "envs")
PROFILES = ["profiles/default", "slurm", "gpu", "kubernetes"]


def keys(root: Path, profile: str) -> set[str]:
    """The options that a profile sets, read without what its expressions need."""
    content = yaml.safe_load((root / profile / "config.yaml").read_text())
    return {key for key in content if not key.startswith(("__", "?"))}


@pytest.mark.parametrize("profile", PROFILES)
def test_every_key_is_an_option_of_snakemake(root: Path, profile: str) -> None:
    options = {
        option.removeprefix("--") for action in get_argument_parser()._actions for option in action.option_strings
    }
    unknown = {key for key in keys(root, profile) - options if not OF_PLUGINS.match(key)}
    assert not unknown


@pytest.mark.parametrize("profile", PROFILES[1:])
def test_the_default_profile_overrides_no_other(root: Path, profile: str) -> None:
    # Its keys win over the same keys of any other profile.
    assert not keys(root, "profiles/default") & keys(root, profile)


def test_how_often_a_job_is_tried_again_is_the_profiles_to_say(root: Path) -> None:
    # A rule's own `retries` would win over the profile's and the command line's. A download that was cut off goes on.
    rules = "".join(path.read_text() for path in (root / "workflow" / "rules").glob("*.smk"))
    assert re.findall(r"rule (\w+):(?:(?!\nrule ).)*?\n    retries:", rules, re.DOTALL) == ["fetch_model"]


def rules_with_gpus(root: Path) -> list[str]:
    """The rules that may ask for a GPU."""
    rules = "".join(path.read_text() for path in (root / "workflow" / "rules").glob("*.smk"))
    return re.findall(r"rule (\w+):(?:(?!\nrule ).)*?gpu=True", rules, re.DOTALL)


def test_without_gpus_the_slurm_profile_asks_for_none(root: Path) -> None:
    profile = yaml.safe_load((root / "slurm" / "config.yaml").read_text())
    assert profile["?if cluster.gpus == 0"]["set-resources"] == {rule: {"gpu": 0} for rule in rules_with_gpus(root)}


def test_a_study_is_planned_for_slurm_with_what_make_run_installs(root: Path, tmp_path: Path) -> None:
    dependencies = tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
    assert any(name.startswith("snakemake-executor-plugin-slurm") for name in dependencies)
    for name in (*CHECKOUT, "slurm"):
        (tmp_path / name).symlink_to(root / name)
    command = [sys.executable, "-m", "snakemake", "--profile", "slurm", "-n"]
    planned = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert planned.returncode == 0, planned.stdout + planned.stderr
    counts = job_counts(planned.stdout)
    assert counts["train_model"] == 10
    assert counts["all"] == 1


def test_a_study_is_planned_for_kubernetes_and_an_object_store(root: Path, tmp_path: Path) -> None:
    if not (find_spec("snakemake_executor_plugin_kubernetes") and find_spec("snakemake_storage_plugin_s3")):
        pytest.skip("Snakemake's plugins for Kubernetes are not installed: `pip install '.[kubernetes]'`")
    for name in (*CHECKOUT, "kubernetes"):
        (tmp_path / name).symlink_to(root / name)
    bucket = serve()
    threading.Thread(target=bucket.serve_forever, daemon=True).start()
    keys = {"ENDPOINT_URL": f"http://127.0.0.1:{bucket.server_address[1]}", "ACCESS_KEY": "key", "SECRET_KEY": "secret"}
    environment = {f"SNAKEMAKE_STORAGE_S3_{name}": value for name, value in keys.items()}
    try:
        planned = subprocess.run(
            # The models are too small to be given a GPU unless the study says so.
            [
                sys.executable,
                "-m",
                "snakemake",
                "--profile",
                "kubernetes",
                "-n",
                "--config",
                "extraction={device: cuda}",
            ],
            cwd=tmp_path,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        bucket.shutdown()
    assert planned.returncode == 0, planned.stdout + planned.stderr
    extraction = next(block for block in planned.stdout.split("\nrule ") if block.startswith("extract_attention"))
    assert re.search(r"output: s3://headwise/results/default/attention/\S+ \(send to storage\)", extraction)
    assert "gpu=1" in extraction
    assert "s3://headwise/src" not in planned.stdout, "jobs have the library with the workflow"


def test_on_slurm_what_follows_the_comparisons_shares_one_job(root: Path) -> None:
    # Rules that gather are short; alone, each would wait in the queue. `calibrate` runs on request and takes long.
    ungrouped = {
        "verify_prompts",
        "build_corpus",
        "build_grammar",
        "train_tokenizer",
        "check_lengths",
        "declare",
        "calibrate",
        "measure_working_heads",
    }
    rules = "".join(path.read_text() for path in (root / "workflow" / "rules").glob("*.smk"))
    blocks = re.findall(r"rule (\w+):\n((?:(?!\nrule ).)*)", rules, re.DOTALL)
    once = {name for name, block in blocks if "script:" in block and not re.search(r"log:\s+results\(.*\{", block)}
    groups = yaml.safe_load((root / "slurm" / "config.yaml").read_text())["groups"]["?if cluster.report_together"]
    assert once - ungrouped == set(groups)
