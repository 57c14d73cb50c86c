"""A real Slurm on this machine for tests: nodes of a chosen shape with fake GPUs, accounting, and all daemons.

All daemons run in the foreground as children of the tests, with files, sockets and ports of their own, so that nothing
of the machine is touched but `/etc/slurm/slurm.conf`: the step that Snakemake's plugin starts inside a job drops
SLURM_CONF from its environment, and Slurm's tools then look there.
"""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "mariadbd", "mariadb-install-db", "mariadb", "slurmdbd", "slurmctld", "slurmd", "sbatch", "sacct")
SYSTEM_CONFIGURATION = Path("/etc/slurm/slurm.conf")
ACCOUNT = "lab"
CLUSTER = "headwise_tests"

SLURM_CONF = """\
ClusterName={cluster}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdSpoolDir={folder}/spool-%n
StateSaveLocation={folder}/state
# No control groups in a container: processes are found through /proc, and memory is enforced by what accounting reads
# there once a second.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill,UsePss
MpiDefault=none
SchedulerParameters=bf_interval=2,sched_interval=2,batch_sched_delay=0,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
# The nodes below claim more than this machine has.
SlurmdParameters=config_overrides
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=20
MessageTimeout=30
KillWait=2
MinJobAge=300
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={database_daemon}
AccountingStoragePass={folder}/munge/socket
AccountingStorageEnforce=associations
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
GresTypes=gpu
{nodes}
PartitionName=cpu Nodes=ALL Default=YES MaxTime={minutes} State=UP
PartitionName=gpu Nodes=ALL MaxTime={minutes} State=UP
"""
NODE = (
    "NodeName={name} NodeAddr=127.0.0.1 NodeHostname={host} Port={port} CPUs={cpus} Boards=1 SocketsPerBoard=1 "
    "CoresPerSocket={cpus} ThreadsPerCore=1 RealMemory={memory_mb} Gres=gpu:2 Weight={weight} State=UNKNOWN"
)
SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={database_daemon}
SlurmUser=root
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser=slurm
StoragePass=slurm
StorageLoc=accounting
CommitDelay=1
"""


@dataclass(frozen=True)
class Shape:
    """Number of nodes; CPUs and memory of each, in MB; the longest time of a job, in minutes."""

    nodes: int = 2
    cpus: int = 8
    memory_mb: int = 16000
    minutes: int = 400

    @property
    def names(self) -> list[str]:
        return [f"n{number}" for number in range(1, self.nodes + 1)]

    def settings(self) -> str:
        """What slurm/cluster.yaml says of such a cluster."""
        sizes = f"max_threads: {self.cpus}, max_mem_mb: {self.memory_mb}, max_runtime: {self.minutes}"
        return f"account: {ACCOUNT}\ngpus: 4\npartitions:\n  cpu: {{{sizes}}}\n  gpu: {{{sizes}, max_gpu: 2}}\n"


def reason_to_skip() -> str | None:
    """Why a cluster cannot run on this machine; None where it can."""
    if os.geteuid() != 0:
        return "a Slurm cluster is started by root alone: run the tests as root, in a container for instance"
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        return f"not installed: {', '.join(missing)}; `make slurm-for-tests` installs Slurm from Debian packages"
    if SYSTEM_CONFIGURATION.exists() and f"ClusterName={CLUSTER}\n" not in SYSTEM_CONFIGURATION.read_text():
        return f"{SYSTEM_CONFIGURATION} exists: this machine belongs to a cluster, which tests leave alone"
    return None


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_until(true: Callable[[], bool], what: str, seconds: float = 180) -> float:
    """Wait until `true()`; the seconds that it took. Raises TimeoutError, naming what was waited for."""
    start = time.monotonic()
    while not true():
        if time.monotonic() - start > seconds:
            raise TimeoutError(f"{what}: not within {seconds} seconds")
        time.sleep(0.1)
    return time.monotonic() - start


def end_with_parent() -> None:
    """Have Linux end this process when the one that started it ends, be it killed (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _processes() -> list[Path]:
    """A folder of /proc for each process."""
    return [path for path in Path("/proc").iterdir() if path.name.isdecimal()]


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:  # ended meanwhile, or not to be read even by root
        return ""


def _parent(process: Path) -> Path:
    fields = _read(process / "stat").rpartition(")")[2].split()
    return process.parent / (fields[1] if fields else "0")


class Cluster:
    """One machine that behaves like a cluster; `start` and `stop` it, and break its parts in between."""

    def __init__(self, folder: Path, shape: Shape | None = None) -> None:
        self.folder = folder
        self.shape = shape or Shape()
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}

    def start(self) -> None:
        """Start everything; about 6 seconds."""
        self._write_configuration()
        self._start_database()
        self.start_daemon("slurmdbd", "slurmdbd", "-D")
        wait_until(lambda: self._works("sacctmgr", "-n", "show", "cluster"), "slurmdbd")
        self.call("sacctmgr", "-iQ", "add", "cluster", CLUSTER)
        self.call("sacctmgr", "-iQ", "add", "account", ACCOUNT, "Description=tests", "Organization=tests")
        self.call("sacctmgr", "-iQ", "add", "user", "root", f"Account={ACCOUNT}", f"DefaultAccount={ACCOUNT}")
        self.start_controller()
        for name in self.shape.names:
            self.start_node(name)
        wait_until(lambda: self.states() == {"idle"}, "nodes")

    def stop(self) -> None:
        """End all daemons, in an order in which each can say goodbye, and the jobs that are left."""
        if "slurmctld" in self.daemons and self._works("scontrol", "ping"):
            self._works("scancel", "--user", "root")
        for name in reversed(list(self.daemons)):
            self.end_daemon(name, signal.SIGTERM)
        if SYSTEM_CONFIGURATION.is_symlink() and SYSTEM_CONFIGURATION.readlink() == self.folder / "slurm.conf":
            SYSTEM_CONFIGURATION.unlink()

    def reshape(self, shape: Shape) -> None:
        """Go on with other nodes; accounting keeps its jobs."""
        for name in ("slurmctld", *self.shape.names):
            self.end_daemon(name, signal.SIGTERM)
        self.shape = shape
        self._forget("*")
        self._write_slurm_conf()
        self.start_controller()
        for name in shape.names:
            self.start_node(name)
        wait_until(lambda: self.states() == {"idle"}, "nodes")

    def has_saved(self, folder: Path) -> bool:
        """Whether the controller would still know the jobs of a folder if it were killed now; it saves now and then."""
        return str(folder).encode() in (self.folder / "state" / "job_state").read_bytes()

    def forget_jobs(self) -> None:
        """Have a controller that has ended know of no job when it starts again."""
        self._forget("job*")

    def _forget(self, pattern: str) -> None:
        for path in (self.folder / "state").glob(pattern):
            path.unlink() if path.is_file() else shutil.rmtree(path)

    def call(self, *command: str) -> str:
        """Run one of Slurm's commands; what it prints. Raises CalledProcessError where it fails."""
        return subprocess.run(
            command, env=self.environment, check=True, timeout=60, stdout=subprocess.PIPE, text=True
        ).stdout

    def accounting(self, *fields: str, since: str = "now-1hour") -> list[dict[str, str]]:
        """One dict per job (not step) that accounting knows, oldest first."""
        table = self.call(
            "sacct", "-X", "--parsable2", "--noheader", f"--starttime={since}", f"--format={','.join(fields)}"
        )
        return [dict(zip(fields, line.split("|"), strict=True)) for line in table.splitlines()]

    def states(self) -> set[str]:
        """The states that nodes are in."""
        return set(self.call("sinfo", "--noheader", "--partition=cpu", "--format=%T").split())

    def start_controller(self) -> None:
        """Start slurmctld, the first time or again, and wait until it answers."""
        self.start_daemon("slurmctld", "slurmctld", "-D")
        wait_until(lambda: self._works("scontrol", "ping"), "slurmctld")

    def start_node(self, name: str) -> None:
        """Start a node's slurmd, the first time or again."""
        self.start_daemon(name, "slurmd", "-D", "-N", name)

    def lose_node(self, name: str) -> None:
        """A node loses its power: slurmd and every process that it had started are gone at once."""
        tasks = [process for process in _processes() if f"SLURMD_NODENAME={name}" in _read(process / "environ")]
        parents = {_parent(task) for task in tasks}
        steps = [step for step in parents if "slurmstepd" in _read(step / "cmdline")]
        # First what reports to the controller, so that it hears nothing.
        self.end_daemon(name, signal.SIGKILL)
        for process in [*steps, *tasks]:
            with suppress(ProcessLookupError):
                os.kill(int(process.name), signal.SIGKILL)

    def start_daemon(self, name: str, *command: str) -> None:
        """Start a program in the foreground; what it prints goes to NAME.log."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    def end_daemon(self, name: str, how: signal.Signals) -> None:
        """Send a signal to a daemon and wait for its end; one that does not end within 20 seconds is killed."""
        daemon = self.daemons.pop(name)
        daemon.send_signal(how)
        try:
            daemon.wait(timeout=20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def _works(self, *command: str) -> bool:
        done = subprocess.run(command, env=self.environment, check=False, timeout=60, capture_output=True)
        return done.returncode == 0

    def _write_configuration(self) -> None:
        for name in ("munge", "state", "dev"):
            (self.folder / name).mkdir()
        # munged and its clients refuse a socket below a folder that others can write to or cannot enter.
        (self.folder / "munge").chmod(0o755)
        names = ("controller", "database_daemon", "database", *Shape().names)
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))
        self._write_slurm_conf()
        (self.folder / "slurmdbd.conf").write_text(SLURMDBD_CONF.format(folder=self.folder, **self._ports))
        (self.folder / "slurmdbd.conf").chmod(0o600)
        devices = []
        for name in Shape().names:
            for number in range(2):
                # A copy of /dev/null: Slurm counts and hands out device files without opening them.
                os.mknod(self.folder / "dev" / f"{name}-gpu{number}", 0o20666, os.makedev(1, 3))
            files = f"{self.folder}/dev/{name}-gpu[0-1]"
            devices.append(f"NodeName={name} Name=gpu File={files} Flags=nvidia_gpu_env")
        (self.folder / "gres.conf").write_text("\n".join(["AutoDetect=off", *devices]) + "\n")
        SYSTEM_CONFIGURATION.parent.mkdir(exist_ok=True)
        SYSTEM_CONFIGURATION.unlink(missing_ok=True)
        SYSTEM_CONFIGURATION.symlink_to(self.folder / "slurm.conf")
        (self.folder / "munge" / "key").write_bytes(os.urandom(1024))
        (self.folder / "munge" / "key").chmod(0o600)
        munge = {"key-file": "key", "socket": "socket", "pid-file": "pid", "seed-file": "seed"}
        options = [f"--{option}={self.folder}/munge/{file}" for option, file in munge.items()]
        self.start_daemon("munged", "munged", "--foreground", "--force", *options)
        wait_until((self.folder / "munge" / "socket").exists, "munged")

    def _write_slurm_conf(self) -> None:
        host, size = socket.gethostname().split(".")[0], {"cpus": self.shape.cpus, "memory_mb": self.shape.memory_mb}
        # Slurm prefers the node of least weight.
        nodes = [
            NODE.format(name=name, host=host, port=self._ports[name], weight=n, **size)
            for n, name in enumerate(self.shape.names, 1)
        ]
        values = {"cluster": CLUSTER, "folder": self.folder, "host": host, "nodes": "\n".join(nodes), **self._ports}
        (self.folder / "slurm.conf").write_text(SLURM_CONF.format(minutes=self.shape.minutes, **values))

    def _start_database(self) -> None:
        data, server = self.folder / "database", f"--socket={self.folder}/database.socket"
        method = ["--auth-root-authentication-method=normal"]
        with (self.folder / "install.log").open("wb") as log:
            subprocess.run(
                ["mariadb-install-db", "--no-defaults", *method, "--skip-test-db", "--user=root", f"--datadir={data}"],
                check=True,
                stdout=log,
                stderr=log,
            )
        self.start_daemon(
            "mariadbd",
            *("mariadbd", "--no-defaults", "--user=root", f"--datadir={data}", server, "--bind-address=127.0.0.1"),
            *(f"--port={self._ports['database']}", "--innodb-flush-log-at-trx-commit=0", "--skip-name-resolve"),
            # slurmdbd asks for at least this, so that large transactions pass.
            *("--innodb-buffer-pool-size=128M", "--innodb-lock-wait-timeout=900"),
        )
        client = ("mariadb", "--no-defaults", server, "-uroot", "-e")
        wait_until(lambda: self._works(*client, "SELECT 1"), "mariadbd")
        self.call(
            *client,
            "CREATE DATABASE accounting; CREATE USER slurm@'127.0.0.1' IDENTIFIED BY 'slurm'; "
            "GRANT ALL ON accounting.* TO slurm@'127.0.0.1'",
        )
