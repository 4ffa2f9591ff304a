from threading import Barrier, Lock, get_ident
from time import sleep

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.storage.shares import MOST_THREADS, by_threads


@settings(max_examples=30)
@given(st.integers(0, 50), st.integers(1, 6))
def test_that_each_thing_is_taken_once(n_things, n_threads):
    taken, threads = [], set()

    def do(thing):
        taken.append(thing)
        threads.add(get_ident())

    by_threads(do, range(n_things), n_threads)
    assert sorted(taken) == list(range(n_things))
    assert len(threads) <= n_threads


def test_that_one_thread_takes_things_in_order_in_the_callers_thread():
    taken = []
    by_threads(lambda thing: taken.append((thing, get_ident())), range(9), 1)
    assert taken == [(thing, get_ident()) for thing in range(9)]


def test_that_threads_work_at_the_same_time():
    together = Barrier(4, timeout=60)
    by_threads(lambda _: together.wait(), range(8), 4)


def test_that_after_an_error_no_other_is_begun_and_nothing_is_under_way():
    begun, ended, lock = [], [], Lock()

    def do(thing):
        with lock:
            begun.append(thing)
        if thing == 3:
            raise ZeroDivisionError
        sleep(0.005)
        ended.append(thing)

    with pytest.raises(ZeroDivisionError):
        by_threads(do, range(100_000), 4)
    assert len(begun) < 1000
    assert sorted([*ended, 3]) == sorted(begun)


def test_that_calls_from_within_itself_end_though_every_thread_is_taken():
    taken = []

    def outer(thing):
        by_threads(lambda inner: (sleep(0.001), taken.append((thing, inner))), range(4), 4)

    by_threads(outer, range(2 * MOST_THREADS), 2 * MOST_THREADS)
    assert len(set(taken)) == len(taken) == 8 * MOST_THREADS
