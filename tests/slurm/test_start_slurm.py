"""The Slurm that the other tests rely on: what it must be able to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.slurm import start_slurm
from tests.slurm.queue_runs import until

pytestmark = pytest.mark.slurm


def test_that_it_runs_jobs_on_both_of_its_nodes(slurm):
    said = slurm.say("srun", "--nodes=2", "--ntasks=2", "printenv", "SLURMD_NODENAME")
    assert set(said.split()) == set(start_slurm.NODES)


def test_that_starting_it_again_finds_it(slurm):
    before = start_slurm.daemons(slurm.folder)
    again = subprocess.run(
        [sys.executable, start_slurm.__file__, "start", str(slurm.folder)],
        capture_output=True,
        check=True,
    )
    assert again.stdout.decode().strip() == f"export SLURM_CONF={slurm.configuration}"
    assert start_slurm.daemons(slurm.folder) == before
    assert len(before) == 2 + len(start_slurm.NODES)


def test_that_a_second_one_does_not_disturb_the_first_and_ends_with_its_jobs(slurm, tmp_path):
    """Whoever stops a Slurm ends the jobs of that one and nothing else."""
    mark = tmp_path / "pid"
    wait = f"echo $$ > {mark}; sleep 300"
    slurm.say("sbatch", "--job-name=other", "--output=/dev/null", "--wrap", "sleep 300")
    second = start_slurm.start(tmp_path / "second")
    try:
        second.say("sbatch", "--output=/dev/null", "--wrap", wait)
        until(lambda: mark.exists() and mark.read_text().endswith("\n"))
    finally:
        start_slurm.stop(second.folder)
    assert not start_slurm.daemons(second.folder)
    until(lambda: not Path(f"/proc/{mark.read_text().strip()}").exists(), seconds=60)
    assert slurm.say("squeue", "--noheader", "--name=other")
    slurm.say("scancel", "--name=other")
