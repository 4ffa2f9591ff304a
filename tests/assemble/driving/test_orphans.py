import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daflow.assemble.driving import orphans
from daflow.assemble.driving.orphans import (
    MARK,
    Cleared,
    clear,
    clear_attempts,
    clear_scratch,
    end_jobs,
    end_processes,
    is_orphan,
    mark_of,
    marked,
    name_of,
    orphans_of,
    strays_of,
)
from daflow.config.execution import AddressExecution, LocalExecution
from daflow.errors import PoolError
from daflow.execution.queues.job_states import UNKNOWN, JobState
from daflow.execution.queues.registry import register
from daflow.names import TRUTH, Phase, Status
from daflow.records import Outcome, Task
from daflow.runs.lease import Holder
from daflow.storage.memory import MemoryStore
from tests.contracts.toy_run import LAYOUT

HERE = socket.gethostname()
SLEEPS = (sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)")


def dead():
    """Return a driver of this host that has ended: the number is one that no process has."""
    return Holder(HERE, 2**22 + 1, 1.0, 0.0, 0.0)


@contextmanager
def process(**environment):
    """Start a process with these variables; yield it once it is up, and end it."""
    started = subprocess.Popen(SLEEPS, env=os.environ | environment, stdout=subprocess.PIPE, text=True)
    try:
        started.stdout.readline()
        yield started
    finally:
        started.kill()
        started.communicate()


def ended(process):
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return process.poll() is not None


def test_that_a_process_is_ended_only_if_it_is_this_run_s_and_its_driver_is_gone(tmp_path):
    ours, other = tmp_path / "ours", tmp_path / "other"
    me = Holder.this_process()
    with (
        process(**{MARK: mark_of(ours, dead())}) as orphan,
        process() as foreign,
        process(**{MARK: mark_of(other, dead())}) as of_other,
        process(**{MARK: mark_of(ours, me)}) as driven,
        process(**{MARK: mark_of(ours, dead()), "DAFLOW_JOB_END": "1"}) as in_a_job,
    ):
        assert [found.pid for found in orphans_of(ours)] == [orphan.pid]
        ours.mkdir()
        cleared = clear(ours)
        assert cleared.processes == (f"{orphan.pid} {psutil.Process(foreign.pid).name()}",)
        assert cleared.told().startswith("cleared 1 orphaned process (")
        assert ended(orphan)
        for alive in (foreign, of_other, driven, in_a_job):
            assert alive.poll() is None
        assert not clear(ours)


STARTS = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
if sys.argv[1] == "stay":
    sys.stdin.read()
"""


def test_that_what_its_workers_leave_to_nobody_is_a_driver_s_stray_and_its_own_children_are_not(tmp_path):
    both = []
    try:
        with marked(tmp_path):
            for how in ("go", "stay"):
                worker = subprocess.Popen(
                    [sys.executable, "-c", STARTS, how],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                both.append((worker, psutil.Process(int(worker.stdout.readline()))))
        (gone, stray), (stays, child) = both
        gone.wait()
        assert [found.pid for found in strays_of(tmp_path)] == [stray.pid]
        assert strays_of(tmp_path / "other") == []
        assert orphans_of(tmp_path) == []
        assert end_processes(tmp_path, strays_of) == ([f"{stray.pid} {child.name()}"], [])
        assert not orphans._alive(stray)
        assert orphans._alive(child)
        assert stays.poll() is None
    finally:
        for worker, child in both:
            # The child holds the worker's output open: as long as it lives that has no end.
            with suppress(psutil.Error):
                child.kill()
            worker.communicate()


THIS_START = (repr(psutil.Process().create_time()), Holder.this_process().born)
"""When this process started, as marks of before and of now say it."""
marks = st.tuples(
    st.sampled_from(["run", "other"]),
    st.sampled_from([HERE, "elsewhere"]),
    st.sampled_from([str(2**22 + 1), str(os.getpid()), "x"]),
    st.sampled_from([*THIS_START, "1.0", "1@boot", "x"]),
    st.sampled_from(["-", "1700000000"]),
)


@given(marks, st.sampled_from(["-", "1700000000"]), st.integers(0, 5))
def test_that_who_is_an_orphan_follows_from_its_mark_and_its_job_alone(parts, job_end, n_parts):
    run, host, pid, started, marked_end = parts
    readable = pid != "x" and started != "x"
    lives = pid == str(os.getpid()) and started in THIS_START
    expected = run == "run" and host == HERE and readable and not lives and marked_end == job_end
    assert is_orphan("run", " ".join(parts), job_end) == expected
    assert not is_orphan("run", " ".join(parts[:n_parts]), job_end) or n_parts == 5


def test_that_what_is_started_meanwhile_carries_the_mark_and_what_comes_later_does_not(tmp_path):
    with marked(tmp_path):
        assert os.environ[MARK] == mark_of(tmp_path, Holder.this_process())
        with marked(tmp_path / "branch"):
            assert os.environ[MARK].startswith(name_of(tmp_path / "branch"))
        assert os.environ[MARK].startswith(name_of(tmp_path))
    assert MARK not in os.environ


# ------------------------------------------------------------------------------------------ jobs


class Queue:
    def __init__(self, *alive):
        self.alive, self.cancelled = alive, []

    def states(self, ids):
        return {job: JobState("running") if job in self.alive else UNKNOWN for job in ids}

    def cancel(self, ids):
        self.cancelled += ids


def test_that_jobs_of_workers_that_are_still_there_are_cancelled_and_no_others(tmp_path, monkeypatch):
    queue = Queue("2", "3", "4", "99")
    monkeypatch.setattr(orphans, "batch_system", lambda kind: queue)
    for job, kind in (("1", "worker"), ("2", "worker"), ("3", "driver"), ("4", "member")):
        register(tmp_path, job, "slurm", kind)
    assert end_jobs(tmp_path) == (["2"], [])
    assert queue.cancelled == ["2"]


def test_that_a_queue_that_cannot_be_asked_is_told_and_does_not_stop_the_run(tmp_path, monkeypatch):
    def absent(kind):
        raise PoolError("squeue is not found")

    monkeypatch.setattr(orphans, "batch_system", absent)
    register(tmp_path, "1", "slurm", "worker")
    told = clear(tmp_path).told()
    assert told == "jobs in the queue could not be looked for: squeue is not found"


# --------------------------------------------------------------------------------------- folders


@pytest.mark.parametrize(
    ("keep", "failed", "done"), [("failed", True, False), ("always", True, True), ("never", False, False)]
)
def test_that_directories_of_attempts_without_a_receipt_go_and_those_to_keep_stay(
    tmp_path, keep, failed, done
):
    store = MemoryStore(LAYOUT)
    for task, status in (
        (Task(Phase.FORECAST, 1, 3, 0), Status.FAILED),
        (Task(Phase.FORECAST, 1, 4, 1), Status.OK),
        (Task(Phase.TRUTH, 0, 0, 0), Status.LOST),
    ):
        store.write_receipts([Outcome(task, status)])
    place = tmp_path / "work" / "step=1"
    names = {
        "member=00003-0-abc": failed,
        "member=00003-1-abc": False,
        "member=00004-0-x-y": False,
        "member=00004-1-x-y": done,
        f"member={TRUTH:05d}-0-z": failed,
        f"member={TRUTH:05d}-1-z": False,
        "survivors.json": True,
    }
    for name in names:
        (place / name).mkdir(parents=True)
        (place / name / "input").write_text("x")
    run = SimpleNamespace(folder=tmp_path, workflow=SimpleNamespace(model=SimpleNamespace(keep=keep)))
    assert clear_attempts(run, store) == 7 - sum(names.values())
    assert {name: (place / name).exists() for name in names} == names


def test_that_scratch_of_workers_goes_and_a_branch_that_is_being_made_stays(tmp_path):
    (tmp_path / "work" / "dask" / "dask-scratch-space" / "worker-abc").mkdir(parents=True)
    old, new = (tmp_path / "branches" / f".b.{letter}.partial" for letter in "ab")
    for folder in (old, new, tmp_path / "branches" / "whole"):
        folder.mkdir(parents=True)
    os.utime(old, (1.0, 1.0))
    assert clear_scratch(tmp_path) == 2
    assert not (tmp_path / "work" / "dask").exists()
    assert sorted(path.name for path in (tmp_path / "branches").iterdir()) == [".b.b.partial", "whole"]
    assert clear_scratch(tmp_path) == 0


ALL_KINDS = Cleared(("12 python", "13 sim"), ("17",), 3)
TOLD = (
    "cleared 2 orphaned processes (12 python, 13 sim), 1 job (17), "
    "3 folders (of attempts and workers that died)"
)


@pytest.mark.parametrize(
    ("cleared", "told"),
    [
        (Cleared(), ""),
        (ALL_KINDS, TOLD),
        (Cleared(folders=1), "cleared 1 folder (of attempts and workers that died)"),
        (Cleared(left=("process 12 does not end",)), "process 12 does not end"),
    ],
)
def test_that_what_was_cleared_is_told_in_a_line(cleared, told):
    assert cleared.told() == told
    assert bool(cleared) == bool(told)


def test_that_workers_of_a_scheduler_that_a_driver_did_not_start_live_on_without_it():
    assert orphans.workers_live_on(AddressExecution(address="tcp://somewhere:8786"))
    assert not orphans.workers_live_on(LocalExecution())
