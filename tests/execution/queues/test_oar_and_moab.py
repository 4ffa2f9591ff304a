"""OAR and Moab cannot be had here: they are held to what their manuals say that they say."""

from __future__ import annotations

import json

import pytest

from daflow.errors import CombinationError, PoolError
from daflow.execution.queues.batch_systems import batch_system
from daflow.execution.queues.job_states import UNKNOWN, JobState
from tests.execution.fake_commands import FakeCommands


@pytest.fixture
def fake(tmp_path, monkeypatch):
    return FakeCommands(tmp_path / "bin", monkeypatch)


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "job.sh"
    path.write_text("#!/bin/sh\n")
    return path


def test_that_scripts_are_submitted_one_by_one(fake, script):
    fake.say("oarsub", "[ADMISSION RULE] Modify resource description\nOAR_JOB_ID=17\n")
    fake.say("msub", "\nMoab.17\n")
    assert batch_system("oar").submit(script, after="9") == "17"
    assert batch_system("moab").submit(script, after="9") == "Moab.17"
    assert fake.called == [f"oarsub -a 9 -S {script}", f"msub -l depend=afterany:9 {script}"]
    for kind in ("oar", "moab"):
        system = batch_system(kind)
        assert (system.kind, system.has_arrays) == (kind, False)
        with pytest.raises(CombinationError, match="no arrays"):
            system.submit(script, array=3)
        with pytest.raises(CombinationError, match="no arrays"):
            system.element("17", 1)


@pytest.mark.parametrize(("kind", "command"), [("oar", "oarsub"), ("moab", "msub")])
def test_that_an_answer_without_an_id_is_told(fake, script, kind, command):
    fake.say(command, "ERROR: no such queue\n")
    with pytest.raises(PoolError, match=f"{command} gave no id"):
        batch_system(kind).submit(script)


OAR = [
    ({"state": "Waiting", "message": "Karma = 0.5"}, JobState("pending", "Karma = 0.5")),
    ({"state": "Running"}, JobState("running", "", "n1,n2")),
    ({"state": "Finishing"}, JobState("running", "", "n1,n2")),
    ({"state": "Terminated", "exit_code": 0}, JobState("ended", "COMPLETED", "n1,n2")),
    ({"state": "Terminated", "exit_code": 256}, JobState("ended", "FAILED", "n1,n2")),
    ({"state": "Error", "events": [{"type": "WALLTIME"}]}, JobState("ended", "TIMEOUT", "n1,n2")),
    ({"state": "Error", "events": [{"type": "FRAG_JOB_REQUEST"}]}, JobState("ended", "CANCELLED", "n1,n2")),
    ({"state": "Error"}, JobState("ended", "FAILED", "n1,n2")),
]


@pytest.mark.parametrize(("said", "state"), OAR, ids=lambda case: str(case)[:40])
def test_that_oarstat_is_understood(fake, said, state):
    fake.say("oarstat", json.dumps({"17": {"assigned_network_address": ["n1", "n2"], **said}}))
    assert batch_system("oar").states(["17"]) == {"17": state}
    assert fake.called == ["oarstat -J -f -j 17"]


def test_that_jobs_that_oar_does_not_know_are_unknown(fake):
    fake.say("oarstat", "")
    assert batch_system("oar").states(["17"]) == {"17": UNKNOWN}
    fake.say("oarstat", "", code=1, error="No job matching your query: not found\n")
    assert batch_system("oar").states(["17"]) == {"17": UNKNOWN}


MOAB = [
    ("State: Idle\n", JobState("pending")),
    ("State: Deferred\n", JobState("pending", "Deferred")),
    ("State: Running\n\nAllocated Nodes:\n[n7:4]\n", JobState("running", "", "n7")),
    ("State: Completed\nCompletion Code: 0  Time: ...\n", JobState("ended", "COMPLETED")),
    ("State: Completed\nCompletion Code: -11\n", JobState("ended", "FAILED")),
    ("State: Removed\nCompletion Code: 271\n[n7:4]\n", JobState("ended", "CANCELLED", "n7")),
    ("State: Vacated\n", JobState("ended", "PREEMPTED")),
    ("nothing of the kind\n", UNKNOWN),
]


@pytest.mark.parametrize(("said", "state"), MOAB, ids=lambda case: str(case)[:30])
def test_that_checkjob_is_understood(fake, said, state):
    fake.say("checkjob", f"job 17\n\nAName: daflow-x\n{said}")
    assert batch_system("moab").states(["17"]) == {"17": state}


def test_that_jobs_are_cancelled_and_those_that_have_ended_do_no_harm(fake):
    fake.say("oardel", "", code=1, error="Job 17 already terminated\n")
    batch_system("oar").cancel(["17", "18"])
    batch_system("oar").cancel([])
    fake.say("canceljob", "", code=1, error="ERROR:  invalid job specified, could not be not found\n")
    batch_system("moab").cancel(["17", "18"])
    assert fake.called == ["oardel 17 18", "canceljob 17", "canceljob 18"]
