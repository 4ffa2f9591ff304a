"""Forecasts that take more than a thread: never more at the workers than these carry."""

import threading
import time
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daflow.execution.pools.inline_pool import InlinePool
from daflow.execution.pools.members_apart import MembersApart
from daflow.execution.pools.members_window import MembersWindow, room_for
from daflow.names import Phase, Status
from daflow.records import Task
from tests.contracts.pool_contract import MANY, PoolContract, home, unhurried_work, work

UPDATES = [Task(Phase.UPDATE, 1, index) for index in range(20)]


class TestMembersWindow(PoolContract):
    @contextmanager
    def pool(self, do=work):
        yield MembersWindow(InlinePool(do, slots=9, seed=1), lambda: 2)


class TestMembersApart(PoolContract):
    @contextmanager
    def pool(self, do=work):
        yield MembersApart(InlinePool(do, slots=3, seed=1), InlinePool(do, slots=4, seed=2))


def sizes(n):
    """Ways to cut tasks into groups."""
    return st.lists(st.integers(1, 5), min_size=1, max_size=n)


@given(sizes=sizes(8), at_once=st.integers(1, 4), seed=st.integers(0, 99), hurry=st.booleans())
def test_that_never_more_forecasts_are_at_the_workers_than_they_carry(sizes, at_once, seed, hurry):
    inner = InlinePool(work if hurry else unhurried_work, seed=seed)
    pool = MembersWindow(inner, lambda: at_once)
    tasks = [Task(Phase.FORECAST, 0, index) for index in range(sum(sizes))]
    todo, done = list(tasks), []
    for size in sizes:
        pool.submit(todo[:size])
        del todo[:size]
    assert pool.n_out == len(sizes)
    while len(done) < len(tasks):
        assert inner.n_out <= at_once
        done += [outcome.task for outcome in pool.wait(1)]
        for task in pool.sent_back():
            pool.submit([task])
    assert sorted(done, key=lambda task: task.index) == tasks
    assert pool.n_out == 0


def test_that_all_other_tasks_pass_and_have_slots_of_their_own():
    inner = InlinePool(work, slots=9)
    pool = MembersWindow(inner, lambda: 2)
    pool.expect(20, Phase.UPDATE)
    assert pool.slots == 9
    for task in UPDATES:
        pool.submit([task])
    assert inner.n_out == 20
    pool.expect(20, Phase.FORECAST)
    assert pool.slots == 2


def test_that_a_forecast_that_is_held_is_cut_here_and_another_one_at_its_worker():
    inner = InlinePool(work, slots=9)
    pool = MembersWindow(inner, lambda: 1)
    for task in MANY[:2]:
        pool.submit([task])
    pool.submit(MANY[2:4])
    pool._send()
    for task in (MANY[0], MANY[3]):
        pool.cut(task, "too slow")
    outcomes = home(pool, 3)
    assert {o.task for o in outcomes if o.status is Status.CANCELLED} == {MANY[0], MANY[3]}
    assert pool.sent_back() == [MANY[2]]


def test_that_what_runs_the_model_goes_apart_and_everything_else_to_the_workers():
    members, others = InlinePool(work, slots=3), InlinePool(work, slots=4)
    pool = MembersApart(members, others)
    pool.expect(9, Phase.PRIOR)
    assert pool.slots == 4
    pool.submit([Task(Phase.PRIOR, 0, 1)])
    pool.expect(9, Phase.FORECAST)
    assert pool.slots == 3
    pool.submit(MANY[:1])
    pool.submit([Task(Phase.TRUTH, 0, 0)])
    assert (members.n_out, others.n_out, pool.n_out) == (2, 1, 3)
    assert len(home(pool, 3)) == 3
    pool.submit(MANY[:1])
    pool.cut(MANY[0], "too slow")
    assert home(pool, 1)[0].status is Status.CANCELLED
    assert pool.running() == {}
    pool.submit(MANY[:1])
    pool.avoid("node3")
    pool.close()
    assert pool.n_out == 0


@pytest.mark.parametrize("at_once", [1, 3])
def test_that_a_worker_process_runs_only_as_many_forecasts_as_it_carries(at_once):
    lock, now, most = threading.Lock(), [0], [0]

    def forecast():
        with room_for(Phase.FORECAST, at_once):
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            time.sleep(0.01)
            with lock:
                now[0] -= 1

    threads = [threading.Thread(target=forecast) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= most[0] <= at_once


def test_that_nobody_waits_where_nothing_is_counted_or_no_model_runs():
    with room_for(Phase.FORECAST, 1), room_for(Phase.UPDATE, 1), room_for(Phase.FORECAST, None):
        pass
