"""What every pool keeps; a pool's tests inherit it and say how one is made."""

import os
import signal
from contextlib import AbstractContextManager

from daflow.names import Phase, Status
from daflow.ports import Pool
from daflow.records import Outcome, Task

MANY = [Task(Phase.FORECAST, 1, index) for index in range(20)]


def work(task):
    return Outcome(task, Status.OK if task.index % 5 else Status.FAILED, reason=f"by {os.getpid()}")


VICTIM = Task(Phase.FORECAST, 1, 3)


def deadly_work(task):
    """Do a task, and be killed with the victim's, as by the system when memory runs out."""
    if task == VICTIM:
        os.kill(os.getpid(), signal.SIGKILL)
    return work(task)


class Unreadable:
    """Work that can be sent but not unpickled where it arrives."""

    def __call__(self, task):
        return work(task)

    def __reduce__(self):
        return __import__, ("a_module_that_workers_do_not_have",)


def home(pool, n_outcomes):
    """Return the outcomes of so many tasks."""
    outcomes = []
    while len(outcomes) < n_outcomes:
        outcomes += pool.wait(60)
    return outcomes


class PoolContract:
    def pool(self) -> AbstractContextManager[Pool]:
        """Return a pool that does `work`."""
        raise RuntimeError("a pool's tests say how one is made")

    def test_that_every_task_comes_home_once_with_its_own_outcome(self):
        with self.pool() as pool:
            for task in MANY:
                pool.submit(task)
            outcomes = home(pool, len(MANY))
            assert sorted(o.task.index for o in outcomes) == list(range(20))
            assert all(o.status == work(o.task).status for o in outcomes)
            assert pool.wait(0.01) == []

    def test_that_the_same_task_may_be_sent_again_and_is_done_again(self):
        with self.pool() as pool:
            for _ in range(2):
                pool.submit(MANY[1])
                assert [o.task for o in home(pool, 1)] == [MANY[1]]

    def test_that_a_pool_has_slots_and_that_nothing_comes_where_nothing_was_sent(self):
        with self.pool() as pool:
            assert pool.slots >= 1
            assert pool.wait(0.01) == []

    def test_that_what_is_out_when_a_pool_is_closed_does_not_come_home(self):
        with self.pool() as pool:
            pool.submit(MANY[0])
            home(pool, 1)
            pool.close()
            assert pool.wait(0.01) == []
