"""A run under torment for some seconds: `tests.chaos.torment` does it for an hour."""

from __future__ import annotations

import time
from random import Random

import pytest

from tests.chaos import acts
from tests.chaos.page import written
from tests.chaos.problem import Problem
from tests.chaos.torment import Stage, told_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SECONDS = 12
DISK_BYTES = 64 << 20
QUICK = dict.fromkeys(
    (
        acts.kill_worker,
        acts.kill_all_workers,
        acts.kill_simulator,
        acts.kill_launcher,
        acts.kill_worker_and_launchers,
        acts.stop_simulator,
        acts.kill_driver,
        acts.kill_everything,
        acts.fill_disk,
        acts.set_clock,
    ),
    1,
)
"""Acts after which a run goes on at once, or is resumed at once."""


def test_that_a_tormented_run_ends_as_one_left_alone(place):
    stage = Stage(Problem(16, 1, 0.1, 4, 500, 2 * DISK_BYTES), place, DISK_BYTES)
    stage.prepare()
    until = time.monotonic() + SECONDS
    torment = stage.play(0, "local", Random(4), until, pause=(0.1, 1.5), acts=QUICK)
    assert torment.round.faults == []
    assert torment.deeds
    page = written(told_of(4, stage.problem, [torment]))
    assert f"{len(torment.deeds)} acts on 1 runs of 16 members" in page
    assert page.count("\n| SIG") + page.count("\n| Leave") + page.count("\n| Set") >= 1
