"""What a run says it will take, before its first job."""

from headwise.planning.expected import announcement
from headwise.runtime.run_log import Expected


def test_work_is_shared_by_cores_and_no_shorter_than_its_longest_job() -> None:
    jobs = {number: Expected("models", 60.0) for number in range(10)} | {10: Expected("", 0.0)}
    assert announcement(jobs, 10, 2) == "10 jobs, about 5 min on 2 cores"
    assert announcement(jobs, 10, 64) == "10 jobs, about 60 s on 64 cores"
    assert announcement(jobs, 10, 0) == "10 jobs, about 10 min of one core or GPU in all"
    assert announcement(jobs, 12, 2) == "12 jobs, about 5 min on 2 cores, without 2 of which nothing is known"
