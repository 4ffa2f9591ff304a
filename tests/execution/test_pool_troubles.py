"""What a pool comes through: workers that end, hang, leave, refuse, come late; killed for real."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import dask
import pytest
from distributed import Client, LocalCluster

from daflow.errors import PoolError
from daflow.execution.clusters.dask_clusters import SETTINGS
from daflow.execution.lifetimes import JOB_END
from daflow.execution.pools import dask_pool
from daflow.execution.pools.crews import Fate
from daflow.execution.pools.dask_pool import DaskPool
from daflow.execution.tasks.under_way import begun, seen
from daflow.names import BLAMELESS, BY_WALLTIME, Phase, Status
from daflow.records import Task
from tests.execution.trouble_work import LONG, work

ROOT = Path(__file__).parents[2]
SHORT = [Task(Phase.FORECAST, 0, index) for index in range(LONG)]
STRAGGLER = Task(Phase.FORECAST, 0, LONG)
AFTER = Task(Phase.FORECAST, 0, LONG + 1)
SOON = 60.0
"""Seconds in which what should happen at once happens on a busy machine."""


class Marks:
    def __init__(self, folder):
        self.folder = folder

    def begun(self, tasks):
        return begun(self.folder, tasks)

    def under_way(self, groups):
        return seen(self.folder, groups)

    def word(self, tasks, begun):
        return []


class Crew:
    """Workers that a test starts; it knows what it is told of them."""

    def __init__(self, client):
        self.client, self.fates, self.coming, self.wanted, self.avoided = client, {}, "", [], []

    def tend(self, n_wanted):
        self.wanted.append(n_wanted)

    def awaited(self):
        return self.coming

    def fate(self, worker):
        return self.fates.get(worker)

    def avoid(self, host):
        self.avoided.append(host)


@pytest.fixture(scope="module")
def cluster():
    """A scheduler that looks every 5 s whether a worker is to be taken for dead, after a minute."""
    with (
        dask.config.set(SETTINGS | {"distributed.scheduler.worker-ttl": "5s"}),
        LocalCluster(
            n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50
        ) as found,
    ):
        found.scheduler.worker_ttl = 60.0
        yield found


@pytest.fixture(scope="module")
def scheduler(cluster):
    return cluster.scheduler_address


class Workers:
    """Worker processes as jobs of a queue would start them."""

    def __init__(self, scheduler, folder):
        self.scheduler, self.folder, self.started = scheduler, folder, []

    def start(self, left=None, *more):
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        if left is not None:
            env[JOB_END] = str(time.time() + left)
        dask_worker = [sys.executable, "-m", "distributed.cli.dask_worker", self.scheduler]
        words = ["--nthreads", "1", "--no-dashboard", "--local-directory", str(self.folder / "dask"), *more]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        job = subprocess.Popen([*dask_worker, *words], env=env, start_new_session=True, **quiet)
        self.started.append(job)
        return job

    def close(self):
        for job in self.started:
            for number in (signal.SIGCONT, signal.SIGKILL):
                try:
                    os.killpg(job.pid, number)
                except ProcessLookupError:
                    break
            job.wait()


@pytest.fixture
def workers(scheduler, tmp_path):
    started = Workers(scheduler, tmp_path)
    yield started
    started.close()


@pytest.fixture
def crew(scheduler, workers):  # workers go first: their tasks are none of the next test's
    with Client(scheduler, set_as_default=False) as client:
        deadline = time.monotonic() + SOON
        while client.nthreads() and time.monotonic() < deadline:
            time.sleep(0.05)
        yield Crew(client)


@contextmanager
def pool_of(crew, folder):
    pool = DaskPool(crew, partial(work, folder), Marks(folder))
    try:
        yield pool
    finally:
        pool.close()


def until_long_runs(pool, folder):
    """Wait until the long task is under way; return its worker's process and its child."""
    deadline = time.monotonic() + 60
    while not (folder / "long").exists() and time.monotonic() < deadline:
        assert pool.wait(0.1) == []
    return [int(pid) for pid in (folder / "long").read_text().split()]


def ends_of(pool, n, seconds=SOON):
    """Return outcomes and tasks that were sent back, as soon as there are so many in all."""
    outcomes, back, deadline = [], [], time.monotonic() + seconds
    while len(outcomes) + len(back) < n and time.monotonic() < deadline:
        outcomes += pool.wait(0.2)
        back += pool.sent_back()
    return outcomes, back


def until_refused(pool):
    """Wait as long as there is something to wait for."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert pool.wait(0.2) == []


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_that_a_pool_waits_for_workers_that_are_awaited_and_then_goes_on(
    crew, workers, tmp_path, monkeypatch
):
    monkeypatch.setattr(dask_pool, "PATIENCE_SECONDS", 0.5)
    crew.coming = "1 job waits in the queue"
    with pool_of(crew, tmp_path) as pool:
        pool.expect(7)
        pool.submit(SHORT)
        for _ in range(4):
            assert pool.wait(0.3) == []
        assert pool.slots == 0
        assert set(crew.wanted) == {8}, "those that wait, and the group that is out"
        workers.start()
        outcomes, back = ends_of(pool, len(SHORT), 60)
        assert [outcome.task for outcome in outcomes] == SHORT
        assert back == []


def test_that_a_pool_without_workers_gives_up_only_where_none_is_awaited(crew, tmp_path, monkeypatch):
    monkeypatch.setattr(dask_pool, "PATIENCE_SECONDS", 0.3)
    with pool_of(crew, tmp_path) as pool, pytest.raises(PoolError, match="no workers"):
        pool.wait(SOON)


def test_that_a_worker_ended_by_its_queue_loses_its_task_at_once_and_blamelessly(crew, workers, tmp_path):
    job = workers.start(left=3600)
    with pool_of(crew, tmp_path) as pool:
        pool.submit([STRAGGLER, AFTER], 1.0)
        until_long_runs(pool, tmp_path)
        (address,) = crew.client.nthreads()
        crew.fates[address] = Fate("job 17 on node03 was ended by the queue: CANCELLED", blameless=True)
        start = time.monotonic()
        os.killpg(job.pid, signal.SIGTERM)  # the warning before the kill
        outcomes, back = ends_of(pool, 2)
        assert time.monotonic() - start < SOON
    (lost,) = outcomes
    assert (lost.task, lost.status, lost.figures) == (STRAGGLER, Status.LOST, {BLAMELESS: 1.0})
    assert lost.reason.startswith("job 17 on node03 was ended by the queue: CANCELLED")
    assert lost.seconds > 0
    assert back == [AFTER]


def test_that_a_worker_whose_walltime_is_over_tells_so_without_any_queue(crew, workers, tmp_path):
    job = workers.start(left=5)
    with pool_of(crew, tmp_path) as pool:
        pool.submit([STRAGGLER])
        until_long_runs(pool, tmp_path)
        deadline = time.monotonic() + SOON
        while not pool._roster._told and time.monotonic() < deadline:  # it tells its end as it begins
            pool.wait(0.1)
        os.killpg(job.pid, signal.SIGKILL)
        (lost,), _ = ends_of(pool, 1)
    assert lost.figures == {BLAMELESS: 1.0, BY_WALLTIME: 1.0}
    assert "time was over" in lost.reason


def test_that_a_worker_with_too_little_time_begins_nothing_and_goes_and_that_this_is_told(
    crew, workers, tmp_path
):
    job = workers.start(left=40)
    with pool_of(crew, tmp_path) as pool:
        pool.submit(SHORT, 60.0)
        # A new one would refuse as well: that is told instead of tried for ever.
        with pytest.raises(PoolError, match=r"needs 60 s, a worker's job lasts \d+ s"):
            until_refused(pool)
        assert pool.sent_back() == SHORT
        assert pool._roster.slots == 0
    assert job.wait(timeout=60) == 0
    assert not (tmp_path / "work" / "under_way").exists()


def test_that_a_group_is_cut_to_what_a_worker_has_time_for(crew, workers, tmp_path):
    workers.start(left=60)
    with pool_of(crew, tmp_path) as pool:
        pool.submit(SHORT, 12.0)
        outcomes, back = ends_of(pool, len(SHORT), 60)
    assert 1 <= len(outcomes) <= 4
    assert [*(outcome.task for outcome in outcomes), *back] == SHORT


def test_that_a_task_whose_worker_retires_is_not_begun_a_second_time_elsewhere(crew, workers, tmp_path):
    workers.start()
    with pool_of(crew, tmp_path) as pool:
        pool.submit([STRAGGLER, AFTER])
        until_long_runs(pool, tmp_path)
        (tmp_path / "long").unlink()
        (address,) = crew.client.nthreads()
        workers.start()
        crew.client.wait_for_workers(2, timeout=60)
        crew.client.retire_workers([address])
        (lost,), back = ends_of(pool, 2)
        assert (lost.task, lost.status, lost.figures) == (STRAGGLER, Status.LOST, {BLAMELESS: 1.0})
        assert back == [AFTER]
        pool.submit(back)
        assert [outcome.task for outcome in ends_of(pool, 1)[0]] == [AFTER]
    assert not (tmp_path / "long").exists()


def test_that_a_task_is_cut_with_all_that_it_started_and_its_worker_comes_back(crew, workers, tmp_path):
    workers.start()
    with pool_of(crew, tmp_path) as pool:
        pool.submit([*SHORT[:2], STRAGGLER, AFTER])
        pids = until_long_runs(pool, tmp_path)
        (running,) = pool.running().items()
        assert running[0] == STRAGGLER
        time.sleep(0.2)
        assert pool.running()[STRAGGLER].seconds >= 0.2
        pool.cut(STRAGGLER, "it takes too long")
        (cut,), back = ends_of(pool, 4)
        assert (cut.task, cut.status, cut.reason) == (STRAGGLER, Status.CANCELLED, "it takes too long")
        assert cut.seconds >= 0.2
        assert cut.host
        assert back == [*SHORT[:2], AFTER]
        pool.submit(back)
        outcomes, _ = ends_of(pool, 3, 60)
        assert [outcome.task for outcome in outcomes] == back
        assert not is_alive(pids[0])


def test_that_a_worker_that_hangs_is_given_up_after_its_silence(
    crew, workers, tmp_path, cluster, monkeypatch
):
    monkeypatch.setattr(cluster.scheduler, "worker_ttl", 5.0)
    workers.start()
    with pool_of(crew, tmp_path) as pool:
        pool.submit([STRAGGLER, AFTER])
        pid, _ = until_long_runs(pool, tmp_path)
        os.kill(pid, signal.SIGSTOP)
        (lost,), back = ends_of(pool, 2, 60)
        assert (lost.task, lost.status) == (STRAGGLER, Status.LOST)
        assert back == [AFTER]
        assert not is_alive(pid)
        pool.submit(back)
        assert [outcome.task for outcome in ends_of(pool, 1, 60)[0]] == [AFTER]


def test_that_what_a_lost_scheduler_connection_took_is_nobody_s_fault(crew, workers, tmp_path):
    workers.start()
    with pool_of(crew, tmp_path) as pool:
        pool.submit([STRAGGLER, AFTER])
        until_long_runs(pool, tmp_path)
        crew.client.loop.add_callback(crew.client.scheduler_comm.comm.abort)
        (lost,), back = ends_of(pool, 2, 60)
        assert (lost.task, lost.status, lost.figures) == (STRAGGLER, Status.LOST, {BLAMELESS: 1.0})
        assert back == [AFTER]
        workers.start()
        crew.client.wait_for_workers(2, timeout=60)
        for task in SHORT:
            pool.submit([task])
        # Those behind the one that still runs there wait; the others come home.
        assert ends_of(pool, 2, 60)[0]


def test_that_what_waits_at_a_worker_whose_memory_is_full_is_taken_back(crew, workers, tmp_path, monkeypatch):
    monkeypatch.setattr(dask_pool, "STALE_SECONDS", 0.5)
    workers.start()
    with pool_of(crew, tmp_path) as pool:
        pool.submit([STRAGGLER])
        pool.submit([AFTER])
        until_long_runs(pool, tmp_path)
        (address,) = crew.client.nthreads()
        paused = {"workers": {address: {"status": "paused"}}}
        monkeypatch.setattr(crew.client, "scheduler_info", lambda: paused)
        assert ends_of(pool, 1) == ([], [AFTER])
        assert pool.n_out == 1, "what is under way there may come to its end"


def test_that_a_node_put_aside_gets_nothing_more_and_what_waits_there_comes_back(crew, workers, tmp_path):
    for node in ("node1", "node2"):
        named = tmp_path / f"{node}.py"
        named.write_text(f"import socket\nsocket.gethostname = lambda: {node!r}\n")
        workers.start(None, "--preload", str(named))
    crew.client.wait_for_workers(2, timeout=60)
    with pool_of(crew, tmp_path) as pool:
        for task in SHORT:
            pool.submit([task])
        assert {outcome.host for outcome in ends_of(pool, len(SHORT))[0]} == {"node1", "node2"}
        pool.submit([STRAGGLER])
        until_long_runs(pool, tmp_path)
        bad = pool.running()[STRAGGLER].host
        others = [Task(Phase.FORECAST, 0, LONG + index) for index in range(1, 5)]
        for task in others:
            pool.submit([task])
        done = ends_of(pool, 2)[0]
        pool.avoid(bad)
        assert crew.avoided == [bad]
        while len(done) < len(others):
            outcomes, back = ends_of(pool, 1)
            assert outcomes or back
            done += outcomes
            for task in back:
                pool.submit([task])
        assert {outcome.host for outcome in done} == {"node1", "node2"} - {bad}
        assert pool.n_out == 1
        assert pool.slots == 1


def test_that_a_scheduler_that_stays_away_lays_the_run_down_whatever_is_out(crew, workers, tmp_path):
    workers.start()
    with pool_of(crew, tmp_path) as pool:
        pool.submit([STRAGGLER, AFTER])
        until_long_runs(pool, tmp_path)
        pool.submit([AFTER])
        crew.client.close()
        with pytest.raises(PoolError, match="the dask scheduler cannot be reached"):
            until_refused(pool)


def test_that_a_worker_that_refuses_stays_until_what_it_has_begun_is_done(crew, workers, tmp_path):
    job = workers.start(60, "--nthreads", "2")
    with pool_of(crew, tmp_path) as pool:
        pool.submit([STRAGGLER])
        until_long_runs(pool, tmp_path)
        pool.submit(SHORT, 1000.0)
        deadline = time.monotonic() + SOON
        while not (back := pool.sent_back()) and time.monotonic() < deadline:
            assert pool.wait(0.2) == []
        assert back == SHORT
        time.sleep(3)
        assert pool.wait(0.2) == []
        assert job.poll() is None
        assert pool.n_out == 1
