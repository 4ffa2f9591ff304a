import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daflow.errors import ConfigError
from daflow.numerics.priors.facies import Facies

SAND = Facies((0.05, 0.15, 0.3), (0.5, 0.2, 0.3), mean=2.0, std=0.5)


def test_that_a_field_of_the_prior_has_each_category_in_its_share():
    field = 2.0 + 0.5 * np.random.default_rng(1).standard_normal(40_000)
    seen = SAND.of(field)
    for value, share in zip(SAND.values, SAND.shares, strict=True):
        # Five standard deviations of a share of so many.
        assert abs((seen == value).mean() - share) < 5 * np.sqrt(share * (1 - share) / field.size)


@given(st.lists(st.floats(-5, 9), min_size=2, max_size=20))
def test_that_a_higher_field_never_has_an_earlier_category(values):
    field = np.sort(values).reshape(1, -1)
    seen = SAND.of(field)
    assert seen.shape == field.shape
    assert (np.diff(seen) >= 0).all()


@pytest.mark.parametrize(
    "given_facies",
    [
        ((1.0,), (0.5, 0.5)),
        ((1.0, 2.0), (0.5, 0.6)),
        ((1.0, 2.0), (0.0, 1.0)),
        ((), ()),
        ((1.0,), (1.0,), 0.0, 0.0),
    ],
)
def test_that_what_are_no_shares_is_refused(given_facies):
    with pytest.raises(ConfigError, match="facies"):
        Facies(*given_facies)
