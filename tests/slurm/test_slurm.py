"""`snakemake --profile slurm` on a real Slurm: a whole study, what it asks for, and what it survives.

One file, so that tests which run in parallel start one cluster.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from cluster import Cluster, Shape, reason_to_skip, wait_until
from project import Project, digests
from run import MODELS, TARGET, FaultTable, SlurmStudy, declared_requests, requested

pytestmark = pytest.mark.slow
faults = FaultTable()
# The models are too small to be given a GPU by their rule.
WITH_GPU = ("--set-resources", "extract_attention:gpu=1")
# The jobs that share the first Slurm job, and the last; those of one line run side by side.
INPUTS = [("declare", "verify_prompts", "build_corpus"), ("train_tokenizer",), ("check_lengths",)]
REPORT = [
    ("check_declaration", "run_controls", "contrast_models", "analyse_factors"),
    ("summarize_specialization",),
    ("aggregate",),
    ("draw_figures",),
    ("write_report",),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running cluster, stopped at the end whatever happens."""
    if reason := reason_to_skip():
        pytest.skip(reason)
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        try:
            cluster.start()
        except (OSError, subprocess.SubprocessError) as problem:  # a TimeoutError is an OSError
            pytest.skip(f"Slurm is installed but does not start on this machine: {problem}")
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def studies(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, SlurmStudy]:
    """The same tiny study, run here and on the cluster, at the same time."""
    local = Project(tmp_path_factory.mktemp("local") / "project", seeds=[1], models=MODELS)
    slurm = SlurmStudy(tmp_path_factory.mktemp("cluster") / "project", cluster)
    with slurm.running(*WITH_GPU) as process:
        local.run("--cores", "1")
        slurm.finish(process)
    return local, slurm


@pytest.fixture(scope="module")
def local(studies: tuple[Project, SlurmStudy]) -> Project:
    """The study as it is without a cluster."""
    return studies[0]


@pytest.fixture(scope="module")
def overtime(local: Project, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple]:
    """A study with a job that will exceed its minute; started before the other faults, since Slurm's clock is slow."""
    study = SlurmStudy.unfinished(local, tmp_path_factory.mktemp("overtime") / "project", cluster)
    study.hold("summary.parquet")
    # Away from the node that is going to be lost.
    requests = ["evaluate_specialization:runtime=attempt", "evaluate_specialization:slurm_extra='--nodelist=n2'"]
    with study.running(TARGET, "--set-resources", *requests) as process:
        yield study, process


@pytest.fixture
def study(overtime: tuple, local: Project, cluster: Cluster, tmp_path: Path) -> SlurmStudy:
    """A study that lacks one evaluation and what follows; the job that makes it will wait before its last file."""
    study = SlurmStudy.unfinished(local, tmp_path / "project", cluster)
    study.hold("summary.parquet")
    return study


def headwise(study: SlurmStudy, *arguments: str) -> str:
    """What one of headwise's commands prints in the study's folder."""
    command = [sys.executable, "-c", "from headwise.cli import app; app()", *arguments]
    done = subprocess.run(command, cwd=study.folder, env=study.environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_results_equal_those_of_a_local_run_byte_for_byte(studies: tuple[Project, SlurmStudy]) -> None:
    local, slurm = studies
    produced = digests(slurm.results)
    assert {"report.html", "results.json", "tables/comparisons.parquet"} <= set(produced)
    assert produced == digests(local.folder / "results" / "tiny")


def test_jobs_request_what_their_rules_declare(studies: tuple[Project, SlurmStudy]) -> None:
    _, slurm = studies
    declared = declared_requests(slurm.run("-n", "--forceall", *WITH_GPU))
    ungrouped = {job["Comment"]: requested(job) for job in slurm.jobs() if job["Comment"] in declared}
    assert len(ungrouped) == 6
    assert ungrouped == {name: declared[name] for name in ungrouped}
    assert all(job["Account"] == "lab" for job in slurm.jobs())


def test_short_jobs_share_a_slurm_job(studies: tuple[Project, SlurmStudy]) -> None:
    _, slurm = studies
    declared = declared_requests(slurm.run("-n", "--forceall", *WITH_GPU))
    evaluations = [request for name, request in declared.items() if name.startswith("rule_evaluate_specialization")]
    (evaluation_job,) = [job for job in slurm.jobs() if job["Comment"].startswith("rule_evaluation")]
    # Side by side: memory adds up. One after the other: time does.
    assert requested(evaluation_job) == {
        "mem_mb": sum(request["mem_mb"] for request in evaluations),
        "runtime": max(request["runtime"] for request in evaluations),
        "gpu": 0,
    }
    ends = []
    for group, lines in (("inputs", INPUTS), ("report", REPORT)):
        requests = [[declared[f"rule_{rule}"] for rule in rules] for rules in lines]
        (job,) = [job for job in slurm.jobs() if job["Comment"].startswith(f"rule_{group}")]
        assert requested(job) == {
            "mem_mb": max(sum(request["mem_mb"] for request in line) for line in requests),
            "runtime": sum(max(request["runtime"] for request in line) for line in requests),
            "gpu": 0,
        }
        ends.append(requested(job)["mem_mb"])
    # As `headwise cost` says it beforehand.
    cost = headwise(slurm, "cost", slurm.study.name, "--cluster", "slurm/cluster.yaml", "--json")
    told = json.loads(cost)["cluster"]["shared_memory_mb"].values()
    assert list(told) == [requested(evaluation_job)["mem_mb"], *ends]


def test_gpu_jobs_alone_go_to_the_gpu_partition(studies: tuple[Project, SlurmStudy]) -> None:
    _, slurm = studies
    for job in slurm.jobs():
        extraction = job["Comment"].startswith("rule_extract_attention")
        assert (requested(job)["gpu"], job["Partition"]) == ((1, "gpu") if extraction else (0, "cpu"))


def test_a_cancelled_job_runs_again(study: SlurmStudy, local: Project) -> None:
    with study.running(TARGET) as process:
        cancelled = study.held()
        with faults.recovery("job cancelled from outside", study):
            study.cluster.call("scancel", cancelled)
            wait_until(lambda: study.state(cancelled) == "CANCELLED", "the job cancelled")
            study.assert_nothing_half_written(local)
            study.finish(process)
    study.assert_complete(local)


def test_a_lost_node_loses_one_job(study: SlurmStudy, local: Project) -> None:
    cluster = study.cluster
    with study.running(TARGET) as process:
        number = study.held()
        (node,) = {job["NodeList"] for job in study.jobs() if job["JobID"] == number}
        with faults.recovery("node lost", study):
            cluster.lose_node(node)
            wait_until(lambda: study.state(number) == "NODE_FAIL", "Slurm notices that the node is lost")
            study.assert_nothing_half_written(local)
            study.finish(process)
    cluster.start_node(node)
    wait_until(lambda: cluster.states() <= {"idle", "mixed"}, "the node back")
    study.assert_complete(local)
    again = [job["NodeList"] for job in study.jobs() if job["State"] == "COMPLETED"]
    assert again == [other for other in study.cluster.shape.names if other != node] * 2


def test_a_killed_snakemake_goes_on_after_its_orphans_are_cancelled(study: SlurmStudy, local: Project) -> None:
    with study.running(TARGET) as process:
        number = study.held()
        assert number not in headwise(study, "cancel-orphans"), "its Snakemake runs"
        with faults.recovery("Snakemake killed with SIGKILL", study):
            process.kill()
            process.wait()
            wait_until(lambda: study.state(number) == "RUNNING", "the orphan in accounting")
            assert number in headwise(study, "cancel-orphans")
            wait_until(lambda: study.state(number) == "CANCELLED", "the orphan cancelled")
            study.assert_nothing_half_written(local)
            study.run("--unlock")
            study.run(TARGET, "--rerun-incomplete")
    study.assert_complete(local)


def test_a_job_that_exceeds_its_memory_gets_more(study: SlurmStudy, local: Project) -> None:
    study.release()
    (study.faults / "hog").write_text("1200")
    with study.running(TARGET) as process, faults.recovery("memory exceeded", study):
        study.finish(process)
    study.assert_complete(local)
    attempts = [job for job in study.jobs() if "evaluat" in job["Comment"]]
    assert [requested(job)["mem_mb"] for job in attempts] == [1000, 2000]
    assert [job["State"] == "COMPLETED" for job in attempts] == [False, True]
    said = f"Slurm job {attempts[0]['JobID']} ended as "
    assert re.search(rf"{said}.*: out of memory, as it seems: it was killed, and had asked for 1000M", study.log())


def test_a_full_disk_leaves_nothing_half_written(study: SlurmStudy, local: Project) -> None:
    study.release()
    folder = study.results / "specialization" / "multi_head"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, check=False, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"this container may not mount a small disk: {mounted.stderr.strip()}")
    try:
        with study.running(TARGET, "--retries", "0") as process:
            assert process.wait(timeout=1200) != 0
        # Of a rule that shares its Slurm job with others.
        assert "No space left on device" in study.log()
        study.assert_nothing_half_written(local)
        assert not list(folder.rglob("*.parquet"))
        with faults.recovery("disk full", study):
            subprocess.run(["mount", "-o", "remount,size=16m", str(folder)], check=True)
            study.run(TARGET)
        study.assert_complete(local)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_job_that_exceeds_its_time_gets_more(overtime: tuple, local: Project) -> None:
    study, process = overtime
    first = study.held()
    wait_until(lambda: study.state(first) == "TIMEOUT", "Slurm ends the job", 300)
    study.assert_nothing_half_written(local)
    study.finish(process)
    study.assert_complete(local)
    attempts = [job for job in study.jobs() if "evaluat" in job["Comment"]]
    assert [requested(job)["runtime"] for job in attempts] == [1, 2]
    assert [job["State"] for job in attempts] == ["TIMEOUT", "COMPLETED"]
    assert re.search(rf"Slurm job {first} ended as TIMEOUT .*: out of time: it had asked for 00:01:00", study.log())
    lost, *_, last = (datetime.fromisoformat(job["End"]) for job in study.jobs())
    faults.record("time exceeded", study, (last - lost).total_seconds())


def test_a_restart_of_the_slurm_controller_costs_nothing(study: SlurmStudy, local: Project) -> None:
    # After the study that runs beside the tests above: of a job that it submits just now the controller would know
    # nothing when it starts again, and give its number to another, as a cluster does (Slurm then ends both).
    with study.running(TARGET) as process:
        study.held()
        with faults.recovery("slurmctld killed and restarted", study):
            study.cluster.end_daemon("slurmctld", signal.SIGKILL)
            study.release()
            wait_until((study.results / "specialization/multi_head/seed1/summary.parquet").exists, "the job's output")
            study.cluster.start_controller()
            study.finish(process)
    study.assert_complete(local)
    assert [job["State"] for job in study.jobs()] == ["COMPLETED", "COMPLETED"]


def test_jobs_that_the_controller_forgets_run_again(study: SlurmStudy, local: Project) -> None:
    with study.running(TARGET) as process:
        study.held()
        with faults.recovery("slurmctld lost what it had saved", study):
            study.cluster.end_daemon("slurmctld", signal.SIGKILL)
            study.cluster.forget_jobs()
            study.release()
            study.cluster.start_controller()
            study.finish(process)
    study.assert_complete(local)
    assert re.search("is lost: Slurm's controller does not know it any more|ended as CANCELLED", study.log())


def test_without_gpus_jobs_that_want_one_get_cpus(local: Project, cluster: Cluster, tmp_path: Path) -> None:
    study = SlurmStudy.unfinished(local, tmp_path / "project", cluster)
    settings = study.folder / "slurm" / "cluster.yaml"
    settings.write_text(settings.read_text().replace("gpus: 4", "gpus: 0"))
    rules = study.folder / "workflow" / "rules" / "attention.smk"
    rules.write_text(re.sub(r"\*\*needed.*", "gpu=1,", rules.read_text()))
    heads = study.results / "statistics/multi_head/seed1/heads.parquet"
    heads.unlink()
    study.run(str(heads.relative_to(study.folder)))
    (job,) = study.jobs()
    assert (job["State"], job["Partition"], requested(job)["gpu"]) == ("COMPLETED", "cpu", 0)
    assert os.path.getsize(heads) > 0


def fails(study: SlurmStudy, *arguments: str) -> str:
    """What a run that ends with an error says."""
    study.release()
    with study.running(TARGET, "--retries", "0", *arguments) as process:
        assert process.wait(timeout=300) != 0, study.log()
    return study.log()


def test_what_no_node_can_run_is_refused_before_anything_is_submitted(study: SlurmStudy) -> None:
    settings = study.folder / "slurm" / "cluster.yaml"
    settings.write_text(settings.read_text().replace("max_mem_mb: 16000", "max_mem_mb: 600"))
    shutil.rmtree(study.results / "statistics")
    said = fails(study)
    assert "rule extract_attention" in said
    assert re.search(r"asks for \d+ MB, \d+ minutes, which no partition of \S+cluster.yaml \(cpu: 8 CPUs, 600 MB", said)
    assert study.jobs() == []


def test_a_job_that_would_wait_for_ever_ends_the_run_with_its_reason(study: SlurmStudy) -> None:
    settings = study.folder / "slurm" / "cluster.yaml"
    settings.write_text(settings.read_text().replace("max_runtime: 400", "max_runtime: 4000"))
    # In a group, of which Snakemake itself says nothing.
    said = fails(study, "--set-resources", "evaluate_specialization:runtime=2000")
    assert re.search(r"cancelled, since it would wait for ever: partition cpu .*PartitionTimeLimit.*cluster.yaml", said)


# By sbatch, and by the plugin, which then forgets that there was a group.
REFUSED = {
    "constraint=moon": "Invalid feature specification",
    "slurm_account=nobody": "account nobody appears to be invalid",
}


@pytest.mark.parametrize("asked", REFUSED)
def test_why_a_group_was_not_submitted_is_seen(asked: str, study: SlurmStudy) -> None:
    assert REFUSED[asked] in fails(study, "--set-resources", f"evaluate_specialization:{asked}")


@pytest.mark.parametrize("shape", [Shape(2, 4, 4000, 60), Shape(1, 2, 3000, 400)], ids=["hours", "memory"])
def test_a_study_fits_small_nodes(shape: Shape, local: Project, cluster: Cluster, tmp_path: Path) -> None:
    cluster.reshape(shape)
    study = SlurmStudy.unfinished(local, tmp_path / "project", cluster)
    with study.running() as process:
        study.finish(process, 600)
    assert {job["State"] for job in study.jobs()} == {"COMPLETED"}
    asked = [requested(job) for job in study.jobs()]
    assert max(job["mem_mb"] for job in asked) <= shape.memory_mb
    assert max(job["runtime"] for job in asked) <= shape.minutes
    assert digests(study.results) == digests(local.folder / "results" / "tiny")
