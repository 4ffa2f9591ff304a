import itertools
import threading
from threading import Barrier, Lock, current_thread
from time import sleep

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.execution.tasks.pipeline import in_lanes


@settings(max_examples=30)
@given(st.integers(0, 20), st.integers(1, 5))
def test_that_every_task_is_done_once_in_as_many_lanes_as_there_are(n_tasks, n_lanes):
    lanes, begun, lock = [], [], Lock()

    def lane():
        own = []
        lanes.append(own)

        def do(task):
            with lock:
                begun.append(task)
            own.append(task)
            return task * 10

        return do

    made = list(in_lanes(range(n_tasks), lane, n_lanes))
    assert sorted(made) == [task * 10 for task in range(n_tasks)]
    assert sorted(begun) == list(range(n_tasks))
    assert len(lanes) <= max(1, min(n_lanes, n_tasks))
    assert sorted(itertools.chain(*lanes)) == list(range(n_tasks))


def test_that_lanes_work_at_the_same_time():
    together = Barrier(3, timeout=60)
    assert sorted(in_lanes(range(6), lambda: lambda task: (together.wait(), task)[1])) == list(range(6))


def test_that_a_single_task_is_done_by_the_caller():
    assert list(in_lanes([1], lambda: lambda task: current_thread())) == [current_thread()]


def test_that_nothing_is_under_way_when_the_results_are_no_longer_taken():
    done, before = [], set(threading.enumerate())

    def do(task):
        sleep(0.01)
        done.append(task)
        return task

    results = in_lanes(range(100_000), lambda: do)
    next(results)
    results.close()
    assert set(threading.enumerate()) <= before
    n_done = len(done)
    assert n_done < 1000
    sleep(0.03)
    assert len(done) == n_done


def test_that_a_lane_that_cannot_be_made_is_an_error_before_any_begins():
    def lane():
        raise MemoryError

    with pytest.raises(MemoryError):
        list(in_lanes(range(3), lane))
