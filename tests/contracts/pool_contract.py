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
            done, back = set(), []
            while len(done) + len(back) < len(MANY):
                done |= {outcome.task for outcome in pool.wait(60)}
                back += pool.sent_back()
            assert pool.sent_back() == []
            assert len(done) == 10
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

    def test_that_what_tasks_take_and_how_many_wait_changes_nothing_where_workers_have_no_end(self):
        with self.pool() as pool:
            pool.expect(20, Phase.FORECAST)
            for task, seconds in zip(MANY, (None, 0.0, 1e-3, 1e9), strict=False):
                pool.submit([task], seconds)
            assert sorted(o.task.index for o in home(pool, 4)) == [0, 1, 2, 3]
            assert pool.sent_back() == []

    def test_that_a_task_that_is_cut_comes_home_as_cancelled_and_the_others_unharmed(self):
        with self.pool() as pool:
            pool.submit(MANY[:3])
            pool.submit(MANY[3:5])
            pool.cut(MANY[1], "it takes too long")
            outcomes, back = [], []
            while len(outcomes) + len(back) < 5:
                outcomes += pool.wait(60)
                back += pool.sent_back()
            assert sorted({o.task for o in outcomes} | set(back), key=MANY.index) == MANY[:5]
            (cut,) = (outcome for outcome in outcomes if outcome.task == MANY[1])
            assert (cut.status, cut.reason) == (Status.CANCELLED, "it takes too long")
            assert all(o.status == end(o.task).status for o in outcomes if o != cut)
            assert pool.n_out == 0

    def test_that_to_cut_a_task_that_is_not_out_changes_nothing(self):
        with self.pool() as pool:
            pool.submit(MANY[:1])
            home(pool, 1)
            for task in MANY[:2]:
                pool.cut(task, "it takes too long")
            assert pool.wait(0.01) == []
            assert pool.sent_back() == []
            assert not pool.running()

    def test_that_the_only_host_is_not_put_aside(self):
        with self.pool() as pool:
            pool.submit(MANY[:1])
            (outcome,) = home(pool, 1)
            for host in (outcome.host, "127.0.0.1", "elsewhere"):
                pool.avoid(host)
            assert pool.slots >= 1
            pool.submit(MANY[1:2])
            assert len(home(pool, 1)) == 1

    def test_that_what_is_recalled_comes_home_once_done_or_as_it_went(self):
        with self.pool() as pool:
            for task in MANY:
                pool.submit([task])
            pool.recall()
            done, back = [], []
            while len(done) + len(back) < len(MANY):
                done += [outcome.task for outcome in pool.wait(60)]
                back += pool.sent_back()
            assert sorted(task.index for task in done + back) == list(range(20))
            assert pool.n_out == 0

    def test_that_what_is_out_when_a_pool_is_closed_does_not_come_home(self):
        with self.pool() as pool:
            pool.submit(MANY[:1])
            home(pool, 1)
            pool.close()
            assert pool.wait(0.01) == []
