import json
import os
import time
from dataclasses import replace

import pytest

from daflow.names import Phase, Status
from daflow.records import Outcome, Task
from daflow.runs import facts
from daflow.runs.decide import Plan
from daflow.runs.facts import fold
from daflow.runs.lease import STALE_SECONDS, Holder
from daflow.runs.status import status_of

PLAN = Plan((0, 1, 2), n_steps=1, n_slices=2, twin=False, keys={})
ME = Holder.this_process()


def ended(index, status, attempt=0, stage=(Phase.PRIOR, 0)):
    return facts.ended(Outcome(Task(*stage, index, attempt), status, reason="because"))


OPENED = facts.opened({"pid": 1})
FINISHED = facts.stopped("finished", "all steps are done", resumable=False)
TOO_FEW = facts.stopped("too few members", "1 of 3", resumable=True)
INTERRUPTED = facts.stopped("interrupted", "an operator", resumable=True)


@pytest.mark.parametrize(
    ("history", "holder", "expected"),
    [
        ([], None, ("not started", "", True)),
        ([OPENED], ME, ("running", "", True)),
        ([OPENED], None, ("interrupted", "the driver died", True)),
        ([OPENED, FINISHED], None, ("finished", "all steps are done", False)),
        ([OPENED, TOO_FEW], None, ("stopped", "1 of 3", True)),
        ([OPENED, INTERRUPTED], None, ("interrupted", "an operator", True)),
        ([OPENED, TOO_FEW, OPENED], None, ("interrupted", "the driver died", True)),
        ([OPENED, TOO_FEW], ME, ("running", "", True)),
    ],
)
def test_that_the_state_follows_from_the_last_session_and_from_who_holds_the_lease(history, holder, expected):
    status = status_of("flood", PLAN, fold(history), holder)
    assert (status.state, status.reason, status.resumable) == expected
    assert status.driver == (f"process {os.getpid()} on {ME.host}" if holder else "")


def test_that_a_lease_of_a_driver_that_died_drives_nothing():
    dead = Holder("elsewhere", 1, 0.0, 0.0, time.time() - STALE_SECONDS - 1)
    status = status_of("flood", PLAN, fold([OPENED]), dead)
    assert status.state == "interrupted"
    assert status.reason.startswith("the driver died: process 1 on elsewhere, since ")
    assert status.to_json()["lease"]["alive"] is False
    assert status_of("flood", PLAN, fold([OPENED, TOO_FEW]), dead).reason == "1 of 3"


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"mode": "detached"}, f"process {os.getpid()} on {ME.host}, detached"),
        (
            {"mode": "job", "job": "17", "system": "slurm"},
            f"job 17 of slurm, process {os.getpid()} on {ME.host}",
        ),
    ],
    ids=["detached", "job"],
)
def test_that_the_status_tells_who_drives_the_run_and_how(how, told):
    status = status_of("flood", PLAN, fold([OPENED]), replace(ME, **how))
    assert status.driver == told
    assert status.to_json()["lease"]["alive"] is True


def test_that_stages_count_what_is_done_failed_and_asked_of_those_that_came_so_far():
    history = [
        OPENED,
        *(ended(index, Status.OK, stage=(Phase.COORDINATES, 0)) for index in (0, 1)),
        facts.closed((Phase.COORDINATES, 0), (0, 1, 2)),
        ended(0, Status.OK),
        ended(1, Status.LOST),
        ended(1, Status.OK, 1),
        ended(2, Status.FAILED),
        facts.closed((Phase.PRIOR, 0), (0, 1)),
        ended(0, Status.INVALID, stage=(Phase.FORECAST, 0)),
    ]
    status = status_of("flood", PLAN, fold(history), None)
    counts = {(s.phase, s.step): (s.done, s.failed, s.total, s.closed) for s in status.stages}
    assert counts == {
        (Phase.COORDINATES, 0): (2, 0, 2, True),
        (Phase.PRIOR, 0): (2, 1, 3, True),
        (Phase.FORECAST, 0): (0, 1, 2, False),
        (Phase.PREPARE, 0): (0, 0, 1, False),
        (Phase.UPDATE, 0): (0, 0, 2, False),
        (Phase.FORECAST, 1): (0, 0, 2, False),
    }
    assert status.members == 2
    assert [(f.member, f.attempt, f.status, f.reason) for f in status.failures] == [
        (1, 0, Status.LOST, "because"),
        (2, 0, Status.FAILED, "because"),
        (0, 0, Status.INVALID, "because"),
    ]


def test_that_a_status_is_plain_json():
    status = status_of("flood", PLAN, fold([OPENED, ended(1, Status.FAILED)]), ME)
    plain = json.loads(json.dumps(status.to_json()))
    assert plain["state"] == "running"
    assert plain["failures"][0]["status"] == "failed"
    assert plain["stages"][0]["phase"] == "coordinates"
