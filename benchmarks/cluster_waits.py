"""How long a study of short jobs takes on a Slurm cluster of one machine, beside the same study without Slurm.

    python benchmarks/cluster_waits.py [--cpus 2] [--memory-mb 16000] [--minutes 400] [--transcript FILE]

The cluster is that of tests/slurm, which root can start where Slurm is installed; nothing else may use it meanwhile.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY / "tests"), str(REPOSITORY / "tests" / "slurm")]

from cluster import Cluster, Shape  # noqa: E402
from project import Project  # noqa: E402
from run import MODELS, SlurmStudy  # noqa: E402

SEEDS = [1]


def main() -> None:
    """Run both, print their times and what Slurm was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--cpus", type=int, default=2, help="of a node")
    parser.add_argument("--memory-mb", type=int, default=16000, help="of a node")
    parser.add_argument("--minutes", type=int, default=400, help="longest time of a job")
    parser.add_argument("--transcript", type=Path, help="file for what Snakemake prints")
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "slurm").mkdir()
        cluster = Cluster(place / "slurm", Shape(asked.nodes, asked.cpus, asked.memory_mb, asked.minutes))
        local = Project(place / "local", seeds=SEEDS, models=MODELS)
        start = time.monotonic()
        local.run("--cores", "2")
        alone = time.monotonic() - start
        try:
            cluster.start()
            study = SlurmStudy(place / "study", cluster, seeds=SEEDS)
            command = [sys.executable, "-m", "snakemake", "--configfile", study.study.name, "--profile", "slurm"]
            start = time.monotonic()
            done = subprocess.run(command, cwd=study.folder, env=study.environment, capture_output=True, text=True)
            together = time.monotonic() - start
            print(f"without Slurm {alone:.0f} s, with Slurm {together:.0f} s: {together / alone:.2f} times")
            for job in study.jobs():
                print(job["Comment"], job["State"], job["ReqTRES"], f"{job['ElapsedRaw']} s", sep="  ")
            if asked.transcript:
                asked.transcript.write_text(done.stdout + done.stderr)
        finally:
            cluster.stop()
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
