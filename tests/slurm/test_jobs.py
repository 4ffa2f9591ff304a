"""Workers as jobs of a real Slurm: what becomes of jobs and nodes, a run each."""

from __future__ import annotations

import pytest

from tests.slurm.queue_runs import (
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

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def test_that_a_run_on_two_jobs_has_the_bits_of_a_local_one(slurm, place):
    workflow, run = made(place, 0.2, on_slurm()), place / "two"
    with driven(workflow, run) as driver:
        both_of(slurm, run, driver)
        finished(driver)
    assert not standing(slurm, run)
    assert_only_the_interrupted_ran_again(place, 0)
    assert chunks(run) == reference(place)


def test_that_a_cancelled_job_is_replaced_where_no_node_is_drained(slurm, place):
    """Jobs of two workers: none of their places stays empty."""
    workflow = made(place, 0.4, on_slurm(jobs=2, processes=2, cores=2, memory="2GB"))
    run = place / "cancelled"
    with driven(workflow, run) as driver:
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
    workflow, run = made(place, 0.3, on_slurm(jobs=2)), place / "down"
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
