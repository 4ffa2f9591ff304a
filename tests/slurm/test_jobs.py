"""Workers as jobs of a real Slurm: what becomes of jobs and nodes, a run each."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.slurm.queue_runs import (
    QUICK,
    assert_only_the_interrupted_ran_again,
    both_of,
    chunks,
    driven,
    finished,
    made,
    n_ended,
    on_slurm,
    reference,
    running,
    standing,
    until,
)
from tests.slurm.start_slurm import PARTITION

DEPLOY = Path(__file__).parents[2] / "deploy"
pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def test_that_a_run_on_two_jobs_has_the_bits_of_a_local_one(slurm, place):
    workflow, run = made(place, 0.2, on_slurm()), place / "two"
    with driven(workflow, run) as driver:
        both_of(slurm, run, driver)
        finished(driver)
    assert not standing(slurm, run)
    assert_only_the_interrupted_ran_again(place, 0)
    assert chunks(run) == reference(place)


def of_this_site(place: Path) -> Path:
    """Return the profile that is shipped for Slurm, with what is marked in it changed to this site."""
    profile = yaml.safe_load((DEPLOY / "slurm" / "profile.yaml").read_text())
    here = {"jobs": 2, "queue": PARTITION, "interface": "lo", "prologue": []}
    small = {"cores": 2, "memory": "2GB", "processes": 2, "group": 1}
    profile["execution"] |= here | small
    path = place / "site.yaml"
    path.write_text(yaml.safe_dump(profile))
    return path


def test_that_a_cancelled_job_is_replaced_where_no_node_is_drained(slurm, place):
    """Jobs of two workers, by the profile in deploy/: none of their places stays empty."""
    workflow, run, profile = made(place, 0.8, QUICK), place / "cancelled", of_this_site(place)
    with driven(workflow, run, "--profile", str(profile)) as driver:
        jobs = both_of(slurm, run, driver)
        until(lambda: n_ended(run) > 4, driver)
        cancelled, node = next(iter(jobs.items()))
        slurm.say("scontrol", "update", f"nodename={node}", "state=drain", "reason=tests/slurm")
        try:
            slurm.say("scancel", cancelled)
            now = until(lambda: len(now := running(slurm, run)) == 2 and cancelled not in now and now, driver)
        finally:
            slurm.say("scontrol", "update", f"nodename={node}", "state=resume")
        assert [now[job] for job in now.keys() - jobs.keys()] != [node]
        finished(driver)
    assert_only_the_interrupted_ran_again(place, 2)
    assert chunks(run) == reference(place)


def test_that_a_node_that_goes_down_takes_its_jobs_and_nothing_else(slurm, place):
    workflow, run = made(place, 0.5, on_slurm(jobs=2)), place / "down"
    with driven(workflow, run) as driver:
        jobs = both_of(slurm, run, driver)
        until(lambda: n_ended(run) > 4, driver)
        lost, node = next(iter(jobs.items()))
        slurm.say("scontrol", "update", f"nodename={node}", "state=down", "reason=tests/slurm")
        try:
            now = until(lambda: len(now := running(slurm, run)) == 2 and lost not in now and now, driver)
        finally:
            slurm.say("scontrol", "update", f"nodename={node}", "state=resume")
        assert node not in now.values()
        finished(driver)
    assert_only_the_interrupted_ran_again(place, 2)
    assert chunks(run) == reference(place)
