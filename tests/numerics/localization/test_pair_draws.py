import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daflow.numerics.localization.pair_draws import pair_uniforms, shuffled_order


@given(st.integers(0, 2**40), st.integers(0, 50), st.lists(st.integers(0, 2**50), max_size=20))
def test_that_a_place_holds_the_same_number_whatever_else_is_asked_for(seed, step, places):
    together = pair_uniforms(seed, step, np.array(places, np.int64))
    alone = [pair_uniforms(seed, step, np.array([place]))[0] for place in places]
    np.testing.assert_array_equal(together, alone)


def test_that_the_numbers_are_uniform_and_those_of_seeds_steps_and_neighbours_unrelated():
    places = np.arange(100_000)
    numbers = [pair_uniforms(seed, step, places) for seed, step in ((0, 0), (0, 1), (1, 0))]
    for one in numbers:
        assert one.min() >= 0.0
        assert one.max() < 1.0
        # Five standard deviations of a mean and of a histogram's bin.
        assert abs(one.mean() - 0.5) < 5 * np.sqrt(1 / 12 / places.size)
        counts = np.histogram(one, 50, (0, 1))[0]
        assert np.abs(counts - places.size / 50).max() < 5 * np.sqrt(places.size / 50)
    for one, other in ((numbers[0], numbers[1]), (numbers[0], numbers[2]), (numbers[0][1:], numbers[0][:-1])):
        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(places.size)


@pytest.mark.parametrize("n_members", [2, 3, 10, 101])
def test_that_no_member_keeps_its_place_and_each_has_one(n_members):
    orders = [shuffled_order(7, step, n_members) for step in range(5)]
    for order in orders:
        assert sorted(order) == list(range(n_members))
        assert (order != np.arange(n_members)).all()
    if n_members > 3:
        assert len({tuple(order) for order in orders}) > 1
