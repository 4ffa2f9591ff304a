"""What every pool keeps; a pool's tests inherit it and say how one is made."""

import os
import signal
from contextlib import AbstractContextManager

import pytest

from daflow.names import Phase, Status
from daflow.ports import Pool
from daflow.records import Outcome, Task

MANY = [Task(Phase.FORECAST, 1, index) for index in range(20)]


def end(task):
    return Outcome(task, Status.OK if task.index % 5 else Status.FAILED, reason=f"by {os.getpid()}")


def work(tasks):
    """Do all the tasks."""
    return [end(task) for task in tasks]


def unhurried_work(tasks):
    """Do the first half of the tasks and hand the others back."""
    return work(tasks[: (len(tasks) + 1) // 2])


VICTIM = Task(Phase.FORECAST, 1, 3)


def deadly_work(tasks):
    """Do tasks, and be killed with the victim's, as by the system when memory runs out."""
    if VICTIM in tasks:
        os.kill(os.getpid(), signal.SIGKILL)
    return work(tasks)


class Unreadable:
    """Work that can be sent but not unpickled where it arrives."""

    def __call__(self, tasks):
        return work(tasks)

    def __reduce__(self):
        return __import__, ("a_module_that_workers_do_not_have",)


def home(pool, n_outcomes):
    """Return the outcomes of so many tasks."""
    outcomes = []
    while len(outcomes) < n_outcomes:
        outcomes += pool.wait(60)
    return outcomes


class PoolContract:
    def pool(self, do=work) -> AbstractContextManager[Pool]:
        """Return a pool that does this."""
        raise RuntimeError("a pool's tests say how one is made")

    @pytest.mark.parametrize("size", [1, 3, 20])
    def test_that_every_task_comes_home_once_with_its_own_outcome(self, size):
        with self.pool() as pool:
            for first in range(0, len(MANY), size):
                pool.submit(MANY[first : first + size])
            assert pool.n_out == -(-len(MANY) // size)
            outcomes = home(pool, len(MANY))
            assert sorted(o.task.index for o in outcomes) == list(range(20))
            assert all(o.status == end(o.task).status for o in outcomes)
            assert pool.wait(0.01) == []
            assert pool.sent_back() == []
            assert pool.n_out == 0

    def test_that_what_was_not_done_comes_back_once_and_may_be_sent_again(self):
        with self.pool(unhurried_work) as pool:
            pool.submit(MANY)
            done = {outcome.task for outcome in home(pool, 10)}
            back = pool.sent_back()
            assert pool.sent_back() == []
            assert done | set(back) == set(MANY)
            assert not done & set(back)
            pool.submit(back[:1])
            assert [o.task for o in home(pool, 1)] == back[:1]

    def test_that_the_same_task_may_be_sent_again_and_is_done_again(self):
        with self.pool() as pool:
            for _ in range(2):
                pool.submit(MANY[1:2])
                assert [o.task for o in home(pool, 1)] == MANY[1:2]

    def test_that_a_pool_has_slots_and_that_nothing_comes_where_nothing_was_sent(self):
        with self.pool() as pool:
            assert pool.slots >= 1
            assert pool.n_out == 0
            assert pool.wait(0.01) == []

    def test_that_what_is_out_when_a_pool_is_closed_does_not_come_home(self):
        with self.pool() as pool:
            pool.submit(MANY[:1])
            home(pool, 1)
            pool.close()
            assert pool.wait(0.01) == []
