"""The jobs of a study, asked of Snakemake: its own plan, as if nothing were there yet.

No executor is loaded, since Slurm's asks the cluster, and nothing is written into the working folder.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwise.models.resources import Needs
from headwise.runtime.sources import PACKAGE
from headwise.study.merging import merged_changes

if TYPE_CHECKING:
    from snakemake.workflow import Workflow

SNAKEFILE = PACKAGE.parents[1] / "Snakefile"


class PlanError(ValueError):
    """Snakemake cannot plan a study."""


@dataclass(frozen=True)
class Jobs:
    """Jobs of one rule that take the same.

    stage    the file of workflow/rules that has the rule, without its ending; empty for rules of the Snakefile itself
    subject  the model, group of refits or arm that they are about; empty where a rule runs once
    needs    what each asks for at its first attempt; 0 where a rule asks for none, or cannot know it before its inputs
             are there
    runs     false for a rule that only names files, such as `all`
    seeds    one job for each; a rule without seeds has one job, of seed 0
    """

    stage: str
    rule: str
    subject: str
    needs: Needs
    runs: bool = True
    seeds: tuple[int, ...] = (0,)

    @property
    def count(self) -> int:
        """How many jobs."""
        return len(self.seeds)


def planned_jobs(study_files: Sequence[str | Path], changes: Sequence[str]) -> list[Jobs]:
    """All jobs that `snakemake --configfile STUDY_FILES --config CHANGES` would run in an empty folder, in the order of
    the rules' files. Half a minute for 4,000 jobs.

    Raises PlanError with what Snakemake says, and StudyError for a change that is not KEY=VALUE.
    """
    seeds: dict[Jobs, list[int]] = defaultdict(list)
    with _planned(study_files, changes) as workflow:
        # Those of the Snakefile itself stand before all that it includes, and run after it.
        order = [rule.name for rule in sorted(workflow.rules, key=lambda rule: _stage(rule) == "")]
        for job in workflow.dag.jobs:
            one = described(job)
            seeds[replace(one, seeds=())] += one.seeds
    found = [replace(jobs, seeds=tuple(sorted(of_jobs))) for jobs, of_jobs in seeds.items()]
    return sorted(found, key=lambda jobs: (order.index(jobs.rule), jobs.subject, jobs.seeds))


def described(job: Any) -> Jobs:
    """One job of Snakemake's."""
    about = dict(job.wildcards_dict)
    seed = int(about.pop("seed", 0))
    subject = next(iter(about.values()), "")
    return Jobs(_stage(job.rule), job.rule.name, subject, _needs(job.resources), not job.rule.norun, (seed,))


@contextmanager
def _planned(study_files: Sequence[str | Path], changes: Sequence[str]) -> Iterator["Workflow"]:
    """Snakemake's workflow with the DAG of a study."""
    # Over a second; the other modules here are imported by the Snakefile.
    with _no_executor_plugins():
        from snakemake.api import SnakemakeApi
    from snakemake.exceptions import RuleException, WorkflowError
    from snakemake.settings.enums import Quietness
    from snakemake.settings.types import (
        ConfigSettings,
        DAGSettings,
        OutputSettings,
        ResourceSettings,
        SharedFSUsage,
        StorageSettings,
        WorkflowSettings,
    )
    from snakemake_interface_executor_plugins.settings import ExecMode

    if not SNAKEFILE.is_file():
        raise PlanError(f"{SNAKEFILE} is not there: install headwise from its checkout (pip install --editable .)")
    try:
        with SnakemakeApi(OutputSettings(quiet={Quietness.ALL}, enable_file_logging=False)) as snakemake:
            workflow = snakemake.workflow(
                ResourceSettings(),
                ConfigSettings(config=merged_changes(changes), configfiles=list(map(Path, study_files))),
                # A job on another machine keeps Snakemake's records in a temporary folder, not in the working folder.
                StorageSettings(shared_fs_usage=SharedFSUsage.all() - {SharedFSUsage.PERSISTENCE}),
                WorkflowSettings(exec_mode=ExecMode.REMOTE),
                snakefile=SNAKEFILE,
            )
            with redirect_stdout(StringIO()):
                # What plans, runs nothing, and leaves the plan behind.
                workflow.dag(DAGSettings(forceall=True)).printrulegraph()
            yield workflow._workflow
    except (WorkflowError, RuleException) as error:
        raise PlanError(str(error)) from error


@contextmanager
def _no_executor_plugins() -> Iterator[None]:
    """Within it Snakemake is imported without the executors that are installed beside it: Slurm's asks the cluster."""
    from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

    collect = ExecutorPluginRegistry.collect_plugins
    ExecutorPluginRegistry.collect_plugins = lambda self: None
    try:
        yield
    finally:
        ExecutorPluginRegistry.collect_plugins = collect


def _stage(rule: Any) -> str:
    """The file of workflow/rules that has a rule; empty for the Snakefile."""
    path = Path(str(rule.snakefile))
    return "" if path == SNAKEFILE else path.stem


def _needs(resources: Any) -> Needs:
    """What a job asks for; Snakemake has a text that says TBD for what follows from files that are not there."""
    found = (resources.get(name, 0) for name in ("mem_mb", "runtime", "gpu"))
    return Needs(*(amount if isinstance(amount, int) else 0 for amount in found))
