import getpass
import json
import signal
import socket
import subprocess
import sys
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest

from daflow.assemble.driving import stopping
from daflow.assemble.driving.orphans import Cleared
from daflow.assemble.driving.stopping import stop_run
from daflow.config.member_jobs import JobMember
from daflow.errors import LeaseError
from daflow.execution.queues.job_states import UNKNOWN, JobState
from daflow.execution.queues.registry import register
from daflow.runs import facts, halting
from daflow.runs.halting import asked
from daflow.runs.journal import Journal
from daflow.runs.lease import STALE_SECONDS, Holder, read_holder
from daflow.storage.memory import MemoryStore
from tests.contracts.toy_run import LAYOUT

DRIVER = """
import signal, sys, time
from pathlib import Path
from daflow.runs.halting import Halting
from daflow.runs.lease import Lease
folder, how = Path(sys.argv[1]), sys.argv[2]
signal.signal(signal.SIGTERM, signal.SIG_IGN if how == "deaf" else signal.default_int_handler)
with Lease(folder / "lease.json") as lease, Halting(folder, lease.holder) as halting:
    print("up", flush=True)
    try:
        while how != "obedient" or halting() is None:
            time.sleep(0.02)
        print(halting().drain, halting().stop.reason, flush=True)
    except KeyboardInterrupt:
        print("interrupted:", halting.look().stop.reason, flush=True)
"""


@pytest.fixture
def run(tmp_path):
    workflow = SimpleNamespace(execution=SimpleNamespace(member=None), model=None)
    lease, journal = tmp_path / "lease.json", tmp_path / "journal.jsonl"
    return SimpleNamespace(folder=tmp_path, lease=lease, journal=journal, workflow=workflow)


@pytest.fixture
def driver(run):
    """Yield what starts a driver that does nothing but hold the lease; it ends with the test."""
    begun = []

    def start(how):
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(run.folder), how], stdout=subprocess.PIPE, text=True
        )
        begun.append(process)
        assert process.stdout.readline() == "up\n"
        return process

    yield start
    for process in begun:
        process.kill()
        process.communicate()


class Queue:
    def __init__(self, *alive):
        self.alive, self.cancelled = set(alive), []

    def states(self, ids):
        return {job: JobState("pending") if job in self.alive else UNKNOWN for job in ids}

    def cancel(self, ids):
        self.cancelled += ids
        self.alive -= set(ids)


@pytest.fixture
def queue(monkeypatch):
    made = Queue()
    monkeypatch.setattr(stopping, "batch_system", lambda kind: made)
    return made


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """There is no store in the folder, and nothing to clear."""
    monkeypatch.setattr(stopping, "clear", lambda folder: Cleared(folders=1))
    monkeypatch.setattr(stopping, "store_for", lambda run: MemoryStore(LAYOUT))


def stopped(run, *, now=False):
    told = []
    return stop_run(run, told.append, now=now), " ".join(told)


def test_that_a_driver_that_looks_for_requests_is_told_who_asks_and_to_wait_for_what_is_under_way(
    run, driver
):
    process = driver("obedient")
    answer, told = stopped(run)
    assert (answer.found, answer.killed, answer.cleared) == ("driven", False, Cleared())
    assert f"process {process.pid} on {socket.gethostname()}" in told
    assert process.stdout.readline().startswith(f"True {getpass.getuser()}@{socket.gethostname()} asked")
    assert asked(run.folder) is None
    assert read_holder(run.lease) is None


def test_that_now_reaches_a_driver_that_waits_for_something_else(run, driver):
    process = driver("waiting")
    answer, _ = stopped(run, now=True)
    assert (answer.found, answer.killed) == ("driven", False)
    assert process.stdout.readline().startswith("interrupted: ")


def test_that_a_driver_that_does_not_answer_is_killed_and_cleared_up_after(run, driver, monkeypatch):
    monkeypatch.setattr(stopping, "KILL_SECONDS", 0.2)
    process = driver("deaf")
    answer, _ = stopped(run, now=True)
    assert (answer.killed, answer.cleared) == (True, Cleared(folders=1))
    assert process.wait(timeout=60) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("when_stopped", "now", "cancelled"),
    [("cancel", False, True), ("keep", False, False), ("keep", True, True)],
)
def test_that_jobs_of_members_that_a_dead_driver_left_are_cancelled_unless_they_are_to_be_kept(
    run, queue, monkeypatch, when_stopped, now, cancelled
):
    run.workflow.execution.member = JobMember(system="slurm", when_stopped=when_stopped)
    monkeypatch.setattr(stopping, "jobs_left", lambda folder, system: [SimpleNamespace(id="20_3")])
    attempt = run.folder / "work" / "step=0" / "member=00001-0-abc"
    attempt.mkdir(parents=True)
    register(run.folder, "20", "slurm", "member")
    answer, told = stopped(run, now=now)
    assert queue.cancelled == (["20_3"] if cancelled else [])
    assert ("are cancelled" if cancelled else "`daflow resume` takes in") in told
    assert attempt.exists(), "it may still be written"
    assert answer.cleared.folders == 1


@pytest.mark.parametrize("kind", ["finished", "walltime"])
def test_that_a_run_that_came_to_its_end_before_is_told_apart(run, kind):
    with Journal(run.journal) as journal:
        journal.append(facts.stopped(kind, "because", resumable=kind != "finished"))
    assert stopped(run)[0].finished == (kind == "finished")


def write(run, holder):
    run.lease.write_text(json.dumps(asdict(holder)))


@pytest.mark.parametrize("there", [False, True])
def test_that_a_run_that_nobody_drives_is_told_so_and_cleared_up(run, there, queue):
    if there:
        write(run, replace(Holder.this_process(), pid=2**22 + 1, mode="detached"))
    queue.alive = {"18"}
    register(run.folder, "17", "slurm", "driver")
    register(run.folder, "18", "slurm", "driver")
    register(run.folder, "19", "slurm", "worker")
    answer, told = stopped(run)
    assert answer.found == ("stale" if there else "nobody")
    assert ("the lease is stale: process" in told) == there
    assert (answer.cleared, answer.successors, queue.cancelled) == (Cleared(folders=1), ("18",), ["18"])
    assert answer.to_json()["cleared"]["folders"] == 1


def test_that_a_job_on_another_host_that_does_not_answer_is_cancelled(run, queue, monkeypatch):
    monkeypatch.setattr(stopping, "KILL_SECONDS", 0.05)
    holder = replace(Holder.this_process("job", "17", "slurm"), host="elsewhere")
    write(run, holder)

    def cancel(ids):
        queue.cancelled += ids
        write(run, replace(holder, renewed=holder.renewed - STALE_SECONDS - 1))

    monkeypatch.setattr(queue, "cancel", cancel)
    answer, _ = stopped(run, now=True)
    assert (answer.killed, queue.cancelled) == (True, ["17"])


def test_that_a_process_on_another_host_that_does_not_answer_is_named(run, monkeypatch):
    monkeypatch.setattr(stopping, "KILL_SECONDS", 0.05)
    write(run, replace(Holder.this_process(), host="elsewhere"))
    with pytest.raises(LeaseError, match="does not answer") as error:
        stopped(run, now=True)
    assert "`daflow stop --now` there" in error.value.do
    assert (run.folder / halting.REQUEST).exists(), "the request stands"
