"""Jobs that end before the run does, by their margin and by Slurm's own clock."""

from __future__ import annotations

import pytest

from daflow.runs.journal import read_journal
from tests.slurm.queue_runs import (
    assert_only_the_interrupted_ran_again,
    chunks,
    driven,
    finished,
    made,
    on_slurm,
    reference,
    standing,
)

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


HANGS = """
def hang_once():
    try:
        if CALLS.read_text().count("began") >= 10:
            CALLS.with_name("hangs").touch(exist_ok=False)
            time.sleep(600)
    except FileExistsError:
        pass
"""
"""The first to come after nine others never ends."""


def jobs_of(folder) -> list[str]:
    """Return all jobs that a run ever had."""
    return [line for line in (folder / "work" / "jobs.jsonl").read_text().splitlines() if '"worker"' in line]


def test_that_jobs_shorter_than_the_run_are_followed_by_others_and_nothing_is_done_twice(slurm, place):
    """The first two workers have little time, of which starting takes what it takes; others have enough."""
    life = f"if mkdir {place}/a || mkdir {place}/b; then LIFE=24; else LIFE=600; fi"
    end = "export DAFLOW_JOB_END=`expr $DAFLOW_JOB_START + 597 + $LIFE`"
    # A margin of 596 s of 600 s leaves a second for the ends to lie apart.
    said = on_slurm(walltime="'00:10:00'", margin=596, prologue=f"['{life}', '{end}']")
    workflow, run = made(place, 0.8, said), place / "short"
    with driven(workflow, run) as driver:
        finished(driver)
    assert len(jobs_of(run)) == 4
    assert not standing(slurm, run)
    # None, but for a machine that stood still for seconds.
    assert_only_the_interrupted_ran_again(place, 2)
    assert chunks(run) == reference(place)


def test_that_a_job_ended_by_slurm_itself_is_told_and_what_it_was_at_runs_again(slurm, place):
    """A site ends jobs sooner than their scripts know: the worker is at a member when its minute is over."""
    later = "['export DAFLOW_JOB_END=`expr $DAFLOW_JOB_START + 600`']"
    workflow = made(place, 0.1, on_slurm(walltime="'00:01:00'", margin=1, prologue=later))
    model = place / "model.py"
    model.write_text(
        HANGS + model.read_text().replace('    noted("ended"', '    hang_once()\n    noted("ended"')
    )
    run = place / "timeout"
    with driven(workflow, run) as driver:
        said = finished(driver)
    assert "TIMEOUT" in said
    lost = [fact for fact in read_journal(run / "journal.jsonl") if fact.get("status") == "lost"]
    assert lost
    assert all("TIMEOUT" in fact["reason"] and fact["figures"]["blameless"] for fact in lost)
    assert not standing(slurm, run)
    assert_only_the_interrupted_ran_again(place, 2)
    assert chunks(run) == reference(place)
