"""The driver itself as a job of a real Slurm, and a chain of such jobs."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

import daflow
from daflow.assemble.driving.chain import read_chain
from daflow.execution.queues.registry import registered
from daflow.runs.journal import read_journal
from tests.end_to_end.small_run import command, written
from tests.slurm.queue_runs import (
    FORECAST,
    WORKFLOW,
    assert_only_the_interrupted_ran_again,
    calls,
    chunks,
    reference,
    until,
)
from tests.slurm.start_slurm import Slurm

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

SMALL = "execution: {kind: local, workers: 2, memory: 500MB, group: 1}\n"
GATE = 'while not CALLS.with_name("go").exists():\n        time.sleep(0.1)'
"""No member comes to its end before the test lets it: whatever else this machine does, the first drivers of a
run have more to do than they have time for."""


def gated(place: Path) -> Path:
    return written(place, WORKFLOW + SMALL, FORECAST.replace("time.sleep(SECONDS)", GATE))


def submitted(workflow: Path, folder: Path, *words: str) -> str:
    words = ("--system", "slurm", "--walltime", "00:01:00", "--chain", *words)
    said = command("submit", workflow, "--run", folder, *words, "--json")
    assert said.returncode == 0, said.stderr
    return json.loads(said.stdout)["job"]


def drivers(slurm: Slurm, folder: Path) -> list[str]:
    """Return the jobs of a run's drivers that wait or run."""
    ours = {job.id for job in registered(folder) if job.kind == "driver"}
    return [job for job in slurm.say("squeue", "--noheader", "--format=%i").split() if job in ours]


def test_that_a_run_goes_from_job_to_job_until_it_is_done(slurm, place):
    workflow, run = gated(place), place / "run"
    # Slurm counts in minutes: the first driver lives for a quarter of one, those that follow for ten.
    first = submitted(workflow, run, "--margin", "00:00:45")
    script = run / "driver.sh"
    text = script.read_text()
    for before, after in (("00:01:00", "00:10:00"), ("+ 60 ))", "+ 600 ))"), ("MARGIN=45", "MARGIN=5")):
        assert before in text
        text = text.replace(before, after)
    script.write_text(text)
    refused = command("submit", workflow, "--run", run, "--system", "slurm")
    assert refused.returncode == 1
    assert "has a driver already, or is to have one" in refused.stderr
    until(lambda: len(read_chain(run)) > 1, seconds=180)
    (place / "go").touch()
    watched = command("attach", run)
    assert watched.returncode == 0, watched.stderr + (run / "driver.log").read_text()
    history, known = read_chain(run), read_journal(run / "journal.jsonl")
    assert history[0].job == first
    assert [each.successor for each in history[:-1]] == [each.job for each in history[1:]]
    kinds = [fact["kind"] for fact in known if fact["fact"] == "stopped"]
    assert kinds == ["walltime"] * (len(kinds) - 1) + ["finished"]
    assert {fact["mode"] for fact in known if fact["fact"] == "opened"} == {"job"}
    good = Counter((f["phase"], f["step"], f["index"]) for f in known if f.get("status") == "ok")
    assert set(good.values()) == {1}
    assert_only_the_interrupted_ran_again(place, 2 * (len(history) - 1))
    until(lambda: not drivers(slurm, run))
    assert chunks(run) == reference(place)


def test_that_a_driver_that_is_cancelled_is_followed_and_one_that_is_stopped_is_not(slurm, place):
    workflow, run = gated(place), place / "stopped"
    first = submitted(workflow, run, "--walltime", "00:10:00")  # it is there when it is cancelled
    until(lambda: calls(place)[0], seconds=180)
    assert f"job {first} of slurm, process " in daflow.open_run(run).status().driver
    slurm.say("scancel", first)
    until(lambda: first not in drivers(slurm, run) and len(read_chain(run)) > 1, seconds=180)
    stopped = command("stop", run, "--now")
    assert stopped.returncode == 0, stopped.stderr
    until(lambda: not drivers(slurm, run))
    status = daflow.open_run(run).status()
    assert (status.resumable, status.driver) == (True, "")
