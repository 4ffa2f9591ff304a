"""Drivers that nobody watches: started, followed, laid down and killed as real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

import daflow
from daflow.assemble.driving import stopping
from daflow.assemble.driving.orphans import _alive
from daflow.assemble.folder import open_folder
from daflow.runs.journal import read_journal
from daflow.runs.lease import read_holder
from tests.end_to_end.small_run import (
    CALLABLE,
    WELL,
    assert_same_bits,
    command,
    finals,
    run_inline,
    start,
    written,
)

pytestmark = pytest.mark.slow

TWO = CALLABLE + "execution: {kind: local, workers: 2, group: 1}\n"
GATED = """
import time
from pathlib import Path

HERE = Path(__file__).parent
STOP = HERE / "run" / "work" / "stop.json"

def forecast(parameters, observations, step, member):
    if member >= 0:
        (HERE / "begun").touch()
    heard = 0
    while member >= 0 and heard < 60 and not (HERE / "go").exists():
        heard += STOP.exists()
        time.sleep(0.05)
    return parameters["level"][:3] ** 2 + parameters["level"][4:7]
"""
"""No member comes to its end before the test lets it, or three seconds after somebody asked for a stop,
by when the driver has heard of it; the truth does."""
CLINGING = """
import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent

def forecast(parameters, observations, member, step, work_dir):
    if step == 0 and member >= 0:
        (HERE / f"worker-{os.getpid()}").touch()
        while len(list(HERE.glob("worker-*"))) < 2:
            time.sleep(0.05)
    if step == 1 and member < 2 and not (HERE / "again").exists():
        (work_dir / "input").write_text("large")
        if member == 0:
            subprocess.run([sys.executable, "-c", "import time; time.sleep(300)"])
        else:
            ctypes.PyDLL(None).sleep(300)
    return parameters["level"][:3] ** 2 + parameters["level"][4:7]
"""
"""Two members of step 1 that outlive their worker's driver: one starts a program, one holds Python's lock.
Each has a worker of its own: both are there before step 0 is over."""


def facts_of(folder: Path) -> list:
    return read_journal(folder / "journal.jsonl")


def until(true, seconds=300.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


@pytest.fixture
def detached():
    """Yield what starts a driver in a session of its own; none of them outlives the test."""
    begun: list[psutil.Process] = []

    def start_one(*words: object) -> psutil.Process:
        said = command(*words, "--detach")
        assert said.returncode == 0, said.stderr
        begun.append(psutil.Process(int(said.stdout.split()[1])))
        return begun[-1]

    yield start_one
    for driver in begun:
        for process in [driver, *marked_by(driver.pid)]:
            with suppress(psutil.Error):
                process.kill()


@pytest.fixture(scope="module")
def reference(shared_place: Path):
    return finals(run_inline(written(shared_place, TWO, WELL), shared_place / "reference"))


def test_that_a_detached_run_is_followed_laid_down_killed_and_goes_on_with_nothing_done_twice(
    reference, place, monkeypatch, detached
):
    folder = place / "run"
    driver = detached("run", written(place, TWO, GATED), "--run", folder)
    assert os.getsid(driver.pid) == driver.pid
    status = daflow.open_run(folder).status()
    assert status.state == "running"
    assert status.driver == f"process {driver.pid} on {socket.gethostname()}, detached"

    # One who watches goes, the run does not.
    watching = start("attach", folder)
    until(lambda: len(facts_of(folder)) > 3)
    watching.send_signal(signal.SIGINT)
    said, _ = watching.communicate(timeout=300)
    assert (watching.returncode, "the run goes on" in said) == (130, True), said
    assert driver.is_running()

    # What is under way is waited for.
    following = start("attach", folder, "--json", stderr=subprocess.PIPE)
    assert json.loads(following.stdout.readline())["fact"] == "ended"
    until((place / "begun").exists)
    stopped = command("stop", folder)
    assert stopped.returncode == 0, stopped.stderr
    assert f"process {driver.pid} on " in stopped.stdout
    assert "laid down" in stopped.stdout
    told, _ = following.communicate(timeout=300)
    assert following.returncode == 130
    assert json.loads(told.splitlines()[-1])["kind"] == "interrupted"
    assert not daflow.open_run(folder).status().driver

    # A driver that does not answer is killed.
    driver = detached("resume", folder)
    driver.suspend()
    monkeypatch.setattr(stopping, "KILL_SECONDS", 0.3)
    found = stopping.stop_run(open_folder(folder), lambda line: None, now=True)
    assert (found.found, found.killed) == ("driven", True)
    assert stopping.stop_run(open_folder(folder), lambda line: None, now=False).found == "nobody"

    (place / "go").touch()
    detached("resume", folder)
    assert command("attach", folder).returncode == 0
    assert_same_bits(finals(daflow.open_run(folder)), reference)
    good = Counter((f["phase"], f["step"], f["index"]) for f in facts_of(folder) if f["fact"] == "ended")
    assert set(good.values()) == {1}
    until(lambda: "finished; report: " in (folder / "driver.log").read_text())


def test_that_what_is_refused_is_told_though_nobody_watches(place):
    folder = place / "run"
    workflow = written(place, TWO, WELL)
    assert command("run", workflow, "--run", folder).returncode == 0
    again = command("resume", folder, "--detach")
    assert (again.returncode, "finished" in again.stdout) == (0, True)
    (place / "model.py").unlink()
    refused = command("run", workflow, "--run", place / "other", "--detach")
    assert refused.returncode == 2
    assert "model.py" in refused.stderr or "model" in refused.stderr
    assert not (place / "other").exists()


def marked_by(driver: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if f" {driver} " in process.environ().get("DAFLOW_RUN", ""):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_that_what_a_killed_driver_leaves_behind_is_cleared_and_nothing_else(reference, place, detached):
    folder = place / "run"
    driver = detached("run", written(place, TWO, CLINGING), "--run", folder)
    attempts = folder / "work" / "step=1"
    until(lambda: len(list(attempts.glob("member=*/input"))) == 2)
    program = [process for process in marked_by(driver.pid) if "time.sleep(300)" in process.cmdline()[-1]]
    foreign = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    try:
        os.kill(driver.pid, signal.SIGKILL)
        until(lambda: not read_holder(folder / "lease.json").alive())
        left = marked_by(driver.pid)
        assert set(program) <= set(left)
        assert len(left) >= 2, "a worker whose model holds the lock outlives its driver"
        (place / "again").touch()
        resumed = command("resume", folder)
        assert resumed.returncode == 0, resumed.stderr
        assert "orphaned process" in resumed.stdout
        until(lambda: not any(_alive(process) for process in left))
        assert foreign.poll() is None
        assert list(attempts.glob("member=*")) == []
    finally:
        foreign.kill()
        foreign.wait()
    opened = [fact for fact in facts_of(folder) if fact["fact"] == "opened"][-1]
    assert "2 folders" in opened["cleared"] or "3 folders" in opened["cleared"]
    assert_same_bits(finals(daflow.open_run(folder)), reference)
