"""What a run says: of records as Snakemake writes them, and with clocks that are set."""

import logging
from pathlib import Path
from typing import Any

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from headwise.runtime.run_log import Expected, RunLog, duration, repeating


def record(message: str = "", level: int = logging.INFO, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord("snakemake", level, "", 0, message, None, None)
    vars(made).update(more)
    return made


def started(number: int, rule: str, **wildcards: str) -> logging.LogRecord:
    return record(event=LogEvent.JOB_INFO, jobid=number, rule_name=rule, wildcards=wildcards)


def finished(number: int) -> logging.LogRecord:
    return record(event=LogEvent.JOB_FINISHED, job_id=number)


def failed(rule: str, output: str, log: list[str], **more: Any) -> logging.LogRecord:
    said = {"jobid": 1, "rule_name": rule, "rule_msg": None, "output": [output], "log": log, "aux": {}, "indent": False}
    return record("Error in rule", logging.ERROR, event=LogEvent.JOB_ERROR, **said | more)


@pytest.fixture
def run() -> RunLog:
    """A run of three jobs: two of 100 s, one of 50 s; and `all`."""
    run = RunLog(["snakemake", "--cores", "2", "--configfile", "s.yaml"])
    stats = {"train_model": 2, "write_report": 1, "all": 1, "total": 4}
    run.lines(record("Job stats:", event=LogEvent.RUN_INFO, stats=stats), 0.0)
    expected = {1: Expected("models", 100.0), 2: Expected("models", 100.0), 3: Expected("report", 50.0)}
    assert run.lines(record("3 jobs", expected_jobs=expected, cores=2, rules_without_work={"all"}), 0.0) == ["3 jobs"]
    return run


def test_a_job_is_one_line_at_its_end(run: RunLog) -> None:
    assert run.lines(started(1, "train_model", model="big", seed="3"), 0.0) == []
    (line,) = run.lines(finished(1), 100.0)
    # Of 250 s 100 are done, in 100 s; and what is believed beforehand: 120 in 60 s. 150 × 160 / 220 = 109.
    assert line == "1 of 3  models: train_model  1 of 2  big, seed 3  2 min  about 2 min left"


def test_time_left_is_that_of_the_machine_in_the_end(run: RunLog) -> None:
    run.lines(started(1, "train_model"), 0.0)
    run.lines(finished(1), 100_000.0)
    # A core a thousand times slower than expected.
    assert run.seconds_left(100_000.0) == pytest.approx(150 * 100_060 / 220)
    assert "h left" in run.status(100_000.0)


def test_a_job_that_runs_counts_by_the_time_that_it_has_run(run: RunLog) -> None:
    assert run.seconds_left(0.0) == pytest.approx(125)
    for number in (1, 2):
        run.lines(started(number, "train_model"), 0.0)
    assert run.seconds_left(50.0) == pytest.approx(150 / 2)
    assert run.seconds_left(500.0) > 0, "never done before its end"


def test_on_a_cluster_nothing_is_known_before_jobs_have_ended() -> None:
    run = RunLog()
    run.lines(record(event=LogEvent.RUN_INFO, stats={"train_model": 2, "total": 2}), 0.0)
    run.lines(record("jobs", expected_jobs={1: Expected("", 10.0), 2: Expected("", 30.0)}, cores=0), 0.0)
    assert run.seconds_left(50.0) is None
    run.lines(started(1, "train_model"), 50.0)
    run.lines(finished(1), 100.0)
    assert run.seconds_left(100.0) == pytest.approx(300)


def test_where_a_run_stands(run: RunLog) -> None:
    run.lines(started(1, "train_model", model="big", seed="3"), 0.0)
    run.lines(record("careful", logging.WARNING), 0.0)
    assert run.status(0.0) == "models · 0 of 3 jobs · about 2 min left · 1 warning · now train_model big, seed 3"


def test_a_rule_that_makes_nothing_is_no_job(run: RunLog) -> None:
    run.lines(started(4, "all"), 0.0)
    assert run.lines(finished(4), 1.0) == []
    assert (run.done, run.total) == (0, 3)


def test_a_failure_says_rule_model_end_of_log_and_command(run: RunLog, tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    run.lines(started(1, "train_model", model="big", seed="3"), 0.0)
    assert run.lines(failed("train_model", "models/big/a b", [str(log)]), 1.0) == [
        "FAILED: rule train_model, big, seed 3",
        f"  The end of {log}:",
        *(f"    line {number}" for number in range(88, 100)),
        "  To run it again: snakemake 'models/big/a b' --cores 2 --configfile s.yaml",
    ]
    assert not run.running, "it may be tried again"


def test_what_slurm_says_stays_and_a_log_is_shown_once(run: RunLog, tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    log.write_text("a line\n")
    sentence = (
        "Slurm job 7 ended as TIMEOUT (exit code 0:0) on n1 after 00:01:10: out of time: it had asked for 00:01:00. "
    )
    shown = f"The end of {log}:\n    a line"
    assert run.lines(record(shown, logging.ERROR), 0.0) == [shown]
    said = run.lines(failed("compare", "c.txt", [str(log)], rule_msg=sentence, aux={"external_jobid": "7"}), 0.0)
    assert said[:3] == ["FAILED: rule compare", f"  {sentence}", "  external_jobid: 7"]
    assert len(said) == 4
    assert said[3].startswith("  To run it again: ")


def test_of_a_group_only_jobs_without_their_files_have_failed(run: RunLog, tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    group = record("Error", logging.ERROR, event=LogEvent.GROUP_ERROR, groupid="report", job_error_info=[{}, {}])
    assert run.lines(group, 0.0) == ["FAILED: group report of 2 jobs"]
    assert run.lines(failed("one", str(tmp_path / "there"), [], indent=True), 0.0) == []
    assert run.lines(failed("two", str(tmp_path / "lacking"), [], indent=True), 0.0)[0] == "FAILED: rule two"


@pytest.mark.parametrize(
    ("message", "level", "said"),
    [
        ("Select jobs to execute...", logging.INFO, []),
        (
            "Job 3 has been submitted with SLURM jobid 12",
            logging.INFO,
            ["Job 3 has been submitted with SLURM jobid 12"],
        ),
        ("Execute order", logging.WARNING, ["Execute order"]),
        ("None", logging.INFO, []),
    ],
)
def test_commonplaces_are_left_out_and_warnings_never(message: str, level: int, said: list[str]) -> None:
    assert RunLog().lines(record(message, level), 0.0) == said


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5969, "99 min"), (5970, "1.7 h")]
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_command_is_repeated_for_one_file() -> None:
    assert repeating(["bin/snakemake", "--configfile", "s.yaml"], "a") == "bin/snakemake a --configfile s.yaml"
