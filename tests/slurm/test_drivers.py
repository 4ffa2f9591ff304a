"""Drivers on a real Slurm: killed, or refused what they ask for."""

from __future__ import annotations

import os
import re
import signal

import pytest

from tests.end_to_end.small_run import start
from tests.slurm.queue_runs import (
    assert_only_the_interrupted_ran_again,
    both_of,
    chunks,
    driven,
    ended,
    finished,
    job_name,
    made,
    n_ended,
    on_slurm,
    reference,
    standing,
    until,
)
from tests.slurm.start_slurm import CLOSING, SLOTS

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def test_that_a_killed_driver_s_jobs_are_cleared_by_the_next_which_goes_on(slurm, place):
    """A whole node a job: two run, and the third is still to come when the driver dies."""
    workflow, run = made(place, 0.3, on_slurm(jobs=3, cores=SLOTS)), place / "killed"
    with driven(workflow, run) as driver:
        both_of(slurm, run, driver)
        until(lambda: n_ended(run) > 8, driver)
        orphans = standing(slurm, run)
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    said = ("--parsable", f"--job-name={job_name(run)}", "--output=/dev/null", "--wrap=sleep 600")
    another = slurm.say("sbatch", *said).strip()
    with ended(start("resume", run)) as driver:
        until(lambda: not set(orphans) & set(standing(slurm, run)), driver)
        said = finished(driver)
    assert len(orphans) == 3
    assert re.search(r"cleared \d jobs? \(.*\b(" + "|".join(orphans) + r")\b", said), said
    assert standing(slurm, run) == [another]  # called the same, but none of the run's
    slurm.say("scancel", another)
    assert_only_the_interrupted_ran_again(place, 2)
    assert chunks(run) == reference(place)


def test_that_a_run_waits_where_the_queue_takes_no_jobs_until_it_does(slurm, place):
    workflow, run = made(place, 0.1, on_slurm(queue=CLOSING)), place / "refused"
    slurm.say("scontrol", "update", f"partitionname={CLOSING}", "state=inactive")
    try:
        with driven(workflow, run) as driver:
            told = []
            for line in driver.stdout:
                told.append(line)
                if "sbatch was refused" in line:
                    break
            slurm.say("scontrol", "update", f"partitionname={CLOSING}", "state=up")
            finished(driver)
    finally:
        slurm.say("scontrol", "update", f"partitionname={CLOSING}", "state=up")
    assert "inactive or drain" in told[-1]
    assert "tried again" in told[-1]
    assert_only_the_interrupted_ran_again(place, 0)
    assert chunks(run) == reference(place)
