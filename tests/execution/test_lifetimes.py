import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daflow.execution import lifetimes
from daflow.execution.lifetimes import (
    JOB_END,
    MARGIN_SECONDS,
    MARGIN_SHARE,
    how_many_fit,
    job_of,
    life,
    never_fits,
    term,
    time_for_another,
)

LEFT, SECONDS, N = st.floats(-1e6, 1e6), st.floats(0, 1e6), st.integers(1, 1000)


@given(LEFT, st.none() | SECONDS, N)
def test_that_between_none_and_all_fit_and_all_where_nobody_knows(left, seconds, n):
    assert 0 <= how_many_fit(left, seconds, n) <= n
    assert how_many_fit(left, None, n) == n


@given(LEFT, SECONDS, N)
def test_that_what_is_begun_is_over_with_a_margin_before_the_time_is(left, seconds, n):
    fits = how_many_fit(left, seconds, n)
    if fits:
        assert fits * seconds * (1 + MARGIN_SHARE) <= (left - MARGIN_SECONDS) * (1 + 1e-12)
    elif seconds:
        assert seconds * (1 + MARGIN_SHARE) > left - MARGIN_SECONDS


@given(LEFT, st.floats(0, 1e5), SECONDS, st.floats(0, 1e5), N)
def test_that_more_time_never_makes_it_fewer_and_longer_tasks_never_more(left, more, seconds, longer, n):
    fits = how_many_fit(left, seconds, n)
    assert how_many_fit(left + more, seconds, n) >= fits
    assert how_many_fit(left, seconds + longer, n) <= fits


@given(st.floats(0, 1e6), SECONDS)
def test_that_what_never_fits_does_not_fit_what_is_left(whole, seconds):
    if never_fits(whole, seconds):
        assert how_many_fit(whole - lifetimes.STARTING_SECONDS, seconds, 1) == 0
    else:
        assert how_many_fit(whole, seconds, 1) == 1


def test_that_a_job_ends_when_its_script_has_said_and_the_clock_is_read_once():
    job = job_of({JOB_END: str(time.time() + 100)})
    assert 99 < job.end - time.monotonic() <= 100
    assert job.began <= time.monotonic()
    assert job_of({}) is None
    assert job_of({JOB_END: "soon"}) is None


def test_that_a_worker_that_was_brought_back_counts_its_job_from_the_start_of_its_parent(monkeypatch):
    now = time.time()

    class Process:
        def __init__(self, pid=None):
            self.born = now - 500 if pid == os.getppid() else now - 10

        def create_time(self):
            return self.born

    monkeypatch.setattr(lifetimes.psutil, "Process", Process)
    lifetimes._started.cache_clear()
    try:
        job = job_of({JOB_END: str(now + 100)})
    finally:
        lifetimes._started.cache_clear()
    assert job.end - job.began == pytest.approx(600, abs=1)


def test_that_a_worker_without_an_end_has_all_the_time_and_that_the_shorter_of_two_ends_counts(monkeypatch):
    monkeypatch.setattr(lifetimes, "_job", lambda: None)
    assert life() is None
    running = time.monotonic() - lifetimes._started()
    assert life(1000.0).left == pytest.approx(1000 - running, abs=1)
    assert life(1000.0).whole == 1000
    ends = lifetimes._Ends(time.monotonic() + 50, time.monotonic() - 10)
    monkeypatch.setattr(lifetimes, "_job", lambda: ends)
    assert life(1000.0 + running).left == pytest.approx(50, abs=1)
    assert life(1000.0 + running).whole == pytest.approx(60)


def test_that_in_a_term_there_is_time_for_another_task_as_long_as_one_fits():
    assert time_for_another()
    for left, seconds, expected in ((100, 10, True), (14, 10, False), (14, None, True), (None, 10, True)):
        with term(left, seconds):
            assert time_for_another() == expected
    assert time_for_another()
