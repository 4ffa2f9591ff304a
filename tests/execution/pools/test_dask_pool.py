import gc
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
from distributed.scheduler import TaskGroup

from daflow.config.execution import LocalExecution
from daflow.errors import PoolError
from daflow.execution.clusters.dask_clusters import connect
from daflow.execution.pools import dask_pool
from daflow.execution.pools.crews import Unattended
from daflow.execution.pools.dask_pool import DaskPool
from daflow.execution.pools.inline_pool import InlinePool
from daflow.execution.pools.witnesses import Unwatched
from daflow.names import Phase, Status
from daflow.records import Outcome, Task
from tests.contracts.pool_contract import MANY, VICTIM, PoolContract, Unreadable, deadly_work, end, home, work

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(ROOT))  # workers take the path over: they import the contract's work
        execution = LocalExecution(kind="local", workers=2)
        with connect(execution, tmp_path_factory.mktemp("scratch")) as connected:
            yield connected.client


@contextmanager
def pool_of(client, do, witness=Unwatched()):  # noqa: B008 - it holds nothing
    pool = DaskPool(Unattended(client), do, witness)
    try:
        yield pool
    finally:
        pool.close()


class TestInlinePool(PoolContract):
    @contextmanager
    def pool(self, do=work):
        yield InlinePool(do, slots=3, seed=1)


class TestDaskPool(PoolContract):
    @pytest.fixture(autouse=True)
    def _of_two_workers(self, client):
        self.client = client

    def pool(self, do=work):
        return pool_of(self.client, do)


def test_that_an_inline_pool_shuffles_by_its_seed_and_keeps_the_order_without_one():
    def order(seed):
        pool = InlinePool(work, seed=seed)
        for task in MANY:
            pool.submit([task])
        return [outcome.task.index for outcome in home(pool, len(MANY))]

    assert order(None) == list(range(20))
    assert order(1) == order(1) != order(2)
    assert sorted(order(1)) == list(range(20))


def test_that_tasks_run_in_other_processes(client):
    client.wait_for_workers(2, timeout=60)  # one may have been ended by a test before
    with pool_of(client, work) as pool:
        assert pool.slots == 2
        for task in MANY:
            pool.submit([task])
        assert len({outcome.reason for outcome in home(pool, len(MANY))}) <= 2


def loaded():
    """Return whether this process could begin a task at once."""
    return "daflow.assemble.worker" in sys.modules


def test_that_workers_call_once_they_have_loaded_what_tasks_need(client):
    client.wait_for_workers(2, timeout=60)
    assert set(client.run(loaded).values()) == {True}


def test_that_a_task_whose_process_is_killed_is_lost_and_its_neighbours_come_home(client):
    with pool_of(client, deadly_work) as pool:
        for task in MANY[:8]:
            pool.submit([task])
        outcomes = {outcome.task: outcome for outcome in home(pool, 8)}
        assert outcomes[VICTIM].status == Status.LOST
        assert "the worker at tcp://127.0.0.1" in outcomes[VICTIM].reason
        # Whose outcome was still with that worker, or who waited there, is sent again.
        while again := [t for t, o in outcomes.items() if o.status == Status.LOST and t != VICTIM]:
            for task in again:
                pool.submit([task])
            outcomes |= {outcome.task: outcome for outcome in home(pool, len(again))}
        for task in MANY[:8]:
            assert task == VICTIM or outcomes[task].status == end(task).status


def test_that_one_task_a_slot_is_lost_with_its_worker_and_no_other(client):
    client.wait_for_workers(2, timeout=60)
    with pool_of(client, deadly_work) as pool:
        neighbour = MANY[1]
        for task in (VICTIM, neighbour):
            pool.submit([task])
        outcomes = {outcome.task: outcome.status for outcome in home(pool, 2)}
    assert outcomes == {VICTIM: Status.LOST, neighbour: Status.OK}


def test_that_word_left_by_a_killed_worker_counts(client):
    client.wait_for_workers(2, timeout=60)
    word = Outcome(VICTIM, Status.TIMED_OUT, host="node7", reason="it hung", started=9.0)

    class Told(Unwatched):
        def word(self, tasks, begun):
            return [word]

    with pool_of(client, deadly_work, Told()) as pool:
        pool.submit([VICTIM])
        assert home(pool, 1) == [word]


def test_that_workers_come_back_each_time_they_are_killed(client):
    for _ in range(3):
        client.wait_for_workers(2, timeout=60)
        with pool_of(client, deadly_work) as pool:
            pool.submit([VICTIM])
            assert home(pool, 1)[0].status == Status.LOST
    client.wait_for_workers(2, timeout=60)
    with pool_of(client, work) as pool:
        assert pool.slots == 2


def test_that_a_task_that_cannot_start_on_a_worker_blocks_the_run(client):
    client.wait_for_workers(2, timeout=60)
    with pool_of(client, Unreadable()) as pool:
        pool.submit(MANY[1:2])
        (outcome,) = home(pool, 1)
    assert (outcome.task, outcome.status) == (MANY[1], Status.BLOCKED)
    assert "could not start the task" in outcome.reason


def test_that_a_pool_that_stays_without_workers_is_an_error(client, monkeypatch):
    monkeypatch.setattr(dask_pool, "PATIENCE_SECONDS", -1.0)
    with pool_of(client, work) as pool:
        monkeypatch.setattr(client, "nthreads", dict)
        with pytest.raises(PoolError, match="no workers"):
            _ = pool.slots


def kept():
    """Return how many tasks, and how many records of tasks sent together, there are in this process."""
    gc.collect()
    found = Counter(type(each) for each in gc.get_objects())
    return found[Task], found[TaskGroup]


def test_that_neither_pool_nor_scheduler_keeps_what_is_home(client):
    with pool_of(client, work) as pool:
        for first in range(0, 200, 5):
            for index in range(first, first + 5):
                pool.submit([Task(Phase.FORECAST, 0, index, 0)])
            assert len(home(pool, 5)) == 5
        tasks, groups = kept()
    # The last ten messages to each worker and to the scheduler, and what the modules of tests have.
    assert tasks < 120
    assert groups < 10
