"""The same Slurm by other ways: by the commands of PBS, and as one large job."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.slurm.queue_runs import (
    QUICK,
    assert_only_the_interrupted_ran_again,
    both_of,
    chunks,
    driven,
    finished,
    made,
    on_slurm,
    reference,
    standing,
)
from tests.slurm.start_slurm import PLACES

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
JOB = Path(__file__).parents[2] / "deploy" / "mpi" / "job.sh"


@pytest.mark.skipif(
    shutil.which("qsub", path=PLACES) is None, reason="no qsub here: .ci/run installs slurm-wlm-torque"
)
@pytest.mark.parametrize("dialect", ["torque"])
def test_that_jobs_of_pbs_do_the_same(slurm, place, dialect):
    said = on_slurm(kind="pbs", dialect=dialect, directives="['-r n']")
    workflow, run = made(place, 0.2, said), place / "pbs"
    with driven(workflow, run) as driver:
        both_of(slurm, run, driver)
        finished(driver)
    assert not standing(slurm, run)
    assert_only_the_interrupted_ran_again(place, 0)
    assert chunks(run) == reference(place)


def test_that_one_large_job_is_a_cluster_of_its_own(slurm, place, monkeypatch):
    """deploy/mpi/job.sh, on both nodes."""
    workflow, run = made(place, 0.1, QUICK), place / "large"
    monkeypatch.setenv("PYTHON", sys.executable)
    given = ["--wait", "--nodes=2", "--ntasks=2", f"--output={place}/out", f"--chdir={place}", str(JOB)]
    slurm.say("sbatch", *given, str(workflow), str(run), seconds=600)
    assert "finished" in (place / "out").read_text()
    assert not list(place.glob(".daflow-scheduler*"))
    assert_only_the_interrupted_ran_again(place, 0)
    assert chunks(run) == reference(place)
