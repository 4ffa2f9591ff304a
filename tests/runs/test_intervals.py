import pytest
from hypothesis import given
from hypothesis import strategies as st

from daflow.runs.intervals import Intervals

NUMBERS = st.lists(st.integers(-5, 30), max_size=40)


@given(NUMBERS, NUMBERS)
def test_that_it_is_the_set_of_its_numbers(numbers, others):
    plain, ours = set(numbers), Intervals(numbers)
    assert ours == plain
    assert plain == ours
    assert len(ours) == len(plain)
    assert list(ours) == sorted(plain)
    assert [n in ours for n in range(-8, 34)] == [n in plain for n in range(-8, 34)]
    assert ours - set(others) == plain - set(others)
    assert set(others) & ours == plain & set(others)
    assert (ours == set(others)) == (plain == set(others))


def test_that_it_shows_its_runs_and_keeps_no_more_than_these():
    assert repr(Intervals([5, 1, 2, 3])) == "Intervals(1..3, 5..5)"
    assert repr(Intervals(set(range(100_000)) - {7})) == "Intervals(0..6, 8..99999)"


@pytest.mark.parametrize("word", ["1", None, 1.5])
def test_that_what_is_no_number_is_not_in_it(word):
    assert word not in Intervals(range(3))
