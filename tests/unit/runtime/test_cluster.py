"""What a cluster has and what its jobs may ask for, with the profile that Snakemake reads."""

import re
from pathlib import Path

import pytest
import yaml

from headwise.runtime.cluster import (
    EVALUATION_MB,
    EVALUATION_MINUTES,
    INPUTS_MINUTES,
    REPORT_MINUTES,
    VARIABLE,
    Cluster,
    ClusterError,
    Partition,
    cluster_of_run,
    hold_requests_against,
    read_cluster,
)

CPU = {"max_threads": 4, "max_mem_mb": 4000, "max_runtime": 60}
GPU = {"max_threads": 8, "max_mem_mb": 32000, "max_runtime": 30, "max_gpu": 2}


def written(folder: Path, **changes: object) -> Path:
    content = {"account": "lab", "gpus": 2, "partitions": {"cpu": CPU, "gpu": GPU}} | changes
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def of(*sizes: tuple[int, int, int]) -> Cluster:
    return Cluster("cluster.yaml", "lab", 0, tuple(Partition(str(n), *size, 0) for n, size in enumerate(sizes)))


def test_the_file_that_ships_can_be_read(root: Path) -> None:
    cluster = read_cluster(root / "slurm" / "cluster.yaml")
    assert [partition.gpus > 0 for partition in cluster.partitions] == [False, True]


def test_a_job_runs_where_one_partition_has_all_that_it_asks_for(tmp_path: Path) -> None:
    cluster = read_cluster(written(tmp_path))
    assert cluster.partition_for(4000, 60, 0) == "cpu"
    assert cluster.partition_for(32000, 30, 2) == "gpu"
    # Each number is somewhere, all together nowhere.
    for memory, minutes, gpus, cpus in (
        (32000, 60, 0, 1),
        (4000, 60, 1, 1),
        (4000, 61, 0, 1),
        (32001, 1, 0, 1),
        (1, 1, 3, 1),
        (4000, 60, 0, 5),
    ):
        asked = rf"{memory} MB, {minutes} minutes.*cpu: 4 CPUs, 4000 MB, 60 minutes; gpu: 8 CPUs.* 2 GPUs\)"
        with pytest.raises(ClusterError, match=asked):
            cluster.partition_for(memory, minutes, gpus, cpus)


def test_jobs_without_a_gpu_leave_partitions_with_gpus_alone_however_closely_they_fill_them() -> None:
    cpu, gpu = Partition("cpu", 64, 256000, 10080, 0), Partition("gpu", 16, 64000, 60, 4)
    short, long = Partition("short", 64, 128000, 60, 0), Partition("long", 64, 128000, 10080, 0)
    assert Cluster("c", "lab", 4, (gpu, cpu)).partition_for(64000, 60, 0, 16) == "cpu"
    assert Cluster("c", "lab", 4, (cpu, gpu)).partition_for(64000, 60, 1) == "gpu"
    # But for what fits nowhere else; and a long partition is kept for what is long.
    assert Cluster("c", "lab", 4, (gpu, Partition("cpu", 64, 1000, 60, 0))).partition_for(64000, 60, 0) == "gpu"
    assert [Cluster("c", "lab", 4, (long, short)).partition_for(1, time, 0) for time in (60, 61)] == ["short", "long"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"account": None}, "account is None"),
        ({"gpus": "two"}, "gpus is 'two'"),
        ({"gpus": True}, "gpus is True"),
        ({"partitions": {}}, "partitions is"),
        ({"partitions": {"cpu": {}}}, "partitions.cpu.max_threads is None: write the CPUs of a node"),
        (
            {"partitions": {"cpu": CPU | {"max_mem_mb": 0}}},
            "partitions.cpu.max_mem_mb is 0: write the memory",
        ),
        ({"partitions": {"cpu": CPU | {"max_runtime": "1d"}}}, "partitions.cpu.max_runtime is '1d'.*sinfo"),
        ({"partitions": {"gpu": GPU | {"max_gpu": -1}}}, "partitions.gpu.max_gpu is -1"),
    ],
)
def test_what_is_missing_is_named_with_the_command_that_shows_it(
    changes: dict[str, object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ClusterError, match=said) as error:
        read_cluster(written(tmp_path, **changes))
    assert str(error.value).startswith(str(tmp_path / "cluster.yaml"))


@pytest.mark.parametrize("content", [None, "[", "- 1", "\x00"])
def test_a_file_that_is_none_is_a_sentence(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ClusterError, match=re.escape(str(path))):
        read_cluster(path)


def test_requests_are_held_against_a_file_in_all_processes_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.chdir(tmp_path)
    written(tmp_path)
    cluster_of_run.cache_clear()
    try:
        assert cluster_of_run() is None
        cluster_of_run.cache_clear()
        assert hold_requests_against("cluster.yaml").partitions == cluster_of_run().partitions  # type: ignore[union-attr]
    finally:
        cluster_of_run.cache_clear()


@pytest.mark.parametrize("sizes", [(4, 4000, 60), (2, 3000, 400), (8, 16000, 400), (1, 500, 5), (64, 512000, 10080)])
def test_a_group_of_evaluations_fits_on_a_node(sizes: tuple[int, int, int]) -> None:
    cpus, memory, minutes = sizes
    cluster = of(sizes)
    # As Snakemake packs them: as many side by side as cores and memory allow, the others after them; no request is
    # larger than a node.
    each, time = min(EVALUATION_MB, memory), min(EVALUATION_MINUTES, minutes)
    side_by_side = min(cluster.group_cores, memory // each)
    rounds = -(-cluster.evaluations_together // side_by_side)
    assert side_by_side >= 1
    assert rounds * time <= minutes
    assert cluster.group_cores <= cpus


def test_groups_fit_the_smallest_nodes_that_they_may_be_sent_to() -> None:
    small, large = (2, 4000, 60), (8, 64000, 1440)
    assert of(large, small).evaluations_together == of(small).evaluations_together < of(large).evaluations_together


def asked_for(rules: str, function: str, memory: int, time: int) -> dict[str, tuple[int, int]]:
    """Memory and minutes, at most, of each rule whose resources a function of common.smk doubles that many times."""
    blocks = re.findall(r"rule (\w+):\n((?:(?!\nrule ).)*)", rules, re.DOTALL)
    found = {name: re.search(rf"{function}\(mem_mb=(\d+), runtime=(\d+)\)", block) for name, block in blocks}
    return {name: (memory * int(asked[1]), time * int(asked[2])) for name, asked in found.items() if asked}


def test_what_rules_ask_for_in_groups_is_what_groups_are_cut_for(root: Path) -> None:
    rules = "".join(path.read_text() for path in sorted((root / "workflow" / "rules").glob("*.smk")))
    asked = asked_for(rules, "shared", 4, 2)
    profile = yaml.safe_load((root / "slurm" / "config.yaml").read_text())
    report = profile["groups"]["?if cluster.report_together"]
    assert set(asked) == {"evaluate_specialization", *report}
    assert asked["evaluate_specialization"] == (EVALUATION_MB, EVALUATION_MINUTES)
    assert sum(asked[rule][1] for rule in report) <= REPORT_MINUTES
    alone = asked_for(rules, "doubling", 8, 8)
    assert sum(alone[rule][1] for rule in profile["groups"]["?if cluster.inputs_together"]) <= INPUTS_MINUTES
