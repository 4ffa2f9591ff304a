import pytest
from hypothesis import given
from hypothesis import strategies as st

from daflow.errors import OutOfTime, PoolError
from daflow.execution.lifetimes import Life
from daflow.execution.pools.refusals import ENOUGH, ROUNDS, Refusals

SHORT, LATE = Life(left=50.0, whole=60.0), Life(left=50.0, whole=36000.0)


def test_that_a_worker_alone_whose_whole_life_is_too_short_is_enough():
    refusals = Refusals()
    refusals.check(1)
    refusals.heard("a", 100.0, SHORT)
    with pytest.raises(PoolError, match=r"needs 100 s, a worker's job lasts 60 s.*\n?.*walltime"):
        refusals.check(1)


@given(st.integers(2, 50))
def test_that_several_workers_have_to_be_too_short_where_there_are_several(n_workers):
    refusals = Refusals()
    for name in range(min(n_workers, ENOUGH)):
        refusals.check(n_workers)
        refusals.heard(str(name), 100.0, SHORT)
        refusals.heard(str(name), 100.0, SHORT)
    with pytest.raises(PoolError):
        refusals.check(n_workers)


@given(st.integers(1, 50))
def test_that_workers_near_their_end_may_all_refuse_once_but_not_for_ever(n_workers):
    refusals = Refusals()
    for name in range(n_workers):
        refusals.heard(str(name), 100.0, LATE)
    refusals.check(n_workers)
    for name in range((ROUNDS - 1) * max(n_workers, ENOUGH)):
        refusals.heard(f"new {name}", 100.0, LATE)
    for name in range(ENOUGH):
        refusals.heard(f"one more {name}", 100.0, LATE)
    with pytest.raises(PoolError):
        refusals.check(n_workers)


def test_that_where_a_whole_life_is_enough_workers_near_their_end_are_merely_out_of_time():
    refusals = Refusals()
    refusals.heard("a", 100.0, SHORT)
    assert not isinstance(refusals.explain(), OutOfTime)
    refusals.heard("a", 100.0, LATE)
    error = refusals.explain()
    assert isinstance(error, OutOfTime)
    assert "daflow resume" in error.do


def test_that_of_members_that_take_no_time_it_is_told_what_else_a_worker_needs():
    refusals = Refusals()
    refusals.heard("a", 0.0123, Life(left=4.0, whole=18.0))
    with pytest.raises(PoolError, match=r"needs 0\.012 s, .* 15 s are .* start, 5 s and 10%"):
        refusals.check(1)


def test_that_nothing_is_wrong_as_long_as_workers_take_tasks_up():
    refusals = Refusals()
    assert refusals.explain() is None
    for _ in range(100):
        refusals.heard("a", 100.0, SHORT)
        refusals.over()
        refusals.check(1)
    assert refusals.explain() is None
