"""What `headwise cost` says before anything runs; its counts of jobs are compared with dry runs in tests/workflow."""

import json
import re
from functools import cache
from pathlib import Path

import pytest
import yaml
from project import ROOT
from typer.testing import CliRunner

from headwise.cli import app
from headwise.planning.disk import PER_ENTRY, bytes_left
from headwise.planning.estimate import GATHERING, INPUTS, estimate, misfits, total
from headwise.planning.plan import Plan
from headwise.planning.rates import RATES, MeasuredError, measured_rates, processor_seconds
from headwise.runtime.cluster import Cluster, Partition
from headwise.study.section import StudyError


@pytest.fixture(autouse=True)
def checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths of studies start from the checkout."""
    monkeypatch.chdir(ROOT)


@cache
def plan(path: str = "config/config.yaml", *changes: str) -> Plan:
    return Plan([path], changes)


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["cost", *arguments])
    return done.exit_code, done.output


def test_the_rates_that_ship_are_those_of_the_rules() -> None:
    # Of all that `snakemake` runs unasked; models that are fetched or converted are in the one study alone.
    names = ("studies/bali2026", "studies/coins", "config")
    studies = ("benchmarks/pilot.yaml", *(f"config/{name}.yaml" for name in names))
    jobs = [job for study in studies for job in plan(study).jobs]
    # Nor does either study name released files.
    assert set(RATES) == {each.rule for each in jobs if each.runs} | {"compute_released"}
    assert all(rate > 0 for rate in RATES.values())


def test_the_table_has_every_rule_and_the_total() -> None:
    code, said = run("config/config.yaml")
    assert code == 0
    assert all(row.rule in said for row in estimate(plan(), RATES))
    code, said = run("config/config.yaml", "--json")
    assert code == 0
    found = json.loads(said)
    assert found["total"]["jobs"] == sum(rule["jobs"] for rule in found["rules"]) == 127
    assert found["total"]["disk_mb"] == pytest.approx(sum(rule["disk_mb"] for rule in found["rules"]))


def cluster_file(folder: Path, memory_mb: int, gpus: int = 0) -> str:
    sizes = f"max_threads: 4, max_mem_mb: {memory_mb}, max_runtime: 4000"
    (folder / "cluster.yaml").write_text(
        f"account: lab\ngpus: {gpus}\npartitions:\n  cpu: {{{sizes}}}\n  gpu: {{{sizes}, max_gpu: {gpus}}}\n"
    )
    return str(folder / "cluster.yaml")


def test_with_a_cluster_it_is_said_what_shared_jobs_ask_for_and_what_does_not_fit(tmp_path: Path) -> None:
    study = "config/studies/polypythias.yaml"
    code, said = run(study, "--cluster", cluster_file(tmp_path, 8000))
    assert code == 0
    assert re.search(r"one Slurm job for 20 of \d+ evaluations: 4,000 MB", said)  # four CPUs, 1,000 MB each
    assert re.search(r"one Slurm job for all that gathers results, up to the report: 7,000 MB", said)
    asked = {row.rule: row.memory_mb for row in estimate(plan(study), RATES)}
    too_much = {line.split()[0]: line for line in said.splitlines() if re.match(r"  \w+ pythia-410m: ", line)}
    assert set(too_much) == {rule for rule, most in asked.items() if most > 8000} - {"fetch_model"}
    assert f"{asked['probe_refits']} MB, " in too_much["probe_refits"]
    code, said = run(study, "--cluster", cluster_file(tmp_path, max(asked.values())))
    assert code == 0
    assert "Every job fits" in said
    code, said = run(study, "--json", "--cluster", cluster_file(tmp_path, 8000))
    assert len(json.loads(said)["cluster"]["does_not_fit"]) == len(too_much)


@pytest.mark.parametrize(("held", "there"), [(4, 1), (4, 0), (0, 0)])
def test_a_gpu_that_no_node_has_is_one_that_does_not_fit(held: int, there: int) -> None:
    cpu, gpu = Partition("cpu", 8, 10**6, 10**6, 0), Partition("gpu", 8, 10**6, 10**6, there)
    found = misfits(plan("config/config.yaml", "extraction={device: cuda}"), Cluster("c.yaml", "lab", held, (cpu, gpu)))
    # With no GPU to hold, extraction asks for none.
    assert bool(found) == (held > there == 0)
    assert all(line.endswith("1 GPU") for line in found)


def test_what_gathers_is_what_the_profile_groups_but_for_the_end_which_runs_alone() -> None:
    groups = yaml.safe_load(Path("slurm/config.yaml").read_text())["groups"]
    after = [
        "summarize_specialization",
        "measure_effects",
        "measure_placebos",
        "answer_questions",
        "aggregate",
        "draw_figures",
        "write_report",
    ]
    assert [*GATHERING, *after] == list(groups["?if cluster.report_together"])
    assert [*INPUTS, "train_tokenizer", "check_lengths"] == list(groups["?if cluster.inputs_together"])


def test_one_key_of_a_section_changes_that_key_alone() -> None:
    study = "config/studies/bali2026.yaml"
    as_written = plan(study).study.training
    assert plan(study, "training={batch: 64}").study.training == as_written.model_copy(update={"batch": 64})
    same = plan(study, f"training={{batch: {as_written.batch}}}")
    assert total(estimate(same, RATES)) == total(estimate(plan(study), RATES))


def test_several_study_files_are_merged(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("name: pilot\nseeds: [1]\nquestions: []\ntraining: {steps: 10}\n")
    code, said = run("config/config.yaml", str(other), "--json")
    assert code == 0
    found = json.loads(said)
    assert found["study"] == "pilot"
    assert found["total"]["jobs"] < 127
    expected = total(
        estimate(plan("config/config.yaml", "name=pilot", "seeds=[1]", "questions=[]", "training={steps: 10}"), RATES)
    )
    assert found["total"]["processor_hours"] == pytest.approx(expected.processor_hours)


def test_work_that_is_done_twice_costs_twice() -> None:
    once, twice = (
        {
            row.rule: row
            for row in estimate(plan("config/studies/controlled.yaml", f"seeds={seeds}", "questions=[]"), RATES)
        }
        for seeds in ([1, 2], [1, 2, 3, 4])
    )
    for rule in ("train_model", "align_model", "extract_attention", "perturb_model", "recurse_model"):
        assert twice[rule].processor_hours == pytest.approx(2 * once[rule].processor_hours)
        assert twice[rule].disk_mb == pytest.approx(2 * once[rule].disk_mb)
        assert twice[rule].memory_mb == once[rule].memory_mb


def test_gpus_are_counted_where_jobs_ask_for_them() -> None:
    rows = {row.rule: row for row in estimate(plan("config/studies/bali2026.yaml"), RATES)}
    assert rows["train_model"].processor_hours == 0 < rows["train_model"].gpu_hours
    assert rows["evaluate_specialization"].gpu_hours == 0 < rows["evaluate_specialization"].processor_hours
    changed = plan("config/studies/delia2026.yaml", "extraction={device: cpu, store: statistics, max_tokens: 256}")
    assert total(estimate(changed, RATES)).gpu_hours == 0


def test_attention_on_disk_is_the_lower_triangle_of_every_head() -> None:
    study = plan()
    shorter = plan("config/config.yaml", "extraction={store: statistics}", "stability=", "questions=[]")
    (jobs,) = [each for each in study.jobs if (each.rule, each.subject) == ("extract_attention", "multi_head")]
    lengths = study.tokens("multi_head")
    entries = sum(3 * 8 * (query + 1) for length in lengths for query in range(length))
    assert bytes_left(study, jobs) - bytes_left(shorter, jobs) == pytest.approx(PER_ENTRY * entries)


def test_a_model_of_which_nothing_is_known_is_named(tmp_path: Path) -> None:
    content = {"name": "x", "prompts": {"path": "prompts/headwise-120.jsonl"}}
    content["models"] = [{"name": "there", "source": "hub", "repository": "some/where"}]
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(StudyError, match=r"study\.yaml: models\.0 \('there'\)\.facts: .*add `facts`"):
        plan(str(path))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.yaml"], "nowhere.yaml: there is no such file"),
        (["config/config.yaml", "--config", "seeds"], "--config seeds: not KEY=VALUE"),
        (["config/config.yaml", "--config", "seeds=[one]"], "seeds.0"),
        (["config/config.yaml", "--measured", "docs"], "docs/benchmarks: no benchmarks of a finished run"),
        (["config/config.yaml", "--measured-study", "x.yaml"], "--measured results/NAME"),
    ],
)
def test_what_is_wrong_is_said(arguments: list[str], said: str) -> None:
    code, output = run(*arguments)
    assert code == 2
    assert said in output.replace("\n", "")


def write_benchmark(folder: Path, name: str, seconds: float, processor: float) -> Path:
    path = folder / "benchmarks" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"s": seconds, "cpu_time": processor, "max_rss": 100.0}) + "\n")
    return path


def test_measured_times_are_predicted_for_the_same_jobs(tmp_path: Path) -> None:
    for seed, seconds in ((1, 10.0), (2, 14.0), (3, 12.0)):
        write_benchmark(tmp_path, f"extract_attention/multi_head/seed{seed}", seconds, seconds)
    write_benchmark(tmp_path, "aggregate", 9.0, 9.0)
    rates = measured_rates(plan(), tmp_path)
    one = {row.rule: row for row in estimate(plan(), rates)}
    # The six models of the study are like the one that was measured, but for some that share keys and values.
    assert one["extract_attention"].processor_hours == pytest.approx(30 * 12 / 3600, rel=1e-3)
    assert one["aggregate"].processor_hours == pytest.approx(9 / 3600)
    assert {rule: rates[rule] for rule in RATES if rule not in ("extract_attention", "aggregate")} == {
        rule: rate for rule, rate in RATES.items() if rule not in ("extract_attention", "aggregate")
    }


def test_benchmarks_of_another_study_are_refused(tmp_path: Path) -> None:
    write_benchmark(tmp_path, "extract_attention/unheard_of/seed1", 10, 10)
    with pytest.raises(MeasuredError, match=r"no job of rule extract_attention for unheard_of: .*--measured-study"):
        measured_rates(plan(), tmp_path)


def test_a_damaged_benchmark_is_named(tmp_path: Path) -> None:
    write_benchmark(tmp_path, "aggregate", 9.0, 9.0).write_text("s\th:m:s\n")
    with pytest.raises(MeasuredError, match=r"aggregate\.jsonl: no benchmark"):
        measured_rates(plan(), tmp_path)


@pytest.mark.parametrize(
    ("elapsed", "looked_at", "processor", "expected"),
    [(10.0, 10.0, 8.0, 8.0), (31.0, 15.5, 15.5, 31.0), (60.0, 45.5, 22.75, 30.0), (20.0, 15.5, 0.0, 20.0)],
)
def test_processor_time_goes_on_after_the_last_look(
    elapsed: float, looked_at: float, processor: float, expected: float
) -> None:
    assert looked_at <= elapsed
    assert processor_seconds({"s": elapsed, "cpu_time": processor}) == pytest.approx(expected)
